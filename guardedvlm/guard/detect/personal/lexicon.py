"""Words that are no names, names, and form labels: what strict policies clear and what name rules lean on.

Sources, read from installed packages and pinned: symspellpy's English frequency list (82,765 words with web counts,
MIT) and the US Census 1990 lists of surnames and given names in `names` (shares of the population in per cent, MIT).
Countries and large towns: the names of the IANA time zones, and a few of our own.
"""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from functools import cache
from pathlib import Path

from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.detect.personal.labels import whole_label
from guardedvlm.reading.weights import pinned_file

FREQUENCY_LIST = (
    "symspellpy",
    "frequency_dictionary_en_82_765.txt",
    "68e9dc81c7e73bd7310b57e516ecaea0d8b6387ff71344a57c04174650a407a7",
)
SURNAMES = ("names", "dist.all.last", "b0e2b3743ccbad641ca48b344c24cdebcd1d9a1f76dc6dbf05986f2919f0b4e1")
FEMALE_NAMES = ("names", "dist.female.first", "bd2f310fc4e5d5e5ea122c9d4342c9821145823118eb20db1647f305ec77b358")
MALE_NAMES = ("names", "dist.male.first", "0a5078ef6effe3b483d15b0f7f95047662126c9bfb624ecd5e5b978fc0f2470b")

RARE_NAME_PERCENT = 0.0015
"""Names borne by less than this share of people are often plain words ("patient", "heart")."""
LEAST_SHARE = 0.0005
"""Stands for the 0.000 that the census prints for the rarest names."""
FREQUENT_WORD = 20_000_000
"""Web count of roughly the 3,500 most frequent words; below it a word that is also a name counts as a name."""
KNOWN_WORD = 1_000_000
"""The same for words that are rare names only; roughly the 22,000 most frequent words."""
WORD_TO_NAME = 500_000_000.0
"""Web count per per cent of bearers from which on a name is mostly a word: "white" 750 M and "price" 5 G against
"smith" 63 M, "john" 61 M, "mark" 100 M, "king" 420 M."""

_STATES_AND_TOWNS = """
alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana
iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska
nevada hampshire jersey mexico carolina dakota ohio oklahoma oregon pennsylvania rhode tennessee texas utah vermont
virginia washington wisconsin wyoming ontario quebec england scotland wales ireland france germany spain italy austria
switzerland bavaria selangor johor penang houston dallas boston seattle miami atlanta philadelphia baltimore cleveland
orlando austin portland manchester birmingham
afghanistan algeria argentina australia bangladesh belgium bolivia brazil bulgaria cambodia cameroon canada chile china
colombia croatia cuba cyprus denmark ecuador egypt estonia ethiopia finland ghana greece greenland guatemala haiti
honduras hungary iceland india indonesia iran iraq israel jamaica japan jordan kenya korea kuwait latvia lebanon libya
lithuania luxembourg malaysia malta morocco nepal netherlands nicaragua nigeria norway oman pakistan panama paraguay
peru philippines poland portugal qatar romania russia senegal serbia singapore slovakia slovenia somalia sudan sweden
syria taiwan tanzania thailand tunisia turkey uganda ukraine uruguay venezuela vietnam yemen zambia zimbabwe
"""
_NOT_PLACES = frozenset(
    {"center", "central", "east", "eastern", "general", "north", "northwest", "pacific", "island", "south", "west"}
    | {"knox", "universal", "mountain", "salem", "current", "creek", "rainy", "river", "fort", "swift", "point"}
    | {"city", "port", "saint", "troll", "university"}
)
"""Plain words among the parts of the time zones' names ("Rainy_River")."""


@cache
def _frequencies() -> dict[str, int]:
    with pinned_file(*FREQUENCY_LIST).open(encoding="utf-8-sig") as lines:
        return {word: int(count) for word, count in (line.split() for line in lines)}


def _shares(path: Path) -> dict[str, float]:
    """Lower-case name -> per cent of the population."""
    with path.open(encoding="ascii") as lines:
        return {parts[0].lower(): float(parts[1]) for parts in map(str.split, lines) if parts}


@cache
def _surnames() -> dict[str, float]:
    return _shares(pinned_file(*SURNAMES))


@cache
def _given_names() -> dict[str, float]:
    shares = _shares(pinned_file(*FEMALE_NAMES))
    for name, share in _shares(pinned_file(*MALE_NAMES)).items():
        shares[name] = max(share, shares.get(name, 0.0))
    return shares


@cache
def _places() -> frozenset[str]:
    zones = zoneinfo.available_timezones()
    if not zones:
        # A slim image without the zone database would make towns plain words.
        raise Unavailable(Reason.DETECTOR_MISSING, package="tzdata")
    parts = {part.casefold() for zone in zones for part in re.split(r"[/_]", zone)}
    return (
        frozenset(part for part in parts | set(_STATES_AND_TOWNS.split()) if part.isalpha() and len(part) > 3)
        - _NOT_PLACES
    )


def fold(word: str) -> str:
    """`word` in lower case without accents, possessive and surrounding punctuation: what the lists are keyed by."""
    plain = word.strip(" \t\n\r.,;:!?'\"()[]{}*-–—/\\|_<>#").casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(c for c in plain if not unicodedata.combining(c))
    return plain[:-2] if plain.endswith(("'s", "’s")) else plain


def is_given_name(word: str) -> bool:
    """Whether the census knows `word` as a given name."""
    return fold(word) in _given_names()


def is_surname(word: str) -> bool:
    """Whether the census knows `word` as a surname. It knows 88,799, many of them also plain words."""
    return fold(word) in _surnames()


FREQUENT_SURNAME_PERCENT = 0.03
"""Borne by more than 75,000 people in the US of 1990: "White", "Young", "Price", "Long", "Page"; not "May", "Will"."""


def is_frequent_surname(word: str) -> bool:
    """Whether so many people bear `word` as a surname that it is one after a given name, plain word or not."""
    return _surnames().get(fold(word), 0.0) >= FREQUENT_SURNAME_PERCENT


USUAL_NAME_PERCENT = 0.005
"""Borne by more than 12,000 people in the US of 1990. Rarer names of the census are syllables of other languages as
well: "Wan" .001, "Hui" .003 against "Ahmad" .006, "Ann" .364."""


def is_usual_given_name(word: str) -> bool:
    """Whether `word` is a given name of many people and no common word, however short it is."""
    return _given_names().get(fold(word), 0.0) >= USUAL_NAME_PERCENT and not is_common_word(word)


def is_usual_surname(word: str) -> bool:
    """The same for surnames: "Lim" .006, "Tan" .005 against "Zheng" .001."""
    return _surnames().get(fold(word), 0.0) >= USUAL_NAME_PERCENT and not is_common_word(word)


def is_place(word: str) -> bool:
    """Whether `word` is (part of) the name of a country, state or large town that the short list knows."""
    return fold(word) in _places()


def _is_common(word: str) -> bool:
    # Not cached: what is asked about are words of a request, which nothing keeps.
    count = _frequencies().get(word, 0)
    if not count or word in _places():
        return False
    shares = [names[word] for names in (_surnames(), _given_names()) if word in names]
    if not shares:
        return True
    share = max(sum(shares), LEAST_SHARE)
    return count >= (KNOWN_WORD if share < RARE_NAME_PERCENT else FREQUENT_WORD) and count / share >= WORD_TO_NAME


def is_word(word: str) -> bool:
    """Whether the frequency list has `word` at all, names included."""
    return fold(word) in _frequencies()


def is_common_word(word: str) -> bool:
    """Whether `word` is a plain English word: in the frequency list and no name, or a name far rarer than the word.

    False for anything that is no single word of letters, and for names of large towns and countries.
    """
    plain = fold(word)
    if plain.isalpha():
        return _is_common(plain)
    plain = re.sub(r"(?:n['’]t|['’](?:ll|re|ve|d|m))\Z", "", plain)
    if not plain.isalpha():
        # "co-pay", "don't", "and/or": common when every part is.
        parts = [part for part in re.split(r"[-'’/]", plain) if part]
        return len(parts) > 1 and all(part.isalpha() and (len(part) == 1 or _is_common(part)) for part in parts)
    return _is_common(plain)


def is_label(text: str) -> bool:
    """Whether all of `text` is a form or table label, personal or not: "Total", "DATE OF BIRTH:", "Name / Nom"."""
    return whole_label(text) is not None


def check_lists() -> dict[str, str]:
    """Load every list and tell its digest. Raises Unavailable when one is absent or not the pinned one."""
    for load in (_frequencies, _surnames, _given_names, _places):
        load()
    return {
        f"{package}/{name}": digest for package, name, digest in (FREQUENCY_LIST, SURNAMES, FEMALE_NAMES, MALE_NAMES)
    }
