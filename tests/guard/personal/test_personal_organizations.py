"""A firm's name is an organisation; a person's name in it, and a person who works there, stay persons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind
from guardedvlm.guard.detect.personal import PersonalData
from guardedvlm.guard.detect.personal.organizations import is_firm, organizations
from guardedvlm.guard.detect.personal.resolve import FIRM
from guardedvlm.guard.detect.personal.view import folded


@pytest.fixture(scope="module")
def personal():
    return PersonalData()


FIRMS = [
    "RESTORAN WAN SHENG",
    "PERNIAGAAN ZHENG HUI",
    "PASAR MINI JIN SENG",
    "MR. D.I.Y. (KUCHAI) SDN BHD",
    "MR.D.I.Y.(KUCHAI)SDNBHD",  # as another reader joins it
    "C W KHOO HARDWARE SDN BHD",
    "WEI SHENG TRADING",
    "Bäckerei Hövelmann GmbH",
    "Boulangerie Thibaudet",
    "Kowalczyk Transport Sp. z o.o.",
    "Zhao Electrical Supplies Pte Ltd",
]


@pytest.mark.parametrize("text", FIRMS)
def test_a_firm_is_no_person(personal, text):
    spans = personal.spans(text)
    assert Kind.PERSON not in {span.kind for span in spans}
    assert any(span.kind is Kind.ORGANIZATION for span in spans)


def test_a_firm_in_a_sentence_is_none_either(personal):
    spans = personal.spans("I paid 12.00 at Restoran Wan Sheng yesterday.", languages=("en",))
    assert Kind.PERSON not in {span.kind for span in spans}


PERSONS = [
    ("Dr. Smith Clinic", "Dr. Smith"),
    ("JOHN SMITH ENTERPRISE", "JOHN SMITH"),
    ("JOE TAN STORE", "JOE TAN"),
    ("AHMAD BIN ALI TRADING", "AHMAD BIN ALI"),
    ("Store Manager Siti Aminah", "Siti Aminah"),
    ("Dr. Siti Aminah Pharmacy", "Siti Aminah"),
    ("MR. D. LIM SDN BHD", "D. LIM"),
    ("CASHIER: SHENG WEI STORE", "SHENG WEI"),
    ("Account holder: WAN SHENG TRADING", "WAN SHENG"),
    ("TAN WOON YANN\nBOOK TALK SDN BHD", "TAN WOON YANN"),
    ("Zheng Hui works at Wan Sheng Trading", "Zheng Hui"),
    ("SITI AMINAH BINTI JAYA", "SITI AMINAH"),
]


@pytest.mark.parametrize(("text", "name"), PERSONS)
def test_a_person_stays_one(personal, text, name):
    at = text.index(name)
    persons = [span for span in personal.spans(text) if span.kind is Kind.PERSON]
    covered = {i for span in persons for i in range(span.start, span.end)}
    assert {i for i in range(at, at + len(name)) if text[i].isalnum()} <= covered


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("WEI SHENG TRADING", True),
        ("LIM SENG THO HARDWARE TRADING", False),  # a surname and two words are a full name
        ("MARY WEI TRADING", False),
        ("JIN SMITH STORE", False),
        ("SITI A/P RAJOO TRADING", False),
        ("Patient Wei Store", False),
        ("HEALTH FOOD STORE", False),  # words of the language alone: nobody took it for a person
        ("TRADING", False),
    ],
)
def test_whose_name_it_is(text, verdict):
    assert is_firm(text) is verdict


GIVEN = st.sampled_from(["Jane", "Ahmad", "Maria", "Thomas", "Joe", "Ann", "Peter", "Fatima"])
OTHER = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=8).map(str.title)
TRADE = st.sampled_from(["Trading", "Hardware", "Restaurant", "Sdn Bhd", "GmbH", "Ltd", "Store", "Pte Ltd"])


@given(GIVEN, OTHER, TRADE, st.booleans(), st.booleans())
def test_a_usual_given_name_is_never_a_firms_alone(given_name, other, trade, first, capitals):
    words = [given_name, other] if first else [other, given_name]
    text = f"{' '.join(words)} {trade}"
    spans = organizations(folded(text.upper() if capitals else text))
    assert not any(span.recognizer == FIRM and span.start <= text.index(given_name) for span in spans)
