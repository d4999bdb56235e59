"""What the value of a label may look like: which part of the text beside a label is its value, by kind."""

from __future__ import annotations

import re

from guardedvlm.core.finding import Kind
from guardedvlm.guard.detect.personal.labels import Label, find_labels, whole_label
from guardedvlm.guard.detect.personal.lexicon import is_common_word, is_given_name, is_place, is_surname

_SENTENCE_END = re.compile(r"(?<=[\w)])[.;!?](?=\s|$)|\s[-–|]\s|\t|\s{3,}|;")
_NAME_END = re.compile(
    r"\s(?:and|who|is|was|has|had|will|with|at|on|in|from|born|lives?|living|can|should|under|for|to|the|by|und|wohnt|et|"
    r"habite|vive|but|as|when|because|if)\b|,(?=\s?(?:who|and|born|aged|\d))|[\[(/?!]|\s\d|\d{3}|(?<=\w\w)[.;]"
)
_NUMBER = re.compile(
    r"[#*]?[A-Za-z]{0,6}[-./ ]?[\w|!*•#]*\d[\w|!*•#]*(?:[-./ ]{1,2}[\w|!*•#]*\d[\w|!*•#]*){0,8}(?:-[A-Za-z]{1,3}\b)?"
)
_MONEY = re.compile(r"(?:[A-Z]{2,3} ?|[$€£] ?)?\d{1,3}(?:,?\d{3}){0,2}\.\d\d")
"""A value that is an amount and nothing else is in the column of a number by chance: numbers have no cents."""
_CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{4,}")
_DATE_VALUE = re.compile(r"[\w'./,\- ]*\d[\w'./,\-: ]*")
_ATTRIBUTE_VALUE = re.compile(r"[^\n;:|]{1,48}")
_PERSON_VALUE = re.compile(r"[^\W\d_][^\n\d:;|]*")
_TITLES = re.compile(r"(?:(?:mr|mrs|ms|miss|dr|prof|herr|frau|mme|m|sr|sra|hon|rev)\b\.?\s*)+", re.IGNORECASE)

DIGIT_KINDS = frozenset(
    {
        Kind.MEDICAL_RECORD, Kind.HEALTH_PLAN, Kind.ACCOUNT, Kind.PAYMENT_CARD, Kind.ROUTING, Kind.SSN, Kind.LICENSE,
        Kind.DOCUMENT_NUMBER, Kind.DEVICE, Kind.OTHER_ID, Kind.VEHICLE, Kind.IBAN, Kind.PHONE, Kind.IP_ADDRESS,
        Kind.ORGANIZATION,
    }
)  # fmt: skip
"""Kinds whose value holds a digit, or is a code in capitals."""


def trimmed_value(text: str, start: int, end: int, label: Label, *, strict: bool) -> tuple[int, int] | None:
    """[start, end) of the value of `label` in text[start:end], or None where nothing there can be one.

    `strict`: no colon stands between label and value, so only what clearly is a value of the label's kind counts.
    """
    while start < end and text[start] in " \t.:#=-_)*":
        start += 1
    part = text[start:end]
    if not part.strip(" .:_-") or whole_label(part) is not None or label.kind is None:
        return None
    match = _match(part, label, strict=strict)
    if match is None:
        return None
    length = len(part[:match].rstrip(" ,.;:-_/|\n\t")) or 0
    return (start, start + length) if length else None


def _match(part: str, label: Label, *, strict: bool) -> int | None:
    """Length of the value at the start of `part`, or None."""
    kind = label.kind
    if kind is Kind.PERSON or kind is Kind.SIGNATURE:
        return _person(part, strict=strict)
    if kind in DIGIT_KINDS or label.numbered:
        return _number(part, strict=strict)
    if kind in (Kind.DATE, Kind.DATE_OF_BIRTH):
        return _date(part, strict=strict)
    if kind is Kind.AGE:
        age = re.match(
            r"\d{1,3}(?:\s?(?:years?|yrs?|y|m|months?|jahre|ans|años))?\b(?!\s?[%./-]\d)", part, re.IGNORECASE
        )
        return age.end() if age else None
    if kind is Kind.EMAIL or kind is Kind.URL:
        address = re.match(r"\S*[@.]\S+|\S+\s?@\s?\S+", part)
        return address.end() if address else None
    if kind is Kind.ADDRESS:
        return _address(part, strict=strict)
    return _attribute(part, strict=strict)


def _person(part: str, *, strict: bool) -> int | None:
    title = _TITLES.match(part)
    at = title.end() if title else 0
    match = _PERSON_VALUE.match(part, at)
    if match is None:
        return None
    stop = _NAME_END.search(part, at)
    end = min(match.end(), stop.start() if stop else len(part))
    words = re.findall(r"[^\W\d_][\w'.-]*", part[at:end])
    if not words or len(words) > MAX_NAME_WORDS:
        return None
    if strict and not is_name(words):
        return None
    # After a colon even plain words are a name, unless they are a sentence or another label.
    plain = all(is_common_word(word) for word in words)
    if plain and (len(words) > 3 or part[at : at + 1].islower()):
        return None
    return end


MAX_NAME_WORDS = 7
"""Spanish and Arabic names have up to six parts; a longer run is a sentence."""


def is_name(words: list[str]) -> bool:
    """Whether words in capitals or with capital initials are a name: at least one is no common word."""
    particles = {
        "de",
        "da",
        "dos",
        "del",
        "der",
        "den",
        "van",
        "von",
        "la",
        "le",
        "bin",
        "binti",
        "al",
        "el",
        "ibn",
        "y",
        "e",
        "zu",
        "di",
        "of",
    }
    solid = [word for word in words if word.casefold() not in particles]
    if not solid:
        return False
    if not all(word[:1].isupper() for word in solid):
        # "my name is jane doe": in small letters every word must be none of the language.
        return len(solid) <= 3 and not any(is_common_word(word) for word in solid)
    return any(not is_common_word(word) for word in solid if len(word) > 1) and not all(
        is_place(word) for word in solid
    )


def known_name(word: str) -> bool:
    """Whether the census knows the word as a given name or surname and it is no common word."""
    return (is_given_name(word) or is_surname(word)) and not is_common_word(word)


def _number(part: str, *, strict: bool) -> int | None:
    match = _NUMBER.match(part)
    if _MONEY.fullmatch(part.strip()):
        return None
    if match is not None and any(c.isdigit() for c in match[0]):
        words = re.findall(r"[^\W\d_]{3,}|\b(?:on|of|at|in|by|to|am|le|el)\b", match[0])
        # "account holders 3", "card 5 of 7", "visit on 3/4/2024": words before the digits are no part of a number.
        if strict and (sum(c.isdigit() for c in match[0]) < LEAST_DIGITS or any(is_common_word(w) for w in words)):
            return None
        return match.end()
    code = _CODE.match(part)
    if code is not None and not strict and not is_common_word(code[0]):
        return code.end()
    return None


LEAST_DIGITS = 4
"""A number without a colon after its label has at least four digits."""


def _date(part: str, *, strict: bool) -> int | None:
    labels = find_labels(part)
    limit = labels[0].start if labels and labels[0].start else len(part)
    match = _DATE_VALUE.match(part[:limit])
    if match is None or sum(c.isdigit() for c in match[0]) < 2:
        return None
    value = re.match(
        r"\W{0,2}(?:\w{3,9}[., ]{1,2})?\d{1,4}(?:st|nd|rd|th)?"
        r"(?:[-./, ]{1,2}(?:de\s)?(?:\d{1,4}|[^\W\d_]{3,10}\.?(?:/[^\W\d_]{3,4})?)){0,2}"
        r"(?:[ T,-]{1,3}\d{1,2}:\d\d(?::\d\d)?(?:\s?[AaPp][Mm])?)?",
        match[0],
    )
    if value is None or (strict and sum(c.isdigit() for c in value[0]) < 4):
        return None
    return value.end()


def _address(part: str, *, strict: bool) -> int | None:
    stop = re.search(r"[;|\n]|\s{4,}|(?<=\w{3})\.\s", part)
    value = part[: stop.start() if stop else len(part)]
    digit, capital = any(c.isdigit() for c in value), value[:1].isupper()
    if strict and not (digit and capital) and not value[:1].isdigit():
        return None
    words = re.findall(r"[^\W\d_]+", value)
    if not digit and (not words or all(is_common_word(w) for w in words)):
        return None
    return len(value)


def _attribute(part: str, *, strict: bool) -> int | None:
    if strict:
        return None
    match = _ATTRIBUTE_VALUE.match(part)
    stop = _SENTENCE_END.search(part)
    return min(match.end(), stop.start() if stop else len(part)) if match else None
