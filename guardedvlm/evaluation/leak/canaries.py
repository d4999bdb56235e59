"""Made-up personal data of every kind of HIPAA Safe Harbor and PCI DSS. The same seed makes the same.

Nobody's: names and addresses are drawn by Faker, numbers at random with valid check digits, telephone numbers and
addresses of the internet wherever chance puts them.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from faker import Faker

from guardedvlm.core.finding import Kind

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES")
DATE_FORMATS = (
    "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y", "%B %d, %Y",
    "%b %d, %Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d-%b-%y", "%A, %d %B %Y",
    "%a %d %b %Y", "%d%b%Y", "%b. %d, %Y", "%B %Y", "%d %b", "%d. %B %Y", "%d %m %Y", "%Y%m%d", "%m/%Y", "%B %d",
    "%d/%b/%Y", "%Y-%m-%dT%H:%M",
)  # fmt: skip
"""Thirty ways of writing a day."""

Maker = Callable[[random.Random, Faker], str]


@dataclass(frozen=True, slots=True)
class Canary:
    """A string of `kind` that nobody has, and the label of the form field that it stands in."""

    kind: Kind
    label: str
    text: str = field(repr=False)


def canaries(seed: int, count: int) -> list[Canary]:
    """`count` of them, the kinds in turn, no two alike."""
    drawn = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    people = [Faker(locale) for locale in LOCALES]
    for number, faker in enumerate(people):
        faker.seed_instance(seed * len(LOCALES) + number)
    kinds = list(MAKERS)
    drawn.shuffle(kinds)
    made: dict[str, Canary] = {}
    for kind in itertools.cycle(kinds):  # of some kinds there are but few strings
        if len(made) == count:
            break
        labels, makers = MAKERS[kind]
        canary = Canary(kind, drawn.choice(labels), drawn.choice(makers)(drawn, drawn.choice(people)))
        made.setdefault(canary.text, canary)
    return list(made.values())


def _digits(count: int) -> Maker:
    return lambda drawn, _: "".join(drawn.choices(string.digits, k=count))


def _pattern(pattern: str) -> Maker:
    """9 a digit, A a letter, anything else itself."""
    alphabets = {"9": string.digits, "A": string.ascii_uppercase}
    return lambda drawn, _: "".join(drawn.choice(alphabets.get(mark, mark)) for mark in pattern)


def _date(drawn: random.Random, _: Faker) -> str:
    day = date(1931, 1, 1) + timedelta(days=drawn.randrange(34_000))
    return day.strftime(drawn.choice(DATE_FORMATS))


def _name(form: str) -> Maker:
    def make(_: random.Random, faker: Faker) -> str:
        first, last = faker.first_name(), faker.last_name()
        return form.format(first=first, last=last, FIRST=first.upper(), LAST=last.upper(), initial=first[0])

    return make


def _card(gaps: str) -> Maker:
    def make(drawn: random.Random, _: Faker) -> str:
        body = drawn.choice(("4", "51", "55", "2221")).ljust(15, "x")
        body = "".join(drawn.choice(string.digits) if mark == "x" else mark for mark in body)
        number = body + _luhn(body)
        return gaps.join(number[at : at + 4] for at in range(0, 16, 4))

    return make


def _luhn(body: str) -> str:
    """Check digit of ISO/IEC 7812-1, annex B."""
    doubled = [int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(body))]
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def _routing(drawn: random.Random, _: Faker) -> str:
    """Nine digits with the check digit of the American Bankers Association."""
    body = [drawn.randrange(10) for _ in range(8)]
    weights = (3, 7, 1, 3, 7, 1, 3, 7)
    return "".join(map(str, body)) + str(-sum(w * d for w, d in zip(weights, body, strict=True)) % 10)


def _npi(drawn: random.Random, faker: Faker) -> str:
    body = "1" + _digits(8)(drawn, faker)
    return body + _luhn("80840" + body)


def _one_line(_: random.Random, faker: Faker) -> str:
    return faker.address().replace("\n", ", ")


_NAMES = tuple(
    map(_name, ("{first} {last}", "{last}, {first}", "{FIRST} {LAST}", "{LAST}, {FIRST}", "{initial}. {last}"))
)
MAKERS: Mapping[Kind, tuple[Sequence[str], Sequence[Maker]]] = {
    Kind.PERSON: (("Name", "Patient", "Cardholder", "Physician", "Emergency contact", "Employer contact"), _NAMES),
    Kind.ADDRESS: (
        ("Address", "Home address", "Street", "City"),
        (_one_line, lambda _, f: f.street_address(), lambda _, f: f"{f.postcode()} {f.city()}"),
    ),
    Kind.DATE: (("Date", "Admitted", "Discharged", "Exam date", "Valid thru", "Date of death"), (_date,)),
    Kind.DATE_OF_BIRTH: (("Date of birth", "DOB", "Born"), (_date,)),
    # As DICOM writes it: of "96 years" only the number is personal.
    Kind.AGE: (("Age", "Patient age"), (lambda d, _: f"0{d.randrange(90, 100)}Y",)),
    Kind.PHONE: (
        ("Phone", "Tel.", "Mobile", "Fax"),
        (lambda _, f: f.phone_number(), _pattern("(299) 299-9999"), _pattern("+49 89 999999")),
    ),
    Kind.EMAIL: (("E-mail", "Email address"), (lambda _, f: f.email(), lambda _, f: f.free_email())),
    Kind.SSN: (("SSN", "Social security no."), (_pattern("219-09-9999"), _pattern("5 99 99 99 999 999 99"))),
    Kind.MEDICAL_RECORD: (
        ("MRN", "Medical record no.", "Accession"),
        (_digits(8), _pattern("A9999999"), _pattern("99-99-99")),
    ),
    Kind.HEALTH_PLAN: (("Member ID", "Group no.", "Policy no."), (_pattern("AAA999999999"), _pattern("1AA9-AA9-AA99"))),
    Kind.ACCOUNT: (("Account no.", "Customer no."), (_digits(10), _pattern("999-99999-9"))),
    Kind.IBAN: (("IBAN",), (lambda _, f: f.iban(),)),
    Kind.PAYMENT_CARD: (("Card number", "PAN", "Card no."), (_card(" "), _card(""), _card("-"))),
    Kind.ROUTING: (("Routing no.", "ABA"), (_routing,)),
    Kind.LICENSE: (("NPI", "License no.", "DEA no."), (_npi, _pattern("A9999999"), _pattern("AA9999999"))),
    Kind.DOCUMENT_NUMBER: (("Passport no.", "ID no."), (_pattern("A99999999"), _pattern("9AA99A999"))),
    Kind.VEHICLE: (("VIN", "License plate"), (_pattern("1HGCM99999A999999"), _pattern("AAA-9999"))),
    Kind.DEVICE: (("Serial no.", "Device ID", "IMEI"), (_pattern("SN-99A9999"), _digits(15))),
    Kind.URL: (("Website", "URL"), (lambda _, f: f"www.{f.domain_name()}", lambda _, f: f.url())),
    Kind.IP_ADDRESS: (("IP address", "Host"), (lambda _, f: f.ipv4_public(), lambda _, f: f.ipv6())),
    Kind.OTHER_ID: (("Reference", "Case no.", "Student ID"), (_pattern("AA-9999-99"), _pattern("99999999A"))),
}  # fmt: skip
"""Labels and makers by kind."""
