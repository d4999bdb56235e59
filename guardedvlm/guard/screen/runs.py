"""The letters and digits of a text in one run: neither case nor what stands between them changes a comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from guardedvlm.guard.screen.normal import fold

_DECIMALS = re.compile(r"[.,]\d{1,3}(?!\d)")
_THOUSANDS = re.compile(r"\d[.,]\Z")


@dataclass(frozen=True, slots=True)
class Run:
    """Letters and digits of a text, folded, in one run; character i comes from character `origin[i]` of the text."""

    run: str = field(repr=False)
    origin: tuple[int, ...] = field(repr=False)
    starts: frozenset[int]  # positions in `run` at which a word starts
    ends: frozenset[int]  # positions in `run` at which a word has ended

    @classmethod
    def of(cls, text: str) -> Run:
        """The run of a normalised text."""
        run: list[str] = []
        origin: list[int] = []
        starts: set[int] = set()
        ends: set[int] = set()
        previous = ""
        for index, character in enumerate(text):
            # A letter beside a digit is a border: "MRN12345" is two words.
            sort = "digit" if character.isdigit() else "letter" if character.isalnum() else ""
            if sort != previous:
                ends.add(len(origin))
                starts.add(len(origin))
            previous = sort
            for folded in fold(character) if sort else "":
                run.append(folded)
                origin.append(index)
        ends.add(len(origin))
        return cls("".join(run), tuple(origin), frozenset(starts), frozenset(ends))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The range of the text that positions [start, end) of the run come from."""
        return self.origin[start], self.origin[end - 1] + 1

    def words(self, pattern: str) -> Iterator[int]:
        """Where `pattern` stands from the start of a word to the end of a word."""
        at = self.run.find(pattern) if pattern else -1
        while at >= 0:
            if at in self.starts and at + len(pattern) in self.ends:
                yield at
            at = self.run.find(pattern, at + 1)


def is_part_of_a_number(text: str, start: int, end: int) -> bool:
    """Whether digits [start, end) of a text are a part of "45.00" or of "1,234.50"."""
    return bool(_DECIMALS.match(text, end) or _THOUSANDS.search(text[max(0, start - 4) : start]))
