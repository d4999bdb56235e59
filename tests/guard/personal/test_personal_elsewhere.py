"""What is searched on the other pages of a document."""

from __future__ import annotations

import pytest

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.guard.detect.personal.elsewhere import known_elsewhere
from guardedvlm.guard.detect.personal.known import Known, known_spans


def finding(kind: Kind, text: str, detector: str = "form/x", score: float = 0.9) -> Finding:
    return Finding(kind, Box(0, 0, 9, 9), score, detector, secret=text)


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (finding(Kind.PERSON, "Orla Quillfeather"), {(Kind.PERSON, "orla^quillfeather")}),
        (finding(Kind.PERSON, "Orla Quillfeather", "presidio/spacy"), set()),
        (finding(Kind.PERSON, "Orla Quillfeather", score=0.5), set()),
        (finding(Kind.PERSON, "Li Total"), set()),
        (finding(Kind.ACCOUNT, "7730-419952"), {(Kind.ACCOUNT, "7730-419952")}),
        (finding(Kind.ACCOUNT, "12.00"), set()),
        (finding(Kind.AMOUNT, "1,234,567.00"), set()),
        (finding(Kind.FACE, ""), set()),
    ],
)
def test_sure_names_and_long_identifiers(found: Finding, known: set[tuple[Kind, str]]) -> None:
    assert set(known_elsewhere([found])) == known


def test_an_identifier_is_of_the_kind_that_the_surest_finding_says() -> None:
    found = [
        finding(Kind.OTHER_ID, "7730 419952", "pattern/code", 0.99),
        finding(Kind.ACCOUNT, "7730419952", "form/account", 0.6),
    ]
    assert known_elsewhere(found) == known_elsewhere(found[::-1]) == ((Kind.ACCOUNT, "7730419952"),)


@pytest.mark.parametrize(
    ("birth", "text", "expected"),
    [
        ("March 4, 1985", "Opened on March 4, 1985", "March 4, 1985"),
        ("March 4, 1985", "Opened on 1985-03-04", "1985-03-04"),
        ("03/04/1985", "Opened on March 4, 1985", "March 4, 1985"),
        ("03/04/1985", "Opened on 3 April 1985", "3 April 1985"),
        ("03/04/1985", "Opened on 5 April 1985", ""),
    ],
)
def test_a_birth_is_found_however_it_is_written(birth: str, text: str, expected: str) -> None:
    known = known_elsewhere([finding(Kind.DATE_OF_BIRTH, birth)])
    assert {text[s.start : s.end] for s in known_spans(text, known)} == ({expected} if expected else set())


def test_a_short_account_number_is_found_exactly() -> None:
    known = known_elsewhere([finding(Kind.ACCOUNT, "482913")])
    (span,) = known_spans("transfer from 482 913 done", known)
    assert span.kind is Kind.ACCOUNT
    assert not list(known_spans("transfer from 482 914 done", known))
    assert not list(known_spans("Total 4,829.13", known))


def test_thousands_of_numbers_are_searched_at_once() -> None:
    many = [finding(Kind.ACCOUNT, f"{10**9 + 7919 * number}") for number in range(5000)]
    known = Known(known_elsewhere(many))
    lines = [f"Reference {10**9 + 7919 * number} of 12.00 paid" for number in range(200)]
    assert all(any(span.kind is Kind.ACCOUNT for span in known.spans(line)) for line in lines)
