"""Read pages laid out as forms, cards, statements and cheques; what must be hidden is, what must not is left."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Size
from guardedvlm.guard.detect.personal.form import form_hits
from guardedvlm.guard.detect.personal.layout import Layout

sys.path.insert(0, str(Path(__file__).parent))
from pages import hides, kinds_at, line, turned

sys.path.pop(0)

WIDTH, HEIGHT = 1200, 900


def look(personal_data, lines, known=()):
    return personal_data.page(lines, width=WIDTH, height=HEIGHT, known=known)


FORM = {
    "Patient Name:": ("Mark White", Kind.PERSON),
    "Date of Birth:": ("04/12/1961", Kind.DATE_OF_BIRTH),
    "MRN:": ("00482913", Kind.MEDICAL_RECORD),
    "Policy No.": ("XJ-2291-88", Kind.HEALTH_PLAN),
    "Member ID": ("W99887766", Kind.HEALTH_PLAN),
    "Account": ("5320-13000", Kind.ACCOUNT),
    "Address:": ("12 Elm Grove", Kind.ADDRESS),
    "Phone": ("(415) 555-0132", Kind.PHONE),
    "Sex": ("F", Kind.ATTRIBUTE),
    "Emergency Contact:": ("May Young", Kind.PERSON),
    "Physician": ("A. Rivera", Kind.PERSON),
    "Passport No": ("C01X00T47", Kind.DOCUMENT_NUMBER),
    "Geburtsdatum": ("12.08.1983", Kind.DATE_OF_BIRTH),
    "Titulaire du compte": ("Dupont Claire", Kind.PERSON),
    "Número de póliza": ("88-1203", Kind.HEALTH_PLAN),
}


@pytest.mark.parametrize("place", ["right", "below", "same line"])
@pytest.mark.parametrize("label", FORM)
def test_a_label_makes_its_value_personal(personal_data, label, place):
    value, kind = FORM[label]
    if place == "same line":
        shown = line(f"{label.rstrip(':')}: {value}", 100, 300)
        lines, start = [shown], len(label.rstrip(":")) + 2
        box = Box(100 + 10 * start, 300, shown.box.x1, 320)
    else:
        x, y = (100 + 10 * len(label) + 40, 300) if place == "right" else (100, 330)
        shown = line(value, x, y)
        lines, box = [line(label, 100, 300), shown], shown.box
    findings = look(personal_data, [line("INTAKE FORM", 400, 20), *lines])
    assert hides(findings, box)
    assert kind in kinds_at(findings, box)
    assert not hides(findings, Box(100, 300, 100 + 10 * len(label.rstrip(": ")), 320))


def test_values_do_not_reach_over_other_labels_or_far_columns(personal_data):
    lines = [
        line("Patient Name", 100, 100),
        line("Findings", 340, 100),
        line("Total", 100, 130),
        line("Impression", 900, 400),
        line("Normal chest", 900, 430),
    ]
    findings = look(personal_data, lines)
    assert findings == ()


def test_table_header_is_no_value_and_its_column_is(personal_data):
    names = ["Anna Keller", "Peter Novak", "Sofia Rossi"]
    lines = [line("Name", 100, 100), line("Quantity", 400, 100)]
    lines += [line(name, 100, 130 + 30 * i) for i, name in enumerate(names)]
    lines += [line(str(2 + i), 400, 130 + 30 * i) for i in range(3)]
    findings = look(personal_data, lines)
    for i, name in enumerate(names):
        assert hides(findings, line(name, 100, 130 + 30 * i).box)
    assert not any(f.box.x0 >= 400 for f in findings)


CARD = [
    ("IDENTITY CARD", 300, 10, 20, None),
    ("Nachname / Surname / Nom", 300, 80, 12, None),
    ("MUSTERMANN", 300, 96, 20, Kind.PERSON),
    ("Vornamen / Given names / Prénoms", 300, 130, 12, None),
    ("ERIKA MAY", 300, 146, 20, Kind.PERSON),
    ("Geburtsdatum / Date of birth / Date de naissance", 300, 180, 12, None),
    ("12.08.1983", 300, 196, 20, Kind.DATE_OF_BIRTH),
    ("Staatsangehörigkeit / Nationality / Nationalité", 620, 180, 12, None),
    ("DEUTSCH", 620, 196, 20, Kind.ATTRIBUTE),
    ("Geburtsort / Place of birth / Lieu de naissance", 300, 230, 12, None),
    ("BERLIN", 300, 246, 20, Kind.ATTRIBUTE),
    ("Gültig bis / Date of expiry", 300, 280, 12, None),
    ("31.10.2029", 300, 296, 20, Kind.DATE),
    ("4a. Date of issue", 300, 330, 12, None),
    ("01.11.2019", 300, 346, 20, Kind.DATE),
    ("IDD<<T220001293<<<<<<<<<<<<<<<", 50, 700, 20, Kind.MRZ),
    ("8308126<2910315D<<<<<<<<<<<<<4", 50, 730, 20, Kind.MRZ),
    ("MUSTERMANN<<ERIKA<MAY<<<<<<<<<", 50, 760, 20, Kind.MRZ),
]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, 3])
def test_identity_card(personal_data, degrees):
    lines = [line(text, x, y, height=h) for text, x, y, h, _ in CARD]
    shown = [turned(read, degrees, (600, 450)) for read in lines]
    findings = look(personal_data, shown)
    for read, (text, *_, kind) in zip(shown, CARD, strict=True):
        x0, y0, x1, y1 = read.box.x0, read.box.y0, read.box.x1, read.box.y1
        centre = Box((x0 + x1) // 2, (y0 + y1) // 2, (x0 + x1) // 2 + 1, (y0 + y1) // 2 + 1)
        if kind is None:
            assert not kinds_at(findings, centre), text
        else:
            assert kind in kinds_at(findings, centre), text


def test_a_turned_line_gets_a_quad(personal_data):
    findings = look(personal_data, [turned(line("Name: Jane Doe", 300, 300), 10, (600, 450))])
    assert [f.quad is not None for f in findings if f.kind is Kind.PERSON] == [True]


def test_joined_words_are_cut_with_a_margin(personal_data):
    findings = look(personal_data, [line("Name:JohnSmith", 100, 100)])
    (person,) = [f for f in findings if f.kind is Kind.PERSON]
    assert person.secret == "JohnSmith"
    assert 100 < person.box.x0 < 150
    assert person.box.x1 >= 240


def test_a_labelled_name_is_hidden_everywhere_on_the_page(personal_data):
    lines = [
        line("Account holder:", 100, 100),
        line("Zorvath Quimby", 300, 100),
        line("Transfer from QUIMBY Z savings", 100, 500),
        line("REF ZORVATHQUIMBY", 100, 600),
    ]
    findings = look(personal_data, lines)
    assert hides(findings, Box(240, 500, 300, 520))
    assert hides(findings, Box(140, 600, 270, 620))
    assert not hides(findings, Box(310, 500, 400, 520))


def test_signature_areas(personal_data):
    lines = [line("Signature:", 100, 600), line("Date: 03/04/2024", 700, 600), line("AUTHORIZED SIGNATURE", 700, 800)]
    areas = [f.box for f in look(personal_data, lines) if f.kind is Kind.SIGNATURE]
    assert any(box.overlap(Box(220, 590, 350, 610)) == 130 * 20 for box in areas)
    assert any(box.overlap(Box(720, 755, 900, 790)) == 180 * 35 for box in areas)
    assert all(0 <= b.x0 < b.x1 <= WIDTH and 0 <= b.y0 < b.y1 <= HEIGHT for b in areas)


def test_handwriting_near_a_signature_label_is_hidden_whatever_was_read(personal_data):
    lines = [
        line("llee", 600, 480, height=100),
        line("AUTHORIZED SIGNATURE", 850, 600),
        line("llee", 600, 100, height=100),
    ]
    findings = look(personal_data, lines)
    assert Kind.SIGNATURE in kinds_at(findings, lines[0].box)
    assert hides(findings, lines[0].box)
    assert not kinds_at(findings, lines[2].box)


def test_a_zone_line_that_was_read_as_anything_is_hidden_beside_another(personal_data):
    lines = [line("∠∩ι" * 10, 50, 700), line("8411095F3106213UTO<<<<<<<<<<<0", 50, 730), line("∠∩ι" * 5, 50, 500)]
    findings = look(personal_data, lines)
    assert kinds_at(findings, lines[0].box) == {Kind.MRZ}
    assert Kind.MRZ not in kinds_at(findings, lines[2].box)


def test_cheque_foot_whose_symbols_were_read_as_junk(personal_data):
    lines = [
        line("PAY TO THE ORDER OF", 50, 100),
        line("Sunrise Realty", 330, 100),
        line("C0210OOO21C 000123 456789D", 50, 700),
    ]
    findings = look(personal_data, lines)
    assert Kind.PERSON in kinds_at(findings, Box(330, 100, 470, 120))
    assert hides(findings, lines[2].box)


def test_statement_keeps_amounts_apart(personal_data):
    lines = [
        line("MARIA LOPEZ", 50, 120),
        line("48 Oak Street", 50, 145),
        line("Denver, CO 80202", 50, 170),
        line("Account Number:", 600, 120),
        line("000123456789", 950, 120),
        line("Date", 50, 260),
        line("Description", 200, 260),
        line("Amount", 700, 260),
        line("01/05", 50, 300),
        line("Grocery store", 200, 300),
        line("-45.20", 700, 300),
        line("01/09", 50, 330),
        line("Electric bill", 200, 330),
        line("100.00", 700, 330),
    ]
    findings = look(personal_data, lines)
    expected = {0: Kind.PERSON, 1: Kind.ADDRESS, 2: Kind.ADDRESS, 4: Kind.ACCOUNT, 8: Kind.DATE, 11: Kind.DATE} | {
        10: Kind.AMOUNT,
        13: Kind.AMOUNT,
    }
    for index, read in enumerate(lines):
        assert kinds_at(findings, read.box) == ({expected[index]} if index in expected else set()), read.text


def test_header_secrets_are_found_on_the_page(personal_data):
    known = [("PERSON", "QUIMBY^ZORA"), ("MEDICAL_RECORD", "PX 12 7"), ("DATE_OF_BIRTH", "19600201")]
    lines = [
        line("quimby zora lateral view of the spine", 50, 50),
        line("PX127 lateral", 50, 100),
        line("1 Feb 1960", 50, 150),
    ]
    findings = look(personal_data, lines, known)
    assert {f.detector for f in findings} >= {"known/name", "known/code", "known/date"}
    assert hides(findings, Box(50, 50, 110, 70))
    assert hides(findings, Box(120, 50, 160, 70))
    assert hides(findings, lines[2].box)
    assert not hides(findings, Box(110, 100, 180, 120))


def test_lines_come_as_json(personal_data):
    read = line("MRN: 00482913", 50, 50)
    as_json = {
        "box": {"x0": 50, "y0": 50, "x1": 180, "y1": 70},
        "quad": [list(corner) for corner in read.quad],
        "text": read.text,
        "confidence": 0.9,
        "words": [{"text": w.text, "box": {"x0": w.box.x0, "y0": 50, "x1": w.box.x1, "y1": 70}} for w in read.words],
    }
    assert look(personal_data, [as_json]) == look(personal_data, [read])


def test_an_empty_page_and_unread_lines(personal_data):
    unread = line("x", 10, 10)
    unread = type(unread)(unread.box, unread.quad, "", 0.0, ())
    assert look(personal_data, []) == ()
    assert look(personal_data, [unread]) == ()


TEXTS = st.lists(
    st.tuples(
        st.text("ABCdef 0123:<./-", min_size=1, max_size=30).filter(str.strip),
        st.integers(0, 900),
        st.integers(0, 800),
        st.floats(-180, 180),
    ),
    max_size=8,
)


@given(TEXTS)
@settings(max_examples=40)
def test_boxes_lie_inside_the_page(personal_data, texts):
    lines = [turned(line(text, x, y), angle, (500, 450)) for text, x, y, angle in texts]
    for finding in look(personal_data, lines):
        assert 0 <= finding.box.x0 < finding.box.x1 <= WIDTH
        assert 0 <= finding.box.y0 < finding.box.y1 <= HEIGHT


def test_form_rules_need_no_model():
    lines = [line("Surname", 100, 100), line("WHITE", 100, 125)]
    (hit,) = form_hits(Layout(lines, Size(WIDTH, HEIGHT)))
    assert (hit.line, hit.span.kind) == (1, Kind.PERSON)
