"""Secrets of the document's own header, in any spelling."""

import pytest

from guardedvlm.core.finding import Kind
from guardedvlm.guard.detect.personal.known import known_spans

HEADER = (
    (Kind.PERSON, "O'BRIEN^MARY^ANN"),
    (Kind.MEDICAL_RECORD, "77-120-4"),
    (Kind.OTHER_ID, "44219A"),
    (Kind.DATE_OF_BIRTH, "19600201"),
    (Kind.PERSON, "Li^Wei"),
)


def shown(text: str) -> set[str]:
    return {text[s.start : s.end] for s in known_spans(text, HEADER)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Mary O'Brien", "Mary"),
        ("Mary O'Brien", "O'Brien"),
        ("OBRIENMARY lateral", "OBRIENMARY"),
        ("MARYO'BRIEN", "MARYO'BRIEN"),
        ("pt O'BR1EN", "O'BR1EN"),
        ("LI WEI", "LI"),
        ("acc 77-120-4", "77-120-4"),
        ("acc 771204", "771204"),
        ("acc 77I2O4", "77I2O4"),
        ("ID 4 4 2 1 9 A", "4 4 2 1 9 A"),
        ("1960-02-01", "1960-02-01"),
        ("01.02.1960", "01.02.1960"),
        ("2/1/60", "2/1/60"),
        ("1 Feb 1960", "1 Feb 1960"),
        ("FEB 1, 1960", "FEB 1, 1960"),
    ],
)
def test_spellings(text, value):
    assert value in shown(text)


@pytest.mark.parametrize("text", ["", "lateral view", "LIVER", "77-120-5", "1961-02-01", "21 Feb 1960"])
def test_other_text(text):
    assert shown(text) == set()
