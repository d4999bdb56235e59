"""A file that an operator wrote, read into a closed model: every fault in it with its line and a plain reason.

Used for policies and for the tenants file. A document is either complete and valid, or its errors are returned; no
default stands in for a part that could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.explain import explain, place_of
from guardedvlm.policy.yaml_tree import Fault, Value, Where, read_tree

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 256 * 1024
"""A policy of ours has 5 KB, a tenants file of 1,000 callers about 200 KB. PyYAML reads 20,000 keys in about 3 s."""

Problems: TypeAlias = tuple[ConfigurationError, ...]
"""All that is wrong with a document, by line; never empty where it stands for one."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two parts of a document that cannot both hold; `reason` where it is not the document's own."""

    where: Where
    explanation: str
    reason: Reason | None = None


class Contradictions(ValueError):
    """Raised by a model's validator with all that it found, so that each is reported at its own line."""

    def __init__(self, found: Sequence[Contradiction]) -> None:
        super().__init__("; ".join(contradiction.explanation for contradiction in found))
        self.found = tuple(found)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line (counted from 1) of a file. `depth` counts the files between it and the one that was asked for."""

    depth: int
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Source:
    """What was written, of one file or of several that were merged, and the place of everything in it."""

    value: Mapping[str, Value]
    places: Mapping[Where, Place]

    def place(self, where: Where) -> Place:
        """The place of `where`, or of the nearest thing around it that was written."""
        while where and where not in self.places:
            where = where[:-1]
        return self.places[where]


@dataclass(frozen=True, slots=True)
class Document(Generic[M]):
    """A valid document: its value, and where each part of it was written."""

    reason: Reason
    value: M
    source: Source

    def error(self, where: Where, explanation: str, reason: Reason | None = None) -> ConfigurationError:
        """An error about the part at `where`."""
        place = str(self.source.place(where))
        return ConfigurationError(reason or self.reason, place=place, explanation=explanation)


def read_text(path: Path, name: str, reason: Reason, absent: Reason | None = None) -> str:
    """The text of a file of at most MAX_BYTES.

    Raises ConfigurationError: `absent` (or `reason`) where there is no file, `reason` where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(absent or reason, place=name, explanation="does not exist") from None
    except OSError:
        raise ConfigurationError(reason, place=name, explanation="cannot be read") from None
    if len(content) > MAX_BYTES:
        raise _too_large(name, reason)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        place = f"{name}:{content.count(10, 0, error.start) + 1}"
        raise ConfigurationError(reason, place=place, explanation="is not UTF-8 text") from None


def examine(text: str, name: str, model: type[M], reason: Reason) -> Document[M] | Problems:
    """Read `text` into `model`. Returns the document, or everything that is wrong with it. Raises nothing."""
    source = read_source(text, name, reason)
    return source if isinstance(source, tuple) else validated(source, model, reason)


def read_source(text: str, name: str, reason: Reason, depth: int = 0) -> Source | Problems:
    """What is written in `text`, or why it cannot be read. Raises nothing."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return (_too_large(name, reason),)
    tree = read_tree(text)
    if isinstance(tree, tuple):
        return tuple(_located(fault, name, reason) for fault in tree)
    places = {where: Place(depth, name, line) for where, line in tree.lines.items()}
    return Source(tree.value, {(): Place(depth, name, 1), **places})


def validated(source: Source, model: type[M], reason: Reason) -> Document[M] | Problems:
    """`source` as a value of `model`, or everything that is wrong with it, in the order of the lines."""
    try:
        # As JSON and strict: a mistyped value is refused, where pydantic would turn `yes` into true and true into 1.
        value = model.model_validate_json(json.dumps(source.value), strict=True)
    except ValidationError as error:
        found = _contradictions(error.errors(include_url=False), model)
        told = sorted(((source.place(item.where), item) for item in found), key=lambda pair: pair[0])
        return tuple(
            ConfigurationError(item.reason or reason, place=str(place), explanation=item.explanation)
            for place, item in told
        )
    return Document(reason, value, source)


def require(found: Document[M] | Problems) -> Document[M]:
    """The document. Raises the first problem where there is none."""
    if isinstance(found, tuple):
        raise found[0]
    return found


def _contradictions(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> Iterator[Contradiction]:
    for error in errors:
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, Contradictions):
            for found in cause.found:
                yield Contradiction(error["loc"] + found.where, found.explanation, found.reason)
        elif not _follows_from_another(error, errors):
            yield Contradiction(place_of(error), explain(error, model))


def _follows_from_another(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """A list whose only entry is invalid is also "too short": tell the cause alone."""
    where = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(where) and other["loc"][: len(where)] == where for other in errors
    )


def _located(fault: Fault, name: str, reason: Reason) -> ConfigurationError:
    return ConfigurationError(reason, place=f"{name}:{fault.line}", explanation=fault.explanation)


def _too_large(name: str, reason: Reason) -> ConfigurationError:
    return ConfigurationError(reason, place=name, explanation=f"is larger than {MAX_BYTES // 1024} KiB")
