"""What a question asks for: an intent, the type of the value that it expects, and the words that name the thing.

Words decide first. Paraphrases that no word decides go to the intent of the most similar example in the embedding
space; questions for a named field have examples too, so that "What is the policy number?" is not taken for another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from guardedvlm.inference.reader.vocabulary import (
    ADDRESS_WORDS,
    DATE_WORDS,
    DOCUMENT,
    ITEM_WORDS,
    STOP,
    SUBJECT,
    TOTAL_WORDS,
)
from guardedvlm.inference.reader.wording import spelled_out
from guardedvlm.reading.embedding import Vectors


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    def vectors(self, texts: list[str]) -> Vectors:
        """One unit vector a text."""
        ...


class Intent(StrEnum):
    """Kinds of questions that the reader tells apart."""

    TOTAL = "total"
    ISSUED = "issued"
    ISSUER = "issuer"
    KIND = "kind"
    SUMMARY = "summary"
    TRANSCRIPT = "transcript"
    ITEMS = "items"
    COUNT = "count"
    SECTION = "section"
    ADDRESS = "address"
    MENTION = "mention"
    VISUAL = "visual"
    FIELD = "field"


class Expected(StrEnum):
    """Types of values."""

    AMOUNT = "amount"
    DATE = "date"
    NUMBER = "number"
    NAME = "name"
    ANY = "any"


EXAMPLES: dict[Intent, tuple[str, ...]] = {
    Intent.TOTAL: (
        "What is the total?",
        "What is the total amount?",
        "How much was paid in all?",
        "How much did the customer pay altogether?",
        "What did it cost in the end?",
        "How much money was spent?",
        "What is the final amount to pay?",
        "How much is the bill?",
        "What is the grand total of this receipt?",
        "What sum is due?",
        "How expensive was the purchase?",
    ),
    Intent.ISSUED: (
        "What is the date of this receipt?",
        "When was it issued?",
        "On which day was this purchase made?",
        "When did the transaction take place?",
        "What is the date on the document?",
        "When was this printed?",
        "What day is shown?",
    ),
    Intent.ISSUER: (
        "Which shop issued this receipt?",
        "What is the name of the company?",
        "Who is the seller?",
        "Where was this bought?",
        "Which store is it from?",
        "What is the name of the bank?",
    ),
    Intent.KIND: (
        "What kind of document is this?",
        "What type of paper is shown?",
        "What is this?",
        "Is this a receipt or an invoice?",
        "Classify this document.",
        "What am I looking at?",
    ),
    Intent.SUMMARY: (
        "Summarise this document.",
        "Give me a short summary.",
        "What is this document about?",
        "Describe this document.",
        "What are the key points?",
        "Tell me what is on this page.",
    ),
    Intent.TRANSCRIPT: (
        "Read the text.",
        "Transcribe the page.",
        "What does it say?",
        "What text is visible?",
        "Write down everything that is printed.",
    ),
    Intent.ITEMS: (
        "List the items.",
        "What was bought?",
        "Which products are on the receipt?",
        "What did they order?",
        "List all transactions.",
        "Show the line items with their prices.",
    ),
    Intent.VISUAL: (
        "What colour is the background?",
        "Is the person smiling?",
        "How many people are in the photo?",
        "What is in the background?",
        "Is there a signature or a stamp?",
        "Describe the picture of the person.",
        "What does the X-ray look like?",
        "Does the image show a fracture?",
    ),
    Intent.FIELD: (
        "What is the invoice number?",
        "What is the patient's date of birth?",
        "What is the closing balance?",
        "How much tax was charged?",
        "How much change was given?",
        "How much cash was handed over?",
        "What is the diagnosis?",
        "Which medication was prescribed?",
        "When is the payment due?",
        "Who is the cashier?",
        "What is the account number?",
        "What is the telephone number?",
        "What is the tax rate?",
        "What was the opening balance?",
        "What time was it?",
    ),
}
MIN_SIMILARITY = 0.55
"""Cosine from which an example counts; unrelated questions of this model's space lie below 0.45 of one another."""


PHRASE_WORDS = 8
"""A longer wording is not repeated in the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question taken apart. `topic` are the stems that name what is asked for; `phrase` is its wording."""

    text: str = field(repr=False)
    intent: Intent
    expected: Expected
    topic: tuple[str, ...] = field(repr=False)
    phrase: str = field(repr=False)


_WITH_TAX = re.compile(
    r"\b(?:including|included|inclusive of|incl\.?|with|after)\s+(?:the\s+|all\s+)?(?:gst|tax(?:es)?|vat|rounding)\b",
    re.IGNORECASE,
)
"""A total with its tax is the total; a question for the tax alone does not say "including"."""


class Understanding:
    """Takes questions apart; holds the vectors of the examples."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._intents = [intent for intent, examples in EXAMPLES.items() for _ in examples]
        self._examples = embedder.vectors([example for examples in EXAMPLES.values() for example in examples])

    def of(self, text: str) -> Question:
        """Take `text` apart. Never raises: what it does not understand is a question for a field."""
        lowered = text.lower().strip()
        topic = tuple(word for word in spelled_out(_WITH_TAX.sub("", text)) if word not in STOP)
        expected = _expected(lowered)
        intent = by_words(lowered, topic, expected) or self._by_example(text, topic, expected)
        return Question(text, intent, expected, topic, _phrase(text))

    def _by_example(self, text: str, topic: tuple[str, ...], expected: Expected) -> Intent:
        similarity = self._examples @ self._embedder.vectors([text])[0]
        best = int(np.argmax(similarity))
        if similarity[best] < MIN_SIMILARITY:
            return Intent.FIELD
        if expected is Expected.ANY and topic and SUBJECT.issuperset(topic):
            return Intent.FIELD  # "what is the customer?", as the property of a schema is asked for
        intent = self._intents[best]
        # A word that names something else outweighs the likeness: "the total of the deposits" is not the page's total.
        if intent is Intent.TOTAL and (named(topic, TOTAL_WORDS) or expected not in (Expected.AMOUNT, Expected.ANY)):
            return Intent.FIELD
        if intent is Intent.ISSUED and (named(topic, DATE_WORDS) or expected not in (Expected.DATE, Expected.ANY)):
            return Intent.FIELD
        return intent


def named(topic: tuple[str, ...], usual: frozenset[str]) -> tuple[str, ...]:
    """Words of `topic` that are neither usual for an intent nor a name of the document."""
    return tuple(word for word in topic if word not in usual and word not in DOCUMENT)


_EXPECTED = (
    (Expected.DATE, r"\b(when|dates?|which day|what day|on what day)\b"),
    (Expected.AMOUNT, r"\b(how much|amounts?|totals?|balances?|price|cost|fee|sum|paid|charges?|spent|pay)\b"),
    (Expected.NUMBER, r"\b(how many|numbers?|no\.|codes?|ids?|age|percentage|rate|phone|telephone|fax|mrn)\b"),
    (Expected.NAME, r"\b(who|whose|name|named)\b"),
)


def _expected(lowered: str) -> Expected:
    for expected, pattern in _EXPECTED:
        if re.search(pattern, lowered):
            return expected
    return Expected.ANY


_INTENTS = (
    (Intent.KIND, r"\b(what|which) (kind|type|sort) of (document|paper|form|page|image|picture|file|thing)\b"),
    (Intent.KIND, r"^what('s| is) this( document| page| picture| image)?\s*\??$"),
    (Intent.SUMMARY, r"\b(summari[sz]e|summary|overview|key points|gist)\b"),
    (Intent.TRANSCRIPT, r"\b(transcribe|transcript|ocr|read (out|the text|the page|it|everything)|all the text)\b"),
    (Intent.TRANSCRIPT, r"^what does (it|this|the \w+) say\s*\??$|^what (text|words) (is|are) (visible|on)"),
    (Intent.VISUAL, r"\b(colou?rs?|smil\w+|wearing|background|look(s|ing)? like|hair|eyes?|facial|gender|emotions?)\b"),
)
_LISTED = re.compile(
    r"^(list|enumerate|name)\b|^(what|which) (are|were) the\b"
    r"|\b(which|what) \w+( \w+)? (are|were|is) (listed|mentioned|noted|reported|stated|documented|recorded|described)\b"
)
_YES_NO = re.compile(r"^(is|are|was|were|does|do|did|has|have|can (?!you|i)|could (?!you|i))\b")


def by_words(lowered: str, topic: tuple[str, ...], expected: Expected) -> Intent | None:
    """The intent that the wording alone makes plain, or None."""
    for intent, pattern in _INTENTS:
        if re.search(pattern, lowered):
            return intent
    if re.search(r"\bhow many\b|\bnumber of\b|\bcount\b", lowered):
        return Intent.COUNT
    if _LISTED.search(lowered) and expected in (Expected.ANY, Expected.NAME, Expected.NUMBER):
        return Intent.ITEMS if ITEM_WORDS & set(topic) else Intent.SECTION
    if _YES_NO.search(lowered) and " or " not in lowered:
        return Intent.MENTION
    if "address" in topic and not named(topic, ADDRESS_WORDS):
        return Intent.ADDRESS
    if expected is Expected.DATE and not named(topic, DATE_WORDS):
        return Intent.ISSUED
    if expected is Expected.AMOUNT and not named(topic, TOTAL_WORDS):
        return Intent.TOTAL
    return None


_ASKED = re.compile(
    r"^(?:and |so |please |(?:can you )?tell me )*(?:what|which|who|how much)(?:'s| is| are| was| were) "
)
_TAIL = re.compile(
    r"\s*(?:\b(?:shown|printed|listed|stated|written|given|mentioned|on it)\b)?"
    r"\s*(?:\b(?:on|in|of|from|for) (?:this|the) (?:receipt|document|page|picture|image|form|paper|scan|bill|invoice"
    r"|statement|photo|file|card|report))?\s*[?.!]*\s*$",
    re.IGNORECASE,
)


def _phrase(text: str) -> str:
    """What is asked for, in the asker's words: "the closing balance". Empty when the question has another form."""
    match = _ASKED.match(text.lower().strip())
    if match is None:
        return ""
    rest = _TAIL.sub("", text.strip()[match.end() :])
    words = rest.lower().split()
    dangling = not words or words[-1] in ("from", "for", "of", "with", "in", "on", "to", "by", "at", "about")
    return "" if dangling or len(words) > PHRASE_WORDS else rest
