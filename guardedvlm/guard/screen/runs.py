"""The letters and digits of a text in one run: neither case nor what stands between them changes a comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from guardedvlm.guard.screen.normal import fold
from guardedvlm.guard.screen.spelled import Spelled, spelled

_DECIMALS = re.compile(r"[.,]\d{1,3}(?!\d)")
_ASCII_WORD = re.compile(r"[0-9]+|[A-Za-z]+")
_THOUSANDS = re.compile(r"\d[.,]\Z")


@dataclass(frozen=True, slots=True)
class Run:
    """Letters and digits of a text, folded, in one run; character i stands for characters `sources[i]` of the text."""

    run: str = field(repr=False)
    sources: tuple[tuple[int, int], ...] = field(repr=False)
    starts: frozenset[int]  # positions in `run` at which a word starts
    ends: frozenset[int]  # positions in `run` at which a word has ended

    @classmethod
    def of(cls, text: str) -> Run:
        """The run of a normalised text."""
        if text.isascii():
            return cls._of_ascii(text)
        return cls._of((character, (index, index + 1)) for index, character in enumerate(text))

    @classmethod
    def with_digits(cls, text: str) -> Run | None:
        """The run of a normalised text with digits for the words that spell them; None where none do."""
        numbers = list(spelled(text))
        return cls._of(_respelled(text, numbers)) if numbers else None

    @classmethod
    def _of_ascii(cls, text: str) -> Run:
        """The same as `_of`, a word at a time."""
        words: list[str] = []
        sources: list[tuple[int, int]] = []
        borders = [0]
        for word in _ASCII_WORD.finditer(text):
            words.append(word[0])
            sources += [(at, at + 1) for at in range(*word.span())]
            borders.append(len(sources))
        ends = frozenset(borders)
        # Where the last word ends the text, no other one starts there.
        starts = ends - {len(sources)} if not words or text[-1].isalnum() else ends
        return cls("".join(words).lower(), tuple(sources), starts, ends)

    @classmethod
    def _of(cls, characters: Iterator[tuple[str, tuple[int, int]]]) -> Run:
        run: list[str] = []
        sources: list[tuple[int, int]] = []
        starts: set[int] = set()
        ends: set[int] = set()
        previous = ""
        for character, source in characters:
            # A letter beside a digit is a border: "MRN12345" is two words.
            sort = "digit" if character.isdigit() else "letter" if character.isalnum() else ""
            if sort != previous:
                ends.add(len(sources))
                starts.add(len(sources))
            previous = sort
            if sort:
                folded = character.lower() if character.isascii() else fold(character)
                run += folded
                sources += [source] * len(folded)
        ends.add(len(sources))
        return cls("".join(run), tuple(sources), frozenset(starts), frozenset(ends))

    def reversed(self) -> Run:
        """The run read from its end."""
        size = len(self.run)
        starts, ends = (frozenset(size - place for place in places) for places in (self.ends, self.starts))
        return Run(self.run[::-1], self.sources[::-1], starts, ends)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The range of the text that positions [start, end) of the run, not empty, come from."""
        first, last = self.sources[start], self.sources[end - 1]
        return min(first[0], last[0]), max(first[1], last[1])

    def words(self, pattern: str) -> Iterator[int]:
        """Where `pattern` stands from the start of a word to the end of a word."""
        at = self.run.find(pattern) if pattern else -1
        while at >= 0:
            if at in self.starts and at + len(pattern) in self.ends:
                yield at
            at = self.run.find(pattern, at + 1)


def _respelled(text: str, numbers: list[Spelled]) -> Iterator[tuple[str, tuple[int, int]]]:
    cursor = 0
    for number in numbers:
        yield from ((text[at], (at, at + 1)) for at in range(cursor, number.start))
        yield from zip(number.digits, number.origin, strict=True)
        cursor = number.end
    yield from ((text[at], (at, at + 1)) for at in range(cursor, len(text)))


def is_part_of_a_number(text: str, start: int, end: int) -> bool:
    """Whether digits [start, end) of a text are a part of "45.00" or of "1,234.50"."""
    return bool(_DECIMALS.match(text, end) or _THOUSANDS.search(text[max(0, start - 4) : start]))
