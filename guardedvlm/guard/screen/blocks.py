"""Blocks of a text that arrives in pieces: what `release: token` examines and holds back instead of sentences.

A block ends at the first space behind BLOCK characters, wherever sentences end; a cut, once made, holds whatever
follows. Two neighbouring blocks are examined together, so that a match of up to BLOCK characters is decided before any
of it leaves.
"""

from __future__ import annotations

import re

BLOCK = 96
"""Characters. An IBAN in groups has 42, an e-mail address with a long name about 60, a card number in words 100."""
_CUT = re.compile(rf"(?s:.{{{BLOCK}}})\S*+\s++(?=\S)")
"""Possessive: one pass over the text, whatever a model writes."""


class Blocks:
    """Cuts a growing text into blocks, whose concatenation is the text."""

    def __init__(self) -> None:
        self._open = ""

    @property
    def longest_pending(self) -> int:
        """Length of what is held, in characters."""
        return len(self._open)

    def feed(self, piece: str) -> list[str]:
        """Add `piece`; the blocks that it closed, in order."""
        self._open += piece
        done: list[str] = []
        while len(self._open) > BLOCK and (cut := _CUT.match(self._open)):
            done.append(cut[0])
            self._open = self._open[cut.end() :]
        return done

    def flush(self) -> list[str]:
        """The text has ended: what is held."""
        done, self._open = [self._open] if self._open else [], ""
        return done
