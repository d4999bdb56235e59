"""Compare printed labels with words: OCR joins words and misreads letters, forms abbreviate.

Labels are compared without spaces and with one wrong letter forgiven in words of six letters or more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from guardedvlm.inference.reader.values import letters, words

ABBREVIATIONS: Mapping[str, str] = {
    "acc": "account",
    "acct": "account",
    "addr": "address",
    "amt": "amount",
    "bal": "balance",
    "chq": "cheque",
    "check": "cheque",
    "cust": "customer",
    "descr": "description",
    "desc": "description",
    "dob": "date of birth",
    "dt": "date",
    "dx": "diagnosis",
    "id": "identifier",
    "inv": "invoice",
    "mrn": "medical record number",
    "no": "number",
    "nr": "number",
    "num": "number",
    "pt": "patient",
    "qty": "quantity",
    "ref": "reference",
    "rx": "prescription",
    "tel": "telephone",
    "txn": "transaction",
}
"""What forms print for what people ask. Closed: an abbreviation that is not here is compared as it stands."""

SYNONYMS: Mapping[str, str] = {
    "beginning": "opening",
    "condition": "diagnosis",
    "disease": "diagnosis",
    "doctor": "physician",
    "drug": "medication",
    "ending": "closing",
    "final": "closing",
    "forename": "given name",
    "illness": "diagnosis",
    "initial": "opening",
    "medicine": "medication",
    "mobile": "telephone",
    "phone": "telephone",
    "provider": "physician",
    "starting": "opening",
    "suffering": "diagnosis",
    "vat": "tax",
}
"""What people say for what forms print, where the sentence model is too unsure or takes opposites for alike."""
_PAYEE = re.compile(r"\bpay(?: to)?(?: the)?(?: order of)\b|\bpay to\b", re.IGNORECASE)
"""A cheque's own words for its payee."""

AKIN_LETTERS, AKIN_SHARE = 5, 0.7
"""Words are forms of one when they begin with this many common letters, and this share of the longer one."""
FORGIVEN_FROM = 6
"""Words of this many letters may differ in one: "rourding" is rounding, while "cash" and "cast" stay apart."""


def stem(word: str) -> str:
    """A word without possessive and plural ending: enough for labels, where little else is inflected."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "is", "us")):
        return word[:-1]
    return word


@lru_cache(maxsize=4096)
def spelled_out(text: str) -> tuple[str, ...]:
    """Stems of a label's or a question's words, abbreviations written out, single letters left out."""
    named = _PAYEE.sub("payee", text.replace("'s", "").replace("’s", ""))
    plain = [word for word in words(named) if len(word) > 1 or word.isdigit()]
    full = " ".join(ABBREVIATIONS.get(word, SYNONYMS.get(word, word)) for word in plain)
    return tuple(stem(word) for word in full.split())


def akin(word: str, other: str) -> bool:
    """True for equal stems and for forms of one word: "smoke" and "smoker", "allergic" and "allergy"."""
    if word == other:
        return True
    common = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    return common >= AKIN_LETTERS and common >= AKIN_SHARE * max(len(word), len(other))


def mentions(label: str, *phrases: str) -> bool:
    """True when `label` contains one of `phrases` (lower-case letters only), spaces ignored, one letter forgiven."""
    squeezed = _folded(label.casefold())
    return any(contains(squeezed, _folded(phrase)) for phrase in phrases)


@lru_cache(maxsize=8192)
def _folded(text: str) -> str:
    """Letters of `text` with those made one that recognisers confuse: 0 and o; 1, l and i."""
    return letters(text.replace("0", "o").replace("1", "l")).replace("l", "i")


@lru_cache(maxsize=65536)
def contains(squeezed: str, phrase: str) -> bool:
    """True when `phrase` is a part of `squeezed`; in a phrase of FORGIVEN_FROM letters one may be wrong or missing."""
    if phrase in squeezed:
        return True
    if len(phrase) < FORGIVEN_FROM:
        return False
    lengths = (len(phrase) - 1, len(phrase), len(phrase) + 1)
    windows = (squeezed[i : i + n] for n in lengths for i in range(len(squeezed) - n + 1))
    return any(_one_edit(window, phrase) for window in windows)


def _one_edit(left: str, right: str) -> bool:
    """True when one replaced, missing or extra letter makes them equal. The ends must agree, or a window would slip."""
    if left[:1] != right[:1] or left[-1:] != right[-1:]:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    if len(left) == len(right):
        return left[start + 1 :] == right[start + 1 :]
    longer, shorter = (left, right) if len(left) > len(right) else (right, left)
    return longer[start + 1 :] == shorter[start:]
