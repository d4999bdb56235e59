"""Policy files that the console was shown, by the digest that records name them by: what a version says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from guardedvlm.core.finding import Action
from guardedvlm.policy.compare import Change, compare
from guardedvlm.policy.coverage import DETECTORS, SECTIONS, Item
from guardedvlm.policy.document import Document
from guardedvlm.policy.effective import effective_values
from guardedvlm.policy.extend import BASES
from guardedvlm.policy.load import FILE_NAME, examine_file
from guardedvlm.policy.model import Policy
from guardedvlm.policy.store import CANDIDATE_NAME
from guardedvlm.policy.yaml_tree import Where

MAX_FILES = 2_000
"""Files that are looked at; an archive of more is looked at in part."""

Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Names, times, sizes and numbers of a policy's file and of all bases."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the folders hold now: documents by digest, and how many files are no valid policy."""

    documents: dict[str, Document[Policy]]
    broken: int


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value; `origin` is file and line, "default" where no file says anything."""

    name: str
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Covered:
    """One identifier of a rule under one policy: what is done to its kinds, who finds them, and what is open."""

    reference: str
    name: str
    kinds: tuple[str, ...]
    finders: tuple[str, ...]
    done: tuple[str, ...]
    open: str

    @property
    def kept(self) -> bool:
        """Whether any kind of it stays visible."""
        return Action.KEEP.value in self.done


class Library:
    """The policy files of some folders, each read again only when it or a base beside it has changed. What a page sees
    of a file is what was there when its time and size were looked at."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._read: dict[Path, tuple[Stamp, Document[Policy] | None]] = {}
        self._lock = Lock()

    def shelf(self) -> Shelf:
        """Every `<folder>/<name>/policy.yaml` and `candidate.yaml`. Raises nothing: what cannot be read is not
        there."""
        with self._lock:
            bases = {folder: _stamp(*sorted((folder / BASES).glob("*"))) for folder in self._folders}
            files = {path: (*_stamp(path), *bases[folder]) for folder, path in _files(self._folders)}
            self._read = {path: self._again(path, stamp) for path, stamp in files.items()}
            documents: dict[str, Document[Policy]] = {}
            for _, found in self._read.values():
                if found is not None:
                    documents.setdefault(found.value.digest(), found)
            return Shelf(documents, sum(found is None for _, found in self._read.values()))

    def _again(self, path: Path, stamp: Stamp) -> tuple[Stamp, Document[Policy] | None]:
        kept = self._read.get(path)
        if kept is not None and kept[0] == stamp:
            return kept
        found = examine_file(path)
        return stamp, None if isinstance(found, tuple) else found


def _stamp(*paths: Path) -> Stamp:
    """What tells that a file was changed: its name, time, size and number."""
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> tuple[str, int, int, int]:
    try:
        told = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), told.st_mtime_ns, told.st_size, told.st_ino


def _files(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each file behind its folder."""
    names = (FILE_NAME, CANDIDATE_NAME)
    found = ((folder, path) for folder in folders for path in sorted(folder.glob("*/*.yaml")) if path.name in names)
    return list(islice(found, MAX_FILES))


def effective(document: Document[Policy]) -> list[Value]:
    """Every value in force and the line that it comes from."""
    return [
        Value(_dotted(value.where), value.text, str(value.place) if value.place else "default")
        for value in effective_values(document)
    ]


def _dotted(where: Where) -> str:
    return ".".join(map(str, where))


def coverage(policy: Policy) -> dict[str, list[Covered]]:
    """What `policy` does to every identifier that a rule names, rule by rule."""
    return {title: [_covered(item, policy) for item in items] for title, items in SECTIONS.items()}


def _covered(item: Item, policy: Policy) -> Covered:
    kinds = tuple(sorted(kind.value for kind in item.kinds))
    finders = sorted({name.partition("/")[0] for kind in item.kinds for name in DETECTORS[kind]})
    done = sorted({(policy.hide.get(kind) or policy.action(kind)).value for kind in item.kinds})
    return Covered(item.reference, item.name, kinds, tuple(finders), tuple(done), item.open)


def difference(old: Document[Policy], new: Document[Policy]) -> tuple[Change, ...]:
    """What differs, and whether each change is weaker, stronger or other."""
    return compare(old.value, new.value)
