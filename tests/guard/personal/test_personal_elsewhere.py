"""What is searched on the other pages of a document."""

from __future__ import annotations

import pytest

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.guard.detect.personal.elsewhere import known_elsewhere


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
