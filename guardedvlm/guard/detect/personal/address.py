"""Recognisers of postal addresses: street and number, postal codes, P.O. boxes; US, UK, DE, FR, ES, MY and others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View

_CAPITAL = r"(?-i:[A-ZÀ-Ž])"
_NUMBER = r"\d{1,6}(?: ?[-/&] ?\d{1,5})?[A-Za-z]?"
_SOME_WORDS = r"(?:[\w'.-]{1,30} ){1,4}?"
"""One to four words, as few as possible. Every repetition here is bounded: the search stays linear."""

_US_STREET = (
    r"(?:street|st|avenue|ave|av|road|rd|boulevard|blvd|drive|dr|lane|ln|court|ct|place|pl|square|sq|terrace|ter|"
    r"circle|cir|highway|hwy|parkway|pkwy|way|trail|trl|crescent|cres|close|mews|gardens|grove|row|walk|alley|plaza|"
    r"loop|run|pike|route|streets|green|hill|park|common|quay|wharf|broadway|freeway|expressway|turnpike|crossing|"
    r"landing|glen|ridge)"
)
_ROOM = r"(?:,? {1,2}(?:apt|apartment|suite|ste|unit|room|rm|floor|fl|#)\b\.? ?#?\s?[\w-]{1,6})"
_DIRECTION = r"(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.? )?"
_NORTHERN_ENDINGS = (
    r"(?:straße|strasse|strase|str\.|weg|platz|allee|gasse|ring|damm|ufer|chaussee|katu|tie|gatan|gata|vägen|vegen|vej|"
    r"gade|straat|laan|gracht|plein|utca|ulica|ulice|tänav|väg|allé)"
)
_FRENCH_WORDS = (
    r"(?:rue|avenue|av\.|boulevard|bd\.?|place|chemin|allée|allee|impasse|quai|cours|route|square|passage|villa|"
    r"faubourg)"
)
_SOUTHERN_WORDS = (
    r"(?:calle|c/|avda\.?|avenida|plaza|pza\.?|paseo|p\.º|camino|ronda|carretera|ctra\.?|travesía|rúa|carrer|via|viale|"
    r"piazza|corso|rua|travessa|ul\.|ulica|str\.|strada|jalan|jln\.?|lorong|lrg\.?|persiaran|lebuh|lebuhraya|lingkaran|"
    r"tingkat|jl\.)"
)
_MALAY_WORDS = (
    r"(?:jalan|jln|lorong|taman|tmn|persiaran|lebuh|bandar|kampung|kg|kawasan|seksyen|desa|bukit|wisma|menara|plaza|pusat|"
    r"medan|lot|batu)"
)
_BOX_WORDS = (
    r"(?:p\.? ?o\.? ?box|post ?office ?box|postfach|boîte postale|b\.?p\.?(?= )|apartado(?: de correos)?|apdo\.?|"
    r"peti surat)"
)

_STREETS = (
    # 12 Main Street, Apt. 4
    rf"(?<![\w.,])(?:{_NUMBER}),? {_DIRECTION}{_SOME_WORDS}{_US_STREET}\b\.?(?: (?:N|S|E|W|NE|NW|SE|SW)\b)?{_ROOM}?",
    # Hauptstraße 12a; Puruntie 82; Keizersgracht 12
    rf"(?<!\w)(?:[\w-]{{1,30}} )?[\w-]{{0,30}}{_NORTHERN_ENDINGS}\s?,?\s?\d{{1,4}}\s?[a-zA-Z]?\b",
    # 20789 Allika 46; 808 Kálmán Imre u. 12: a number on both sides, in words with small letters
    rf"(?<![\w.,/-])\d{{3,6}} (?=[^\n\d]{{0,40}}(?-i:[a-zà-ž]))"
    rf"(?:{_CAPITAL}[\w'-]{{0,30}}(?-i:[a-zà-ž])[\w'.-]{{0,30}} |"
    r"(?-i:[A-Z])\.? |u\. |rkp\. ){1,4}\d{1,5}[a-z]?\b(?!\.\d)",
    # 12 bis, rue de la Paix
    rf"(?<![\w.,]){_NUMBER}(?: ?(?:bis|ter|quater))?,? {_FRENCH_WORDS} (?:(?:de|du|des|la|le|les|l'|d') ?){{0,3}}"
    rf"[\w'-]{{1,30}}(?: {_CAPITAL}[\w'-]{{1,30}}){{0,3}}",
    # Calle Mayor 5; Via Roma, 12; Rua do Arenque 1634; Jalan Sagu 18; ul. Dluga 5
    rf"(?<!\w){_SOUTHERN_WORDS} ?(?:[\w'.&/-]{{1,30}},? ){{0,5}}?[\w'.&/-]{{0,30}}?\d{{1,5}}(?:/\d{{1,4}})?[A-Za-z]?\b",
    # Malaysian parts without a number of their own
    rf"(?<![^\W\d_]){_MALAY_WORDS}\b\.? [\w'./&-]{{1,30}}(?: [\w'./&-]{{1,30}}){{0,4}}",
    # P.O. Box, military post, rooms
    rf"(?<!\w){_BOX_WORDS} ?:? ?\d[\d ]{{0,8}}\d?",
    r"(?<!\w)(?:psc|cmr|unit) \d{3,5},? box \d{1,5}|(?<!\w)(?:apo|fpo|dpo) ?,? (?:aa|ae|ap) ?\d{5}",
    r"(?<!\w)(?:apt|apartment|suite|ste|lot|unit|blk|block|flat)\b\.? ?#? ?(?=[\w-]{0,7}\d)[\w-]{1,8}",
    r"(?<!\w)no\.? ?\d{1,5}[A-Za-z]?(?: ?[,&-] ?\d{1,5}){0,6}, ?(?=[A-Za-z])[^\n,]{3,40}",
)
_STATE = (
    r"A[KLRZAEP]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI|S[CD]|T[NX]|UT|"
    r"V[AIT]|W[AIVY]"
)
_TOWN = r"[A-ZÀ-Þ][A-Za-zÀ-ž'-]{2,30}(?: [A-ZÀ-Þ][A-Za-zÀ-ž'-]{1,30}){0,3}"
_POSTAL = (
    # Springfield, IL 62704-1234
    rf"(?<!\w)(?:[A-Z][\w'.-]{{0,30}} ?){{1,3}},? (?:{_STATE})\.?,? \d{{5}}(?:-\d{{4}})?\b",
    rf"\b(?:{_STATE}) \d{{5}}(?:-\d{{4}})?\b",
    rf"(?<![\w.])(?:[A-Z][a-zA-Z'.-]{{1,30}} ){{0,2}}[A-Z][a-zA-Z'.-]{{1,30}}, (?:{_STATE})\b(?!\.\w)",
    # UK, Canada, Netherlands
    r"\b[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}\b",
    r"\b[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] \d[ABCEGHJ-NPRSTV-Z]\d\b",
    r"\b[1-9]\d{3} [A-Z]{2}\b(?= [A-Z][a-z])",
    # 10115 Berlin; 81100 JOHOR BAHRU; F-75001 Paris
    rf"(?<![\w.,/-])(?:[A-Z]{{1,3}}-)?\d{{5}},? ?(?!(?:USD|EUR|GBP|RM|PCS|KG)\b){_TOWN}",
)
_ZIP_LABELLED = re.compile(
    r"\b(?:zip|zip ?code|postal ?code|postcode|plz|code postal)\b\W{0,3}(?:is |of )?"
    r"([A-Z\d][A-Z\d -]{2,9}\d[A-Z]{0,2}|\d{3,6})",
    re.IGNORECASE,
)
_FOUR_DIGIT_TOWN = re.compile(
    r"(?<![\w.,/-])(?:(?:A|CH|B|L|DK|N)-\d{4}|\d{4}(?= [A-ZÀ-Þ][a-zà-ž]{2,30}(?:,|$))) ?[A-ZÀ-Þ][A-Za-zÀ-ž'-]{2,30}",
    re.MULTILINE,
)

_PATTERNS = (
    *((re.compile(pattern, re.IGNORECASE), "pattern/street") for pattern in _STREETS),
    *((re.compile(pattern), "pattern/postal") for pattern in _POSTAL),
    (_FOUR_DIGIT_TOWN, "pattern/postal"),
)
LEAST_LETTERS = 3
"""A street name has at least three letters; less is an amount or a code."""


def addresses(view: View) -> Iterator[Span]:
    """Parts of postal addresses. Neighbouring parts come as spans of their own."""
    for pattern, name in _PATTERNS:
        for match in pattern.finditer(view.text):
            text = match[0].rstrip(" ,\n")
            if text and _plausible(text):
                start, end = _extended(view.text, match.start(), match.start() + len(text))
                yield view.span(start, end, Kind.ADDRESS, 0.7, name)
    for match in _ZIP_LABELLED.finditer(view.text):
        yield view.span(*match.span(1), Kind.ADDRESS, 0.8, "form/postal-code")


_NUMBER_BEFORE = re.compile(r"(?<![\w.,/-])\d{1,6}(?: \d{1,5})? \Z")
_TOWN_AFTER = re.compile(
    r"(?:,? {1,2}(?i:apt|suite|unit|room)\b\.? ?[\w-]{1,6}){0,3}"
    r"(?:, (?!(?i:who|and|is|the)\b)[A-ZÀ-Ž][\w'-]{1,30}(?: [A-ZÀ-Ž][\w'-]{1,30}){0,3}(?: \d{4,6}\b)?){1,3}"
)


def _extended(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) with a house number before it and a room and towns after it, on the same line."""
    before = _NUMBER_BEFORE.search(text, max(0, start - 16), start)
    after = _TOWN_AFTER.match(text, end)
    return (before.start() if before else start), (after.end() if after else end)


def _plausible(text: str) -> bool:
    letters = sum(c.isalpha() for c in text)
    return "\n" not in text.strip() and (letters >= LEAST_LETTERS or any(c.isdigit() for c in text))


MAX_BLOCK_LINES = 5
"""Lines of a postal address below its street: room, town, state, country, code."""
_BLOCK_END = re.compile(r"(?<!\d)\d{4,6}(?:-\d{3,4})?\W*$|(?<![A-Z])[A-Z]{2} \d{4,5}")


def address_blocks(view: View) -> Iterator[Span]:
    """Lines of running text between a street and the postal code some lines below, whatever towns they name."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n]+", view.text)]
    if len(lines) < 2:  # a block begins below the line of its street
        return
    streets = [(m.start(), m.end()) for p, name in _PATTERNS if name == "pattern/street" for m in p.finditer(view.text)]
    for index, (start, end) in enumerate(lines):
        if not any(s < end and start < e for s, e in streets):
            continue
        block = lines[index + 1 : index + 1 + MAX_BLOCK_LINES]
        short = [i for i, (s, e) in enumerate(block) if len(view.text[s:e].split()) > 4]
        block = block[: short[0]] if short else block
        last = max((i for i, (s, e) in enumerate(block) if _BLOCK_END.search(view.text[s:e])), default=-1)
        for s, e in block[: last + 1]:
            if view.text[s:e].strip():
                yield view.span(s, e, Kind.ADDRESS, 0.6, "pattern/address-block")
