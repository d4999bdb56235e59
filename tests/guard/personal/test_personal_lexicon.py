"""Common words, names, labels."""

import pytest

from guardedvlm.core.finding import Kind
from guardedvlm.errors import Unavailable
from guardedvlm.guard.detect.personal import lexicon
from guardedvlm.guard.detect.personal.labels import find_labels, leading_label, whole_label
from guardedvlm.guard.detect.personal.lexicon import (
    check_lists,
    is_common_word,
    is_given_name,
    is_label,
    is_place,
    is_surname,
)


@pytest.mark.parametrize(
    "word",
    [
        "total",
        "Cash",
        "INVOICE",
        "tax",
        "patient",
        "chest",
        "fracture",
        "may",
        "white",
        "price",
        "don't",
        "co-pay",
        "findings",
    ],
)
def test_plain_words_are_common(word):
    assert is_common_word(word)


@pytest.mark.parametrize(
    "word",
    [
        "John",
        "Smith",
        "Mark",
        "Garcia",
        "Lopez",
        "Jane",
        "Doe",
        "King",
        "Wong",
        "Ali",
        "Singh",
        "Gelencsér",
        "Norway",
        "Paris",
        "Washington",
        "xqzt",
        "T22000129",
        "4",
    ],
)
def test_names_places_and_codes_are_not(word):
    assert not is_common_word(word)


def test_names_and_places_are_known_with_accents_and_possessive():
    assert is_given_name("María's")
    assert is_surname("LOPEZ,")
    assert is_place("Berlin")
    assert not is_given_name("invoice")


@pytest.mark.parametrize(
    "text",
    """Total|DATE OF BIRTH:|DATEOFBIRTH|Name / Nom|Nachname / Surname / Nom|4a. Date of issue|1. Surname|S/N|D.O.B.|
    Given names (2)|Prénom(s) :|Né(e) le :|Größe/Height/Taille|TOTAL AMOUNT (RM)|Policy #|Patient Name: ______|
    Primer apellido / Primer cognom :|Passport no Passeport n°|Unterschrift der Inhaberin""".replace("\n", "").split(
        "|"
    ),
)
def test_labels(text):
    assert is_label(text)


@pytest.mark.parametrize(
    "text",
    [
        "John Smith",
        "Name: John",
        "Name Li",
        "Name Y",
        "Total 5",
        "Policy 12",
        "Nomad",
        "",
        ":",
        "M",
        "Doe, Jane",
        "x" * 500,
    ],
)
def test_what_holds_a_value_is_no_label(text):
    assert not is_label(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Date of Birth", Kind.DATE_OF_BIRTH),
        ("Geburtsdatum", Kind.DATE_OF_BIRTH),
        ("Fecha de nacimiento", Kind.DATE_OF_BIRTH),
        ("MRN", Kind.MEDICAL_RECORD),
        ("Member ID", Kind.HEALTH_PLAN),
        ("Konto-Nr.", Kind.ACCOUNT),
        ("Numéro de compte", Kind.ACCOUNT),
        ("Passport No", Kind.DOCUMENT_NUMBER),
        ("Unterschrift", Kind.SIGNATURE),
        ("Pay to the order of", Kind.PERSON),
        ("Sex", Kind.ATTRIBUTE),
        ("Subtotal", Kind.AMOUNT),
        ("Findings", None),
    ],
)
def test_kind_of_a_label(text, kind):
    label = whole_label(text)
    assert label is not None
    assert label.kind is kind


def test_leading_label_ends_where_the_value_begins():
    for text, value in [("Name:JohnSmith", "JohnSmith"), ("1. Surname / Nom: DOE", "DOE"), ("NameJohn", "John")]:
        label = leading_label(text)
        assert label is not None
        assert text[label.end :].lstrip(" :") == value


def test_labels_are_found_in_the_middle_of_a_line():
    text = "Name: Jane Doe  DOB: 01/02/1960 MRN 12"
    assert [text[label.start : label.end] for label in find_labels(text)] == ["Name", "DOB", "MRN"]


def test_a_machine_without_towns_is_an_error(monkeypatch):
    monkeypatch.setattr(lexicon.zoneinfo, "available_timezones", set)
    with pytest.raises(Unavailable):
        lexicon._places.__wrapped__()


def test_the_lists_are_pinned():
    assert all(len(digest) == 64 for digest in check_lists().values())
