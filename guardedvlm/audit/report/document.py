"""A document as its parts: what `write` makes and `html` and `pdf` draw, so that both say the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from guardedvlm.audit.report.charts import Chart


@dataclass(frozen=True, slots=True)
class Code:
    """A digest or a command, in type of one width."""

    text: str


@dataclass(frozen=True, slots=True)
class Links:
    """Where to look: sections by their ids."""

    to: tuple[str, ...]


Cell: TypeAlias = str | Code | Links


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """What the reader may type to check alone."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. `numbers` are columns of figures; `widths` are shares of the page.

    Raises ValueError when a row does not fit.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    widths: tuple[float, ...]
    numbers: frozenset[int] = frozenset()
    title: str = ""

    def __post_init__(self) -> None:
        if {len(self.head), len(self.widths), *map(len, self.rows)} != {len(self.head)}:
            raise ValueError("a row has as many cells as the head")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart and what it shows."""

    chart: Chart
    caption: str


Block: TypeAlias = Paragraph | Command | Points | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part. `id` is what links name."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole: a cover with facts, then sections in order."""

    title: str
    subtitle: str
    verdict: str  # one sentence on the integrity of what it rests on
    is_sound: bool
    cover: tuple[tuple[str, Cell], ...]
    check: tuple[str, ...]  # commands
    sections: tuple[Section, ...] = field(default=())

    def number(self, section: str) -> int:
        """The number of a section, from 1. Raises ValueError for an unknown id."""
        return [one.id for one in self.sections].index(section) + 1
