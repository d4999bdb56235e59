"""Recognisers of numbers: those that carry a check digit, and codes that nothing but their shape gives away."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal import checks
from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.detect.personal.view import Group, View, digits, misread, windows, without_spaces

CERTAIN, LIKELY, POSSIBLE = 0.99, 0.8, 0.6
"""Scores: a check digit that one in ten strings would have is likely, one in a hundred certain, a shape possible."""

LEAST_ID_DIGITS = 9
"""A run of so many digits is a unique code of something: account numbers begin at eight, amounts end before."""


def payment_cards(view: View) -> Iterator[Span]:
    """PANs, also with a group misread, and what is left of masked ones ("**** 1234")."""
    for run in view.digit_groups:
        for start, end, number in windows(run, 12, 19, in_group=3):
            if checks.payment_card(number):
                yield view.span(start, end, Kind.PAYMENT_CARD, CERTAIN, "check/luhn")
    for match in _MASKED.finditer(view.text):
        yield view.span(*match.span(), Kind.PAYMENT_CARD, LIKELY, "pattern/masked-card")


_MASKED = re.compile(
    r"(?<![xX*•#\w])(?:\d{4}[ -]?)?[xX*•#](?:[ -]?[xX*•#]){2,20}[ -]?\d{3,4}\b"
    r"|\bend(?:ing|s) {1,2}(?:in|with) {1,2}\d{3,4}\b",
    re.IGNORECASE,
)


def ibans(view: View) -> Iterator[Span]:
    """IBANs with any grouping and misread digits; one whose check fails is still hidden, with a lower score."""
    solid = without_spaces(view)
    upper = solid.text.upper() if solid.text.isascii() else "".join(c.upper()[:1] for c in solid.text)
    for match in _IBAN.finditer(upper):
        length = checks.IBAN_LENGTHS.get(match[1])
        candidate = upper[match.start() : match.start() + (length or 0)]
        if length is None or len(candidate) < length or not candidate.isascii() or not candidate.isalnum():
            continue
        number = match[1] + digits_or(candidate[2:4]) + candidate[4:]
        spellings = (number, number[:4] + number[4:].replace("O", "0"), number[:4] + digits_or(number[4:]))
        if any(checks.iban(spelling) for spelling in spellings):
            yield solid.span(match.start(), match.start() + length, Kind.IBAN, CERTAIN, "check/iban")
        elif sum(c.isdigit() for c in candidate) >= 0.6 * length and _starts_clean(view, solid, match.start()):
            yield solid.span(match.start(), match.start() + length, Kind.IBAN, POSSIBLE, "pattern/iban")


_IBAN = re.compile(r"(?=([A-Z]{2})[0-9OIL]{2}[0-9A-Z]{11})")


def _starts_clean(view: View, solid: View, position: int) -> bool:
    """Whether no letter or digit stands directly before: a country code in the middle of a word is none."""
    at = solid.origin[position]
    index = next((i for i, origin in enumerate(view.origin) if origin == at), 0)
    return index == 0 or not view.text[index - 1].isalnum()


def digits_or(text: str) -> str:
    """`text` with misread digits folded where that gives digits only, else `text`."""
    number = digits(text)
    return number if len(number) == len(text) else text


def bank_and_licence_numbers(view: View) -> Iterator[Span]:
    """ABA, NPI, SSN/ITIN and IMEI: plain digit runs told apart by length, grouping and check digit."""
    for run in view.digit_groups:
        for index, group in enumerate(run):
            number = group.digits
            if len(number) == 9 and checks.routing(number):
                yield view.span(group.start, group.end, Kind.ROUTING, LIKELY, "pattern/aba")
            if len(number) == 10 and checks.npi(number):
                yield view.span(group.start, group.end, Kind.LICENSE, LIKELY, "pattern/npi")
            shape = [len(g.digits) for g in run[index : index + 3]]
            if shape == [3, 2, 4] and _alike(view.text, run[index : index + 3]):
                whole = "".join(g.digits for g in run[index : index + 3])
                if checks.ssn(whole):
                    yield view.span(group.start, run[index + 2].end, Kind.SSN, CERTAIN, "check/ssn")
        for start, end, number in windows(run, 15, 15):
            if number[:2] in _IMEI_ISSUERS and checks.luhn(number):
                yield view.span(start, end, Kind.DEVICE, LIKELY, "pattern/imei")


_IMEI_ISSUERS = frozenset({"01", "35", "86", "91", "99"})
"""Reporting body identifiers in use (GSMA TS.06)."""


def _alike(text: str, groups: Sequence[Group]) -> bool:
    """Whether the same separator stands between all groups."""
    found = {text[a.end : b.start].strip() for a, b in pairwise(groups)}
    return len(found) == 1 and found != {"."}


_TOKEN = re.compile(r"[A-Za-z0-9|!]+(?:-[A-Za-z0-9|!]+)*")


def mixed_codes(view: View) -> Iterator[Span]:
    """DEA, MBI, VIN: letters and digits by position."""
    for match in _TOKEN.finditer(view.text):
        if not any(c.isdigit() for c in match[0]):
            continue
        found = _mixed(match[0].replace("-", ""))
        if found is not None:
            kind, score, name = found
            yield view.span(*match.span(), kind, score, name)


LEAST_VIN_LETTERS = 2
"""A maker's and a model's code have at least so many; a card's number joined to one letter has the length of a VIN."""


def _mixed(read: str) -> tuple[Kind, float, str] | None:
    token = read.upper()
    if len(token) == 9 and checks.dea(token[:2] + digits_or(token[2:])):
        return Kind.LICENSE, CERTAIN, "check/dea"
    if len(token) == 11 and any(checks.mbi(spelling) for spelling in (token, _mbi_spelling(read))):
        return Kind.HEALTH_PLAN, LIKELY, "check/mbi"
    if len(token) == 17 and sum(map(str.isalpha, token)) >= LEAST_VIN_LETTERS:
        spelling = token.replace("O", "0").replace("Q", "0").replace("I", "1")
        if checks.vin(token) or checks.vin(spelling):
            return Kind.VEHICLE, CERTAIN, "check/vin"
    return None


def _mbi_spelling(read: str) -> str:
    """What was read, with misread digits put right at the places that must be digits."""
    return "".join(misread(c) if place in {0, 3, 6, 9, 10} else c.upper() for place, c in enumerate(read))


_UDI = re.compile(r"\(01\)\s*\d{14}(?:\s*\(\d{2}\)\s*[A-Za-z0-9./-]{1,20})*")
_MAC = re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b")
_MICR_SYMBOL = re.compile(r"[⑆⑇⑈⑉][\d\s⑆⑇⑈⑉]*\d[\d\s⑆⑇⑈⑉]*")


def devices_and_lines(view: View) -> Iterator[Span]:
    """UDI, MAC addresses, and MICR lines whose symbols were read."""
    for pattern, kind, name in (
        (_UDI, Kind.DEVICE, "pattern/udi"),
        (_MAC, Kind.DEVICE, "pattern/mac"),
        (_MICR_SYMBOL, Kind.ROUTING, "pattern/micr"),
    ):
        for match in pattern.finditer(view.text):
            yield view.span(*match.span(), kind, CERTAIN, name)
    yield from _micr_lines(view)


def _micr_lines(view: View) -> Iterator[Span]:
    """A cheque's bottom line whose symbols were read as junk: an ABA number, another long group, and little else."""
    for match in re.finditer(r"[^\n]+", view.text):
        line = match[0]
        groups = re.findall(r"\d{4,}", line)
        letters = sum(c.isalpha() for c in line)
        if len(groups) < 2 or letters > 6 or not any(checks.routing(g[:9]) for g in groups if len(g) >= 9):
            continue
        if sum(map(len, groups)) >= 15:
            yield view.span(*match.span(), Kind.ROUTING, CERTAIN, "pattern/micr")


def unique_codes(view: View) -> Iterator[Span]:
    """Long digit runs, letters mixed with digits, random-looking strings: 45 CFR 164.514(b)(2)(i)(R)."""
    for match in _CODE.finditer(view.text):
        token = match[0].strip("-_./+=")
        if token and _is_code(token):
            start = match.start() + match[0].index(token)
            yield view.span(start, start + len(token), Kind.OTHER_ID, POSSIBLE, "entropy/code")
    for run in view.digit_groups:
        for group in run:
            if len(group.digits) >= LEAST_ID_DIGITS:
                yield view.span(group.start, group.end, Kind.OTHER_ID, POSSIBLE, "entropy/digits")


_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-/+=.]{5,}")
RANDOM_BITS = 3.5
"""Shannon entropy per character of a string of 20: English words have about 3, base64 keys above 4."""


def _is_code(token: str) -> bool:
    letters, number = sum(c.isalpha() for c in token), sum(c.isdigit() for c in token)
    if number >= 5 and letters >= 1 and letters + number >= 7:
        return not _MEASURE.fullmatch(token)
    if (
        len(token) < 20
        or not letters
        or any(is_common_word(word) for word in re.split(r"[-_/+=.]", token) if len(word) > 3)
    ):
        return False
    return _entropy(token) >= RANDOM_BITS and (number >= 2 or _mixed_case(token))


_MEASURE = re.compile(r"[\d.,/x-]+[A-Za-z]{1,3}|[A-Za-z]{1,3}[\d.,]+\.\d\d|\d{4}-\d\d-\d\dT?[\d:.]*Z?")
"""Quantities with a unit ("10000mg"), amounts ("RM1000.00") and times are no codes."""


def _mixed_case(token: str) -> bool:
    changes = sum(a.islower() != b.islower() for a, b in pairwise(token) if a.isalpha() and b.isalpha())
    return changes >= 5


def _entropy(token: str) -> float:
    counts = Counter(token).values()
    return -sum(n / len(token) * math.log2(n / len(token)) for n in counts)
