"""YAML read strictly: one document of mappings, lists and plain values, and the line that each of them stands on.

A policy decides what is hidden, so its text must mean one thing. Refused: a key given twice (YAML's readers keep the
last one), a list entry given twice, tags, anchors and aliases (a kilobyte of them can stand for a gigabyte), a second
document, nesting deeper than any file of ours.

Plain scalars follow the YAML 1.2 core schema: `true`, `false`, `null`, decimal numbers; everything else is text. So
`no` is a language and `2026-11-23` is a version, not a boolean and a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import yaml

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Where: TypeAlias = tuple[str | int, ...]
"""The keys and list positions that lead to a value; () is the whole document."""

MAX_DEPTH = 16
"""Levels of nesting; our files have four. Bounds the recursion here and in every reader of the tree."""
MAX_FAULTS = 100
"""After so many faults the rest of a file is not read: it is not the file that was meant."""
SHOWN_CHARS = 40
"""Characters of a key or a word that an explanation repeats."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}([eE][-+]?[0-9]{1,2})?\Z")
# Lengths are bounded so that int() and float() neither raise nor overflow; longer numbers are text, and then refused.
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at a line (counted from 1)."""

    line: int
    explanation: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A document's value and the line of everything in it (of the key, in a mapping)."""

    value: Mapping[str, Value]
    lines: Mapping[Where, int]

    def line(self, where: Where) -> int:
        """The line of `where`, or of the nearest thing around it that exists."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def quoted(text: str) -> str:
    """A short quotation of an operator's own word: one line, nothing unprintable, never longer than SHOWN_CHARS."""
    return repr(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "...")


def read_tree(text: str) -> Tree | tuple[Fault, ...]:
    """The tree of `text`, or every fault that was found in it, by line. Raises nothing."""
    builder = _Builder(text)
    try:
        value = builder.read()
    except _Abandoned:
        return builder.faults
    except yaml.YAMLError as error:
        return (*builder.faults, _syntax_fault(error, text))
    except (ValueError, OverflowError):
        # PyYAML turns "\UFFFFFFFF" and a version directive of 5,000 digits into numbers without looking.
        return (*builder.faults, Fault(builder.line, "is not valid YAML: a number or an escape is out of range"))
    if isinstance(value, dict) and not builder.faults:
        return Tree(value, builder.lines)
    return builder.faults or (_root_fault(value, builder.lines.get((), 1)),)


class _Abandoned(Exception):
    """Reading on would serve nobody. Never leaves this file."""


class _Builder:
    """Builds values from PyYAML's events, so that nothing is composed or constructed before it was looked at."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Where, int] = {}
        self.line = 1
        self._faults: list[Fault] = []
        self._text = text
        self._events: Iterator[yaml.Event] = iter(())

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults so far, by line."""
        return tuple(sorted(self._faults, key=lambda fault: fault.line))

    def read(self) -> Value:
        """The value of the only document. Raises YAMLError, ValueError, OverflowError, _Abandoned."""
        self._events = yaml.parse(self._text, Loader=yaml.SafeLoader)
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), (), 0)
        self._next()  # the document's end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            self._fault("a second document begins; a file holds one")
        return value

    def _next(self) -> yaml.Event:
        event = next(self._events)
        assert event.start_mark is not None  # as every event has that PyYAML's parser makes
        self.line = event.start_mark.line + 1
        return event

    def _fault(self, explanation: str, line: int | None = None) -> None:
        self._faults.append(Fault(line or self.line, explanation))
        if len(self._faults) == MAX_FAULTS:
            raise _Abandoned

    def _value(self, event: yaml.Event, where: Where, depth: int) -> Value:
        self.lines.setdefault(where, self.line)
        if isinstance(event, yaml.AliasEvent):
            self._fault("aliases are not allowed; write the value out")
            return None
        self._refuse_decoration(event)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if depth == MAX_DEPTH:
            self._fault(f"is nested more than {MAX_DEPTH} levels deep")
            raise _Abandoned
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(where, depth + 1)
        return self._mapping(where, depth + 1)

    def _refuse_decoration(self, event: yaml.Event) -> None:
        if getattr(event, "anchor", None) is not None:
            self._fault("anchors are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            self._fault("tags (!...) are not allowed")

    def _list(self, where: Where, depth: int) -> list[Value]:
        items: list[Value] = []
        seen: set[tuple[type, Value]] = set()
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            item = self._value(event, (*where, len(items)), depth)
            items.append(item)
            if isinstance(item, str | int | float):
                if (type(item), item) in seen:
                    self._fault(f"{quoted(str(item))} is listed twice")
                seen.add((type(item), item))
        return items

    def _mapping(self, where: Where, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = self.line
            key = self._key(event)
            if key in found:
                self._fault(f"key {quoted(key)} is already given in line {self.lines[(*where, key)]}", line)
            self.lines.setdefault((*where, key), line)
            value = self._value(self._next(), (*where, key), depth)
            found.setdefault(key, value)
        return found

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._fault("a key must be a word")
            raise _Abandoned
        self._refuse_decoration(event)
        return str(event.value)


def _scalar(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    text = str(event.value)
    if event.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.match(text):
        return int(text)
    return float(text) if _DECIMAL.match(text) else text


def _root_fault(value: Value, line: int) -> Fault:
    if value is None:
        return Fault(1, "the file is empty")
    return Fault(line, "the file must be a mapping (key: value)")


def _syntax_fault(error: yaml.YAMLError, text: str) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return Fault(mark.line + 1 if mark else 1, f"is not valid YAML: {error.problem or error.context}")
    position = getattr(error, "position", 0)
    return Fault(text.count("\n", 0, position) + 1, "is not valid YAML: a control character")
