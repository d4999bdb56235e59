"""Values of synthetic identity documents: a person's fields from a seed, and a machine-readable zone that checks.

Names, towns and streets come from Faker in the languages that the template's generator.json names; nobody's data is
copied. A field that several sides show (number, names, dates) has one value per person.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from faker import Faker

from guardedvlm.core.finding import Kind

KINDS: Mapping[str, Kind] = {
    "family_name": Kind.PERSON,
    "second_family_name": Kind.PERSON,
    "birth_name": Kind.PERSON,
    "given_name": Kind.PERSON,
    "initials": Kind.PERSON,
    "parents": Kind.PERSON,
    "birth_date": Kind.DATE_OF_BIRTH,
    "birth_date_and_place": Kind.DATE_OF_BIRTH,
    "expires": Kind.DATE,
    "date_issued": Kind.DATE,
    "date_and_place_issued": Kind.DATE,
    "birth_place": Kind.ATTRIBUTE,
    "gender": Kind.ATTRIBUTE,
    "height": Kind.ATTRIBUTE,
    "eyes_color": Kind.ATTRIBUTE,
    "nationality": Kind.ATTRIBUTE,
    "foreign_nationality": Kind.ATTRIBUTE,
    "address": Kind.ADDRESS,
    "place_issued": Kind.ADDRESS,
    "document_number": Kind.DOCUMENT_NUMBER,
    "document_number_bis": Kind.DOCUMENT_NUMBER,
    "personal_number": Kind.SSN,
    "can": Kind.OTHER_ID,
    "can_number": Kind.OTHER_ID,
    "authority": Kind.ORGANIZATION,
    "mrz": Kind.MRZ,
    "signature": Kind.SIGNATURE,
    "authority_signature": Kind.SIGNATURE,
    "photo": Kind.FACE,
    "ghost": Kind.FACE,
    "Datamatrix": Kind.CODE,
    "Barcode": Kind.CODE,
}
"""What each field is. Fields that are not here (type, country code, permit type, remarks) name nobody."""

MRZ_WEIGHTS = (7, 3, 1)
"""ICAO Doc 9303-3, 4.9: weights of the check digit."""
MRZ_LENGTHS = {"td1": 30, "td2": 36, "td3": 44}
LETTERS = {"ß": "SS", "ø": "OE", "Ø": "OE", "ł": "L", "Ł": "L", "ı": "I", "æ": "AE", "Æ": "AE", "đ": "D", "Đ": "D"}
"""ICAO Doc 9303-3, section 6 A: letters that lose no accent when decomposed."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who a document is about."""

    family: str
    given: str
    sex: str  # M or F
    born: date
    expires: date
    number: str
    country: str


def check_digit(text: str) -> str:
    """The check digit of ICAO Doc 9303-3, 4.9."""
    values = (0 if c == "<" else int(c, 36) for c in text)
    return str(sum(value * MRZ_WEIGHTS[i % 3] for i, value in enumerate(values)) % 10)


def mrz_lines(form: str, person: Person) -> tuple[str, ...]:
    """The lines of a TD1, TD2 or TD3 document (ICAO Doc 9303, parts 5, 6 and 4)."""
    length = MRZ_LENGTHS[form]
    number = _checked(person.number.ljust(9, "<"))
    born, expires = _checked(f"{person.born:%y%m%d}"), _checked(f"{person.expires:%y%m%d}")
    names = f"{_mrz_text(person.family)}<<{_mrz_text(person.given)}"
    code = ("P<" if form == "td3" else "I<") + person.country
    if form == "td1":
        first = f"{code}{number}".ljust(length, "<")
        second = f"{born}{person.sex}{expires}{person.country}".ljust(length - 1, "<")
        second += check_digit(first[5:30] + second[0:7] + second[8:15] + second[18:29])
        return first, second, names.ljust(length, "<")[:length]
    optional = "<" * (length - 29) if form == "td2" else _checked("<" * 14)
    second = f"{number}{person.country}{born}{person.sex}{expires}{optional}"
    second += check_digit(second[0:10] + second[13:20] + second[21:])
    return (code + names).ljust(length, "<")[:length], second


def _checked(text: str) -> str:
    return text + check_digit(text)


def _mrz_text(name: str) -> str:
    spelled = "".join(LETTERS.get(c, c) for c in name)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode().upper()
    return "<".join("".join(c if c.isalpha() else " " for c in plain.replace("'", "")).split())


def make_values(generator: Mapping[str, object], seed: int) -> dict[str, tuple[str, ...]]:
    """Lines of every text field of the document that `generator` (a generator.json) describes."""
    chance = random.Random(seed)
    context = generator["context"]
    assert isinstance(context, dict)
    locale = context["locale"] if isinstance(context["locale"], str) else chance.choice(sorted(context["locale"]))
    people = _faker(chance.choice(sorted(context["name_locale"])[:8]), seed)
    home = _faker(locale, seed + 1)
    person = _person(people, chance, str(generator["name"]))
    issued = person.expires - timedelta(days=3652)
    town = _town(home, chance, locale)
    country = {"ID_CARD_TD1_A": "BRD", "ID_CARD_TD2_B": "CICERANA"}.get(str(generator["name"]), person.country)
    form = next(form for form in MRZ_LENGTHS if form in str(generator["name"]).lower())
    meters = f"{chance.uniform(1.5, 2.0):.2f}"
    street = home.street_address().splitlines()[-1]
    access = f"{chance.randrange(10**6):06d}"
    return {
        "family_name": (person.family,),
        "second_family_name": (_latin(people.last_name()),),
        "birth_name": (_latin(people.last_name()),),
        "given_name": (person.given,),
        "initials": (person.given[0] + person.family[0],),
        "parents": (f"{_latin(people.first_name_male())} / {_latin(people.first_name_female())}",),
        "birth_date": (f"{person.born:%d.%m.%Y}",),
        "birth_date_and_place": (f"{person.born:%d.%m.%Y}, {town}",),
        "birth_place": (town,),
        "expires": (f"{person.expires:%d.%m.%Y}",),
        "date_issued": (f"{issued:%d.%m.%Y}",),
        "date_and_place_issued": (f"{issued:%d.%m.%Y}, {_town(home, chance, locale)}",),
        "place_issued": (_town(home, chance, locale),),
        "address": (street, f"{home.postcode()} {town}"),
        "gender": (person.sex,),
        "nationality": (country,),
        "foreign_nationality": (chance.choice(("AZE", "CZE", "DNK", "AUT", "POL", "TUR")),),
        "height": (f"{meters} m",) if form != "td3" else (f"{round(float(meters) * 100)} cm",),
        "eyes_color": (chance.choice(("BLEUE", "VERTE", "MARRON", "GRISE")),),
        "type": ("P",),
        "country_code": (person.country,),
        "document_number": (person.number,),
        "document_number_bis": (person.number,),
        "personal_number": (_bothify(chance, "????##") if form == "td1" else _bothify(chance, "##### ######"),),
        "can": (access,),
        "can_number": (access,),
        "authority": (f"{chance.choice(AUTHORITIES[locale[:2]])} {town}"[:34],),
        "permit_type": (chance.choice(PERMITS[locale[:2]]),) if locale[:2] in PERMITS else (),
        "observations": (chance.choice(REMARKS[locale[:2]]),) if locale[:2] in REMARKS else (),
        "mrz": mrz_lines(form, person),
    }


AUTHORITIES = {
    "de": ("Präfektur", "Bürgeramt"),
    "en": ("Home Office", "Borough of"),
    "es": ("Comisaría de",),
    "fr": ("Préfecture de", "Mairie de"),
    "it": ("Questura di",),
    "nl": ("Burgemeester van",),
    "pt": ("Conservatória de",),
}
PERMITS = {
    "de": ("AUFENTHALTSERLAUBNIS", "NIEDERLASSUNG"),
    "fr": ("CARTE DE RÉSIDENT", "TEMPORAIRE"),
    "it": ("SOGGIORNO", "CARTA DI SOGGIORNO"),
    "nl": ("VERBLIJFSVERGUNNING", "TIJDELIJK"),
}
TOWNS = ("Ancona", "Bergamo", "Casteggio", "Cuneo", "Lesina", "Montaione", "Pescara", "Sassari", "Ucria", "Viterbo")
REMARKS = {
    "de": ("ERWERBSTÄTIGKEIT ERLAUBT", "STUDIUM"),
    "fr": ("AUTORISE À TRAVAILLER", "ÉTUDIANT"),
    "it": ("LAVORO SUBORDINATO", "STUDIO"),
    "nl": ("ARBEID TOEGESTAAN", "STUDIE"),
}


def _person(people: Faker, chance: random.Random, name: str) -> Person:
    sex = chance.choice("FM")
    given = people.first_name_female() if sex == "F" else people.first_name_male()
    family = people.last_name()
    born = date(1930, 1, 1) + timedelta(days=chance.randrange(27_000))
    expires = date(2027, 1, 1) + timedelta(days=chance.randrange(3_000))
    countries = {"ID_CARD_TD1_B": "LBR", "ID_CARD_TD2_A": "PIL", "PP_TD3_A": "GAL", "PP_TD3_B": "VAL"}
    return Person(
        _latin(family), _latin(given), sex, born, expires, _bothify(chance, "??#?#??##"), countries.get(name, "UTO")
    )


def _town(home: Faker, chance: random.Random, locale: str) -> str:
    """A town. Faker's Italian ones come out of a set, in another order in each process."""
    return chance.choice(TOWNS) if locale == "it_IT" else home.city()


def _latin(name: str) -> str:
    """`name` in letters that a card of these languages shows."""
    return name if all(unicodedata.name(c, "").startswith("LATIN") or not c.isalpha() for c in name) else "Marsala"


def _bothify(chance: random.Random, pattern: str) -> str:
    return "".join(
        chance.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if c == "?" else str(chance.randrange(10)) if c == "#" else c
        for c in pattern
    )


def _faker(locale: str, seed: int) -> Faker:
    faker = Faker(locale)
    faker.seed_instance(seed)
    return faker
