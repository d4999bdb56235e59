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
    (Kind.MEDICAL_RECORD, "MRN-7312096"),
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
        ("19600201", "19600201"),
        ("O1.O2.196O", "O1.O2.196O"),
        ("0l/02/l960", "0l/02/l960"),
        ("Mory O'Brien", "Mory"),
        ("MAKY O'BRLEN", "MAKY"),
        ("MAKY O'BRLEN", "O'BRLEN"),
        ("mrn7312O96", "mrn7312O96"),
        ("MRN 7342096", "MRN 7342096"),
        ("MRN 731296", "MRN 731296"),
        ("MRN 73120096", "MRN 73120096"),
    ],
)
def test_spellings(text, value):
    assert value in shown(text)


@pytest.mark.parametrize(
    "text", ["", "lateral view", "LIVER", "77-120-5", "1961-02-01", "21 Feb 1960", "many views", "MRN 7342996"]
)
def test_other_text(text):
    assert shown(text) == set()
