"""Closed sentences of a text that arrives in pieces; a cut, once made, holds whatever follows.

A sentence ends at a line break or at . ! ? … with closing quotes, in both cases only when the next visible character
has come, because that character decides. "1,234.50", "Dr. Roe", "e.g. this", "p.m. and" and a list number end nothing.
A piece without a letter ("1111.") belongs to the sentence before it: numbers spelled in pieces stay together.
"""

from __future__ import annotations

import re

_END = re.compile(
    # Possessive and anchored at the first space of a run: linear in the text, whatever a model writes.
    r"(?:(?P<stop>[.!?…])[\"'”’»)\]*_]{0,4}+|(?<!\s))(?P<space>\s++)(?=(?P<next>\S))"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'/])(?:[A-Za-z]|(?:[A-Za-z]\.){1,4}[A-Za-z]|mr|mrs|ms|dr|prof|rev|hon|st|ave|blvd|rd|ln|apt|ste|fl|dept|no|nos|nr|"
    r"inc|ltd|co|corp|bros|jr|sr|vs|etc|approx|est|tel|ext|fax|acct|amt|ref|fig|vol|art|par|sec|al|cf|ca|resp|bzw|usw|ggf|"
    r"str|tägl|mme|mlle|sra|dra|av|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)\Z",
    re.IGNORECASE,
)
LONGEST_ABBREVIATION = 16
"""Characters before a full stop that are looked at; longer than any abbreviation of the list."""
_LIST_NUMBER = re.compile(r"\s*\(?\d{1,3}\Z")


class Sentences:
    """Cuts a growing text into closed sentences, whose concatenation is the text."""

    def __init__(self) -> None:
        self._closed = ""  # a sentence whose end is certain, unless a piece without a letter follows
        self._open = ""

    @property
    def longest_pending(self) -> int:
        """Length of the longer of the two pieces that are held, in characters."""
        return max(len(self._closed), len(self._open))

    def feed(self, piece: str) -> list[str]:
        """Add `piece`; the sentences that it closed, in order."""
        self._open += piece
        done: list[str] = []
        while (cut := _first_cut(self._open)) is not None:
            self._shift(self._open[:cut], done)
            self._open = self._open[cut:]
        if self._closed and _has_letter(self._open):
            done.append(self._closed)
            self._closed = ""
        return done

    def flush(self) -> list[str]:
        """The text has ended: what is held, as its last sentences."""
        done: list[str] = []
        if self._open:
            self._shift(self._open, done)
        if self._closed:
            done.append(self._closed)
        self._closed = self._open = ""
        return done

    def _shift(self, sentence: str, done: list[str]) -> None:
        if self._closed and _has_letter(sentence):
            done.append(self._closed)
            self._closed = sentence
        else:
            self._closed += sentence


def split(text: str) -> list[str]:
    """The sentences of a whole text."""
    sentences = Sentences()
    return [*sentences.feed(text), *sentences.flush()]


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _first_cut(text: str) -> int | None:
    for end in _END.finditer(text):
        if "\n" in end["space"] or (end["stop"] and _ends_sentence(text[: end.start()], end["stop"], end["next"])):
            return end.end()
    return None


def _ends_sentence(before: str, stop: str, following: str) -> bool:
    if following.islower():
        return False
    return stop != "." or not (_ABBREVIATION.search(before[-LONGEST_ABBREVIATION:]) or _LIST_NUMBER.match(before))
