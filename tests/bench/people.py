"""The labelled sentences about people: `tests/guard/screen/people.txt`, whose head explains the format."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.policy.model import Topic

FILE = Path(__file__).parents[1] / "guard" / "screen" / "people.txt"
TUNING, HELD_OUT = "tuning", "held-out"
_HEAD = re.compile(r"\[(.+?)\s*\|\s*([\w-]+)\s*\|\s*([qa])\s*\|\s*(en|de|fr|es)\]")
ALLOWED = "allowed near "


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, the topics that it is about, and those that count neither way."""

    text: str
    topics: frozenset[Topic]
    optional: frozenset[Topic]
    near: Topic | None  # of an allowed sentence: the rule that it is a hard negative of
    theme: str
    side: str
    language: str

    @property
    def half(self) -> str:
        """TUNING or HELD_OUT, by a hash of the theme alone."""
        return HELD_OUT if hashlib.sha256(self.theme.encode()).digest()[0] & 1 else TUNING


def sentences(file: Path = FILE) -> list[Sentence]:
    """Every labelled sentence of a file, in its order. Raises ValueError for a line before the first head."""
    found: list[Sentence] = []
    head: re.Match[str] | None = None
    for line in map(str.strip, file.read_text(encoding="utf-8").splitlines()):
        if not line or line.startswith("#"):
            continue
        if match := _HEAD.fullmatch(line):
            head = match
        elif head is None:
            raise ValueError("no head stands above the first sentence")
        else:
            found.append(_sentence(line, *head.groups()))
    return found


def _sentence(text: str, topics: str, theme: str, side: str, language: str) -> Sentence:
    if topics.startswith(ALLOWED):
        near = Topic(topics.removeprefix(ALLOWED))
        return Sentence(text, frozenset(), frozenset(), near, theme, side, language)
    names = topics.split("+")
    about = frozenset(Topic(name) for name in names if not name.startswith("~"))
    optional = frozenset(Topic(name[1:]) for name in names if name.startswith("~"))
    return Sentence(text, about, optional, None, theme, side, language)
