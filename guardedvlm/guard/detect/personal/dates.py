"""Recognisers of dates finer than a year and of ages (45 CFR 164.514(b)(2)(i)(C)); en, de, fr, es, it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View

_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december|"
    "jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec|"
    "januar|jaenner|janner|februar|marz|maerz|mai|juni|juli|oktober|dezember|mrz|okt|dez|"
    "janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|novembre|decembre|janv|fevr|fev|avr|juil|"
    "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|setiembre|octubre|noviembre|diciembre|ene|abr|ago|dic|"
    "gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre|gen|mag|giu|lug|set|ott"
)
_MONTH = rf"(?:{_MONTHS})\b\.?(?: ?/ ?(?:{_MONTHS})\b\.?)?"
"""A month, or a bilingual one as passports have it ("MÄR/MAR")."""
_WEEKDAYS = (
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|mon|tues|tue|weds|wed|thurs|thur|thu|fri|sat|sun|"
    "montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag|mo|di|mi|do|fr|sa|so|"
    "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lun|mar|mer|jeu|ven|sam|dim|"
    "lunes|martes|miercoles|jueves|viernes|sabado|domingo|mie|jue|vie|sab|dom|"
    "lunedi|martedi|mercoledi|giovedi|venerdi|gio"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:(?:1[89]|20|21)\d\d|'?\d\d)"
_LONG_YEAR = r"(?:1[89]|20|21)\d\d"
_SEPARATOR = r" ?[-./,] ?"
_TIME = r"(?:[ T,]{0,2}\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\.\d+)? ?(?:[AaPp]\.?[Mm]\.?|Z|Uhr|[+-]\d{2}:?\d{2})?)?"
_ANY_MONTH = r"(?:0?[1-9]|1[0-2])"

_DATE = re.compile(
    rf"(?<![\w.,/-])(?:(?:{_WEEKDAYS})\b[.,]{{0,2}} ?)?(?:"
    rf"{_LONG_YEAR}{_SEPARATOR}{_ANY_MONTH}{_SEPARATOR}{_DAY}(?!\d){_TIME}"
    rf"|(?:{_DAY}{_SEPARATOR}{_ANY_MONTH}|{_ANY_MONTH}{_SEPARATOR}{_DAY}){_SEPARATOR}{_LONG_YEAR}"
    rf"(?:(?!\d){_TIME}|[0-2]\d:[0-5]\d(?::[0-5]\d)?)"  # OCR drops the space: "09/02/201811:40"
    rf"|(?:{_DAY}([-./]){_ANY_MONTH}\1|{_ANY_MONTH}([-./]){_DAY}\2)\d\d(?![\d])(?![-./]\d){_TIME}"
    rf"|(?:{_DAY} {_ANY_MONTH}|{_ANY_MONTH} {_DAY}) (?:19|20)\d\d(?!\d)"
    rf"|{_DAY}(?:st|nd|rd|th|er|º|\.)?[ ,.-]{{0,2}}(?:of |de |del )?{_MONTH}"
    rf"(?:[ ,.-]{{0,3}}(?:de |del |of )?{_YEAR}\b)?{_TIME}"
    rf"|{_DAY}(?:{_MONTHS}){_LONG_YEAR}\b"  # "03APR2024"
    rf"|(?<![^\W\d_]){_MONTH}[ ,./-]{{0,2}}{_DAY}(?:st|nd|rd|th)?\b(?:[ ,./-]{{1,3}}{_YEAR}\b)?{_TIME}"
    rf"|(?<![^\W\d_]){_MONTH}[ ,.-]{{0,3}}(?:de |of )?{_LONG_YEAR}\b"
    rf"|(?:0[1-9]|1[0-2])[-./](?:19|20)\d\d(?![\d./-])"
    rf"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T ]?\d{{6}})?(?!\d)"
    rf")",
    re.IGNORECASE,
)
_AMBIGUOUS = re.compile(r"(?i)(?:mar|may|mai|set|gen|mag|dec|dic|sep|ago|mars)\.?\s?\d{1,2}\Z")
"""A short month-like word with a bare number after it ("set 5", "may 2") is no date in running text."""
_LEADING_DAY = re.compile(r"\d{1,2}(?:st|nd|rd|th|er|º|\.)?\s(?:may|set|gen|mag|ago|mars|mai)\Z", re.IGNORECASE)


_DIGIT = re.compile(r"\d")
"""Every date and age has one; a look for it is cheaper than the patterns."""
_NAME = re.compile(rf"(?:{_MONTHS}|{_WEEKDAYS})", re.IGNORECASE)


def is_part_of_a_date(word: str) -> bool:
    """Whether a word is the name of a month or of a day of the week."""
    return _NAME.fullmatch(_without_accents(word.strip(" .,"))) is not None


def _without_accents(text: str) -> str:
    """`text` with accents taken off, the same length."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFD", c)[0] for c in text)


def dates(view: View) -> Iterator[Span]:
    """Dates with at least a month and a day or a year beside it; a lone year is none."""
    if not _DIGIT.search(view.text):
        return
    for match in _DATE.finditer(_without_accents(view.text)):
        text = match[0].rstrip(" ,.-T")
        if not (_AMBIGUOUS.fullmatch(text) or _LEADING_DAY.fullmatch(text)) or any(map(str.isupper, text)):
            yield view.span(match.start(), match.start() + len(text), Kind.DATE, 0.8, "pattern/date")


_UNIT = r"(?:years?|yrs?|yr|months?|weeks?|days?|jahre?|jahrige?|ans?|anos?)"
_AGE = re.compile(
    rf"\b(?P<a>\d{{1,3}})[ -]{{0,2}}(?:{_UNIT})[ -]{{0,2}}(?:old|alt|of age|d'age|de edad)\b"
    rf"|\b(?P<b>\d{{1,3}})[ -]?(?:y\.?/?o\.?|yo|y/?o|yom|yof)\b"
    r"|\b(?:aged|age of|turn(?:ed|s)?|im alter von|alter|age is|age|agee? de|edad de)[ :]{1,2}(?:about )?"
    r"(?P<c>\d{1,3})\b(?! ?[%$€.,/-]\d)"
    rf"|\b(?P<d>\d{{1,3}})[ -]?(?:jahrige[rns]?|jahre|year-old|years-old|ans|anos)\b"
    r"|\b(?:i am|i'm|he is|she is|he's|she's|who is) (?P<e>\d{1,3})\b"
    r"(?! ?[%$€.,/:\w]| (?!and\b|years?\b|or\b|but\b))"
    # Nobody says "96 years" of anything but a person; DICOM writes "096Y".
    r"|\b(?P<f>(?:9\d|1[0-2]\d)(?=[ -]?(?:years?|yrs?)\b)|[01]\d\d(?=[YMWD]\b))",
    re.IGNORECASE,
)
OLDEST = 130
"""A larger number before "years" is no age."""


def ages(view: View) -> Iterator[Span]:
    """Ages told as ages; that of a person over 89 is an identifier by itself."""
    if not _DIGIT.search(view.text):
        return
    for match in _AGE.finditer(_without_accents(view.text)):
        name, number = next((key, value) for key, value in match.groupdict().items() if value)
        if int(number) <= OLDEST:
            yield view.span(match.start(name), match.end(), Kind.AGE, 0.8, "pattern/age")
