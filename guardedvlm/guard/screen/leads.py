"""The guard's own words in an answer ("Page 2: "): put back into what is released, and never examined.

The screen sees the draft without them, as one text: a number whose pieces stand on two pages is one number to it, and
the digits of a page's number belong to none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters [start, end) of the draft that leave as `text`: their own, or what was put in their place."""

    start: int
    end: int
    text: str = field(repr=False)
    edited: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of what leaves; `start` is where it begins in the draft, None for the guard's own words and for edits."""

    text: str = field(repr=False)
    start: int | None = None
    passage: Passage | None = None  # the edit that it stands for


class Leads:
    """Words of the guard by their places in a draft, until they have left."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str]] = []

    def add(self, at: int, words: str) -> None:
        """`words` stand before character `at` of the draft; calls come in the order of the draft."""
        self._waiting.append((at, words))

    def among(self, passages: list[Passage]) -> Iterator[Segment]:
        """What leaves of passages that follow each other, with the words that belong there.

        Words within an edited passage come after it, on a line of their own: what they parted was one value.
        """
        for passage in passages:
            cursor = passage.start
            while self._waiting and self._waiting[0][0] < passage.end:
                at = self._waiting[0][0]
                if passage.edited and at > passage.start:
                    break
                words = self._waiting.pop(0)[1]
                if at < passage.start:
                    yield Segment("\n")
                else:
                    yield _part(passage, cursor, at)
                    cursor = at
                yield Segment(words)
            yield _part(passage, cursor, passage.end)


def _part(passage: Passage, start: int, end: int) -> Segment:
    """Characters [start, end) of the draft as far as they leave; of an edit, all of it or nothing."""
    if passage.edited:
        return Segment(passage.text if end == passage.end else "", passage=passage)
    return Segment(passage.text[start - passage.start : end - passage.start], start)
