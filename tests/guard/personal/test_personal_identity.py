"""Identity documents: everything between the labels is personal there, and only there."""

import sys
from pathlib import Path

import pytest

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box

sys.path.insert(0, str(Path(__file__).parent))
from pages import hides, kinds_at, line

sys.path.pop(0)

WIDTH, HEIGHT = 1200, 900
LABELS = ("Surname", "Given names", "Date of birth", "Nationality", "Date of expiry")
VALUES = ("Flantz", "Gabi", "03.06.1965", "UTO", "20.04.2034")
ZONE = "BC8D5SB839UT06506032F3404207<<<<<<<6"


def look(personal_data, lines):
    return personal_data.page(lines, width=WIDTH, height=HEIGHT)


def card(labels=LABELS, values=VALUES):
    lines = []
    for row, (label, value) in enumerate(zip(labels, values, strict=True)):
        lines += [line(label, 400, 100 + 90 * row), line(value, 400, 125 + 90 * row)]
    return lines


# A number, a code, a word and a title far from every label, and values whose labels were misread.
STRAY = [line("876363", 1050, 500), line("tyya74", 60, 800), line("light grey", 60, 700), line("F", 60, 600)]


def test_what_has_no_label_is_hidden_on_a_card(personal_data):
    lines = [line("IDENTITY CARD", 400, 20), *card(), *STRAY]
    findings = look(personal_data, lines)
    assert all(hides(findings, stray.box) for stray in STRAY)
    assert not any(kinds_at(findings, label.box) for label in lines if label.text in (*LABELS, "IDENTITY CARD"))


def test_a_zone_makes_an_identity_document_of_a_page_whose_labels_cannot_be_read(personal_data):
    labels = ("Surnane", "Glvennmes", "Dateotblrth", "Natlonallty", "Dale of expiri")
    findings = look(personal_data, [*card(labels), line(ZONE, 50, 800)])
    for value in card(labels)[1::2]:
        assert hides(findings, value.box), value.text


def test_a_date_without_a_label_is_a_date_of_birth_and_one_with_a_label_is_not(personal_data):
    lines = [*card(), line("04.07.1971", 60, 700), line(ZONE, 50, 800)]
    findings = look(personal_data, lines)
    assert kinds_at(findings, lines[-2].box) == {Kind.DATE_OF_BIRTH}
    assert kinds_at(findings, lines[9].box) == {Kind.DATE}


def test_an_unlabelled_date_beside_a_labelled_one_is_hidden_too(personal_data):
    lines = [*card(), line("01.01.2020    12.05.1980", 60, 700), line(ZONE, 50, 800)]
    assert kinds_at(look(personal_data, lines), lines[-2].box) == {Kind.DATE_OF_BIRTH}
    both = [*card()[:8], line("Date of expiry: 01.01.2031   12.05.1980", 400, 460), line(ZONE, 50, 800)]
    found = look(personal_data, both)
    assert Kind.DATE_OF_BIRTH in kinds_at(found, Box(400 + 10 * 29, 460, 400 + 10 * 39, 480))


@pytest.mark.parametrize("name", ["Page", "Ward", "Street", "Price", "Bank"])
def test_a_name_that_is_a_word_of_labels_is_hidden(personal_data, name):
    lines = [*card(values=(name, *VALUES[1:])), line(ZONE, 50, 800)]
    assert hides(look(personal_data, lines), lines[1].box)


@pytest.mark.parametrize(
    "lines",
    [
        [*STRAY, line("Thank you", 60, 100)],
        [*card(LABELS[:4], VALUES[:4]), *STRAY],
        [*card(), line("Total", 60, 20), line("12.00", 200, 20), *STRAY],
        [*card(), *STRAY, *(line("visit again", 700, 10 * at) for at in range(60))],
    ],
    ids=["no labels", "no expiry", "amounts", "a long page"],
)
def test_elsewhere_text_without_a_label_stays(personal_data, lines):
    findings = look(personal_data, lines)
    assert not kinds_at(findings, next(read for read in lines if read.text == "light grey").box)
