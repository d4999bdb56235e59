"""Folding keeps the way back to the source, and resolving loses no covered character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.resolve import FIRM, GUESSED, PRECEDENCE, YIELDING, resolve
from guardedvlm.guard.detect.personal.view import digit_groups, digits, folded, windows, without_spaces


@given(st.text(max_size=80))
def test_every_folded_character_has_its_source(text):
    view = folded(text)
    assert len(view.text) == len(view.origin)
    assert all(0 <= i < len(text) for i in view.origin)
    assert list(view.origin) == sorted(view.origin)
    solid = without_spaces(view)
    assert not any(c.isspace() for c in solid.text)


def test_zero_width_and_full_width_characters_are_folded():
    view = folded("4\u200b1\u00ad1１–２\u00a0３")
    assert view.text == "4111-2 3"
    span = view.span(0, 4, Kind.OTHER_ID, 1.0, "entropy/x")
    assert (span.start, span.end) == (0, 6)


def test_misread_digits():
    assert digits("4O1l") == ""
    assert digits("4011l") == "40111"
    assert digits("12S45") == "12545"
    assert digits("hello") == ""


def test_groups_are_joined_by_single_separators_only():
    runs = digit_groups("Total4111 1111-1111.1111, 22")
    assert [[g.digits for g in run] for run in runs] == [["4111", "1111", "1111", "1111"], ["22"]]
    assert [number for *_, number in windows(runs[0], 16, 16)] == ["4" + "1" * 15]
    assert list(windows(runs[0], 16, 16, in_group=5)) == []


SPANS = st.builds(
    lambda start, length, kind, score, family: Span(start, start + length, kind, score, f"{family}/x"),
    st.integers(0, 20),
    st.integers(1, 10),
    st.sampled_from(list(Kind)),
    st.floats(0.1, 1.0),
    st.sampled_from(PRECEDENCE),
)


@given(st.lists(SPANS, max_size=12))
def test_resolving_uncovers_nothing(spans):
    kept = resolve(spans)
    assert set(kept) <= set(spans)
    assert {i for s in kept for i in range(s.start, s.end)} == {i for s in spans for i in range(s.start, s.end)}
    # What a policy is likely to hide is never left to a kind that it is likely to keep, complete dates apart; but what
    # looks by its letters like some identifier gives way to the label of a firm's number.
    sure = [s for s in spans if s.kind not in YIELDING and not s.recognizer.startswith("entropy/")]
    hidden = {i for s in sure for i in range(s.start, s.end)}
    still = {i for s in kept if s.kind not in YIELDING or s.kind is Kind.DATE for i in range(s.start, s.end)}
    assert hidden <= still


def test_the_most_specific_wins():
    phone = Span(0, 10, Kind.PHONE, 0.9, "pattern/phone")
    label = Span(0, 10, Kind.ACCOUNT, 0.85, "form/account")
    name = Span(0, 12, Kind.ORGANIZATION, 0.7, "presidio/ORGANIZATION")
    assert resolve([name, phone, label]) == (label, name)


def test_a_firm_takes_the_place_of_what_only_looks_like_a_person():
    firm = Span(0, 18, Kind.ORGANIZATION, 0.6, FIRM)
    looks = [Span(9, 18, Kind.PERSON, 0.7, recognizer) for recognizer in sorted(GUESSED)]
    assert resolve([firm, *looks]) == (firm,)
    wider = Span(0, 24, Kind.ORGANIZATION, 0.9, "pattern/organization")
    assert set(resolve([wider, *looks, firm])) == {wider, firm}
    assert resolve([Span(0, 18, Kind.ORGANIZATION, 0.6, "pattern/organization"), *looks, firm]) == (firm,)


@pytest.mark.parametrize("recognizer", ["name/title", "name/comma", "name/repeated", "form/person", "known/name"])
def test_a_person_that_something_vouches_for_stays_one_in_a_firm(recognizer):
    firm, person = Span(0, 18, Kind.ORGANIZATION, 0.6, FIRM), Span(9, 18, Kind.PERSON, 0.7, recognizer)
    assert person in resolve([firm, person])


def test_a_person_beyond_a_firm_stays():
    firm, person = Span(0, 18, Kind.ORGANIZATION, 0.6, FIRM), Span(9, 24, Kind.PERSON, 0.7, "presidio/PERSON")
    assert person in resolve([firm, person])


def test_an_amount_never_hides_a_card():
    amount = Span(0, 20, Kind.AMOUNT, 0.7, "pattern/amount")
    card = Span(2, 18, Kind.PAYMENT_CARD, 0.99, "check/luhn")
    assert card in resolve([amount, card])
