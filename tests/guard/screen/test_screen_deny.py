"""Hidden strings are found again in other spellings, and ordinary words are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind
from guardedvlm.errors import Internal
from guardedvlm.guard.screen.deny import DenySet, Spelling, _Pattern, _Patterns, normalise_secret
from guardedvlm.guard.screen.runs import Run

SECRETS = DenySet(
    [
        (Kind.PERSON, "Johnathan Smithers"),
        (Kind.PERSON, "Li"),
        (Kind.PERSON, "May"),
        (Kind.PERSON, "José Łukasz"),
        (Kind.PAYMENT_CARD, "4111 1111 1111 1234"),
        (Kind.SSN, "219-09-9999"),
        (Kind.DATE, "05/12/2025"),
        (Kind.DATE_OF_BIRTH, "14 March 1968"),
        (Kind.AGE, "47"),
        (Kind.ADDRESS, "12 Main Street, Springfieldton 62704"),
        (Kind.ATTRIBUTE, "F"),
        (Kind.UNCLEARED, "ZX-99417"),
        (Kind.UNCLEARED, "Gable ward"),
        (Kind.UNREADABLE, "Gable"),
        (Kind.UNREADABLE, "of a"),
    ]
)


def hit(text: str) -> list[str]:
    return sorted({text[match.start : match.end] for match in SECRETS.matches(text)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is SMITHERS, johnathan.", ["SMITHERS", "johnathan"]),
        ("J o h n a t h a n", ["J o h n a t h a n"]),
        ("xJohnathanSmithersx", ["JohnathanSmithers"]),
        ("JOSE LUKASZ", ["JOSE", "JOSE LUKASZ", "LUKASZ"]),
        ("Smithers's card", ["Smithers"]),
        ("signed Li today", ["Li"]),
        ("ends in 1234", ["1234"]),
        ("starts 41111111 or so", ["41111111"]),
        ("ssn 219 09 9999", ["219 09 9999", "9999"]),
        ("2 1 9 0 9 9 9 9 9", ["2 1 9 0 9 9 9 9 9"]),
        ("on 05.12.2025", ["05.12.2025"]),
        ("born 1968", ["1968"]),
        ("aged 47", ["47"]),
        ("in Springfieldton", ["Springfieldton"]),
        ("code zx 99417", ["zx 99417"]),
        ("the GABLE-WARD", ["GABLE-WARD"]),
    ],
)
def test_another_spelling_is_found(text: str, expected: list[str]) -> None:
    assert set(expected) <= set(hit(text))


@pytest.mark.parametrize(
    "text",
    [
        "you may list the main street",
        "Smitherson of a family",
        "in 2025",
        "it costs 47.50 and 1,234.50",
        "F is a letter",
        "a gable",
        "the limit is 470",
        "",
    ],
)
def test_an_ordinary_text_is_not(text: str) -> None:
    assert hit(text) == []


@given(
    st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=20),
    st.lists(st.sampled_from(["", " ", "-", ". ", "\n", "_"]), min_size=20, max_size=20),
    st.booleans(),
)
def test_separators_and_case_hide_no_secret(secret: str, separators: list[str], upper: bool) -> None:
    spelled = "".join(c + s for c, s in zip(secret, separators, strict=False))
    found = DenySet([(Kind.OTHER_ID, secret + "7")]).matches((spelled.upper() if upper else spelled) + "7")
    assert any(match.start == 0 and match.end == len(spelled) + 1 for match in found)


def test_matches_name_the_kind_and_show_no_text() -> None:
    (match,) = DenySet([(Kind.SSN, "219-09-9999")]).matches("219099999")[:1]
    assert match.kind is Kind.SSN
    assert "219" not in repr(match)


def test_a_repr_shows_nothing() -> None:
    assert repr(DenySet([(Kind.PERSON, "Roe")])) == "DenySet(1)"


def test_a_wiped_set_cannot_be_asked() -> None:
    secrets = DenySet([(Kind.PERSON, "Johnathan")])
    secrets.wipe()
    assert repr(secrets) == "DenySet(wiped)"
    with pytest.raises(Internal):
        secrets.matches("Johnathan")
    with pytest.raises(Internal):
        secrets.spelled_by("1")


def test_digits_put_together_spell_a_number() -> None:
    assert SECRETS.spelled_by("99" + "219099999" + "1")
    assert not SECRETS.spelled_by("219099" + "1" + "999")
    assert not DenySet([(Kind.AMOUNT, "$1,234,567.00")]).spelled_by("123456700")


def test_normal_secrets_are_equal_in_any_spelling() -> None:
    assert normalise_secret("Ｊosé  SMITH-Roe") == normalise_secret("jose smithroe") == "josesmithroe"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # digits in words, whole numbers and their last four
        ("two one nine zero nine nine nine nine nine", "two one nine zero nine nine nine nine nine"),
        ("four one double one and so on", "four one double one"),
        ("it ends in one two three four", "one two three four"),
        ("ends in twelve thirty-four", "twelve thirty-four"),
        # backwards
        ("call it srehtimS today", "srehtimS"),
        ("999990912", "999990912"),
        # one or two characters wrong, missing, added or swapped
        ("ask Smihters about it", "Smihters"),
        ("ask Smither about it", "Smither"),
        ("ask Johnethin about it", "Johnethin"),
        ("near Springfeldtown lies", "Springfeldtown"),
        ("card 4111 1111 1111 1243", "4111 1111 1111 1243"),
        # encoded
        ("it is U21pdGhlcnM= in base64", "U21pdGhlcnM="),
        ("it is Sm9obmF0aGFuIFNtaXRoZXJz", "Sm9obmF0aGFuIFNtaXRoZXJz"),
        ("it is 536d697468657273 in hex", "536d697468657273"),
    ],
)
def test_an_altered_spelling_is_found(text: str, expected: str) -> None:
    assert expected in hit(text)


@pytest.mark.parametrize(
    "text",
    [
        "code zx-99418",  # of uncleared text only the line itself is looked for
        "a smoother one, smitten by smithereens",
        "the brother of the mother",
        "two of three items, four in all",
        "one two three",
        "the year 2025, the number 21 909",
        "internationalisation and misunderstanding",
        "QUJDREVGR0hJSktMTU5P",
        "deadbeef cafe babe",
    ],
)
def test_an_edit_makes_no_common_word_a_secret(text: str) -> None:
    assert hit(text) == []


@given(st.integers(0, 16), st.sampled_from("0123456789"), st.sampled_from(["change", "drop", "add"]))
def test_any_edit_of_a_long_name_or_number_is_found(at: int, digit: str, edit: str) -> None:
    for secret, other in (("Johnathansmithers", "q"), ("77304199520048151", digit)):
        head, tail = secret[:at], secret[at + 1 :]
        told = {"change": head + other + tail, "drop": head + tail, "add": head + other + secret[at:]}[edit]
        assert DenySet([(Kind.OTHER_ID, secret)]).matches(f"It is {told} here.")


def test_kinds_without_their_own_number_are_not_found_with_edits() -> None:
    """Every amount or date is nearly another one."""
    quantities = DenySet([(Kind.AMOUNT, "$1,234.50"), (Kind.DATE, "05/12/2025")])
    assert quantities.matches("$1,234.51 on 05/13/2025") == ()


class Counted(str):
    """A text that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        self.looks += 1
        return super().__getitem__(key)

    def startswith(self, *sought: Any) -> bool:
        self.looks += 1
        return super().startswith(*sought)


def test_secrets_with_one_beginning_are_looked_for_at_once() -> None:
    """Two thousand secrets of three lengths: at each place one look for the beginning, and one for each length."""
    patterns = _Patterns()
    for at in range(2_000):
        secret = "aaaaaaaa" + f"{at:04}" + "b" * (at % 3)
        patterns.add(secret, _Pattern(Kind.OTHER_ID, secret, Spelling.INSIDE))
    plain = Run.of("a" * 4_000 + "0001b and aaaaaaaa0002b, aaaaaaaa0003")
    text = Counted(plain.run)
    found = [pattern for _, pattern, _ in patterns.find(replace(plain, run=text))]
    assert found == ["aaaaaaaa0001b", "aaaaaaaa0003"]
    assert text.looks <= 4 * len(text)


def test_secrets_of_many_lengths_with_one_beginning_are_looked_for_at_once() -> None:
    """Two thousand secrets of as many lengths: at each place one look for the beginning, and one for all of them."""
    patterns = _Patterns()
    for size in range(2_000):
        secret = "aaaaaaaa" + "b" * size + "c"
        patterns.add(secret, _Pattern(Kind.OTHER_ID, secret, Spelling.INSIDE))
    plain = Run.of("a" * 4_000 + "bbbc and aaaaaaaabb aaaaaaaac")
    text = Counted(plain.run)
    found = [pattern for _, pattern, _ in patterns.find(replace(plain, run=text))]
    assert found == ["aaaaaaaabbbc", "aaaaaaaac"]
    assert text.looks <= 2 * len(text)


@given(st.lists(st.text("ab", min_size=8, max_size=14), max_size=30), st.text("ab", max_size=60))
def test_all_long_secrets_are_found_wherever_they_stand(secrets: list[str], text: str) -> None:
    patterns = _Patterns()
    for secret in secrets:
        patterns.add(secret, _Pattern(Kind.OTHER_ID, secret, Spelling.INSIDE))
    found = {(at, pattern) for at, pattern, _ in patterns.find(Run.of(text))}
    assert found == {(at, s) for s in secrets for at in range(len(text)) if text.startswith(s, at)}


@given(st.text("aZ09 .,-é\n", max_size=40))
def test_a_run_of_plain_text_is_the_run_of_any_text(text: str) -> None:
    """The quick way for plain text against the one that looks at every character."""
    assert Run.of(text) == Run._of((character, (at, at + 1)) for at, character in enumerate(text))
