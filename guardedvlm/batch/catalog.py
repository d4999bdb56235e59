"""Which documents there are: every file of the inputs with the keyed name of its bytes.

Files with equal bytes are one document, which is asked once. A file whose size and time did not change since the last
run keeps its name without being read again; one that changed is another document.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from guardedvlm.batch.inputs import Inputs, open_input, uri_of
from guardedvlm.batch.key import BatchKey

CHUNK_BYTES = 2**20


class Presence(StrEnum):
    """What the last run found at a file's place."""

    PRESENT = "present"
    UNREADABLE = "unreadable"
    GONE = "gone"  # an earlier run saw it


@dataclass(frozen=True, slots=True)
class File:
    """A file of the inputs, and the document that it is."""

    uri: str = field(repr=False)
    document: str
    bytes: int
    modified_ns: int
    presence: Presence

    @property
    def is_readable(self) -> bool:
        """Whether there is something to ask about."""
        return self.presence is Presence.PRESENT


@dataclass(frozen=True, slots=True)
class Catalog:
    """The files of a batch by URI."""

    files: Mapping[str, File] = field(repr=False)

    def documents(self) -> dict[str, File]:
        """One file for each document that is there now, in the files' order."""
        found: dict[str, File] = {}
        for file in self.files.values():
            if file.presence is not Presence.GONE:
                found.setdefault(file.document, file)
        return found

    def count(self, presence: Presence) -> int:
        """How many files are so."""
        return sum(file.presence is presence for file in self.files.values())

    @property
    def duplicates(self) -> int:
        """Files that are there now and have the bytes of an earlier one."""
        return len(self.files) - self.count(Presence.GONE) - len(self.documents())


def survey(inputs: Inputs, known: Catalog, key: BatchKey, told: Callable[[], None]) -> Catalog:
    """The catalog of `inputs`, with the files of `known` that are gone. `told` is called for each file."""
    found: dict[str, File] = {}
    for file in _surveyed(inputs.files, known, key):
        found[file.uri] = file
        told()
    for path in inputs.unreadable:
        found[uri_of(path)] = _unreadable(uri_of(path), key)
        told()
    gone = {uri: _gone(file) for uri, file in known.files.items() if uri not in found}
    return Catalog(found | gone)


def _surveyed(paths: Sequence[Path], known: Catalog, key: BatchKey) -> Iterator[File]:
    for path in paths:
        uri = uri_of(path)
        try:
            yield _file(path, uri, known.files.get(uri), key)
        except OSError:
            yield _unreadable(uri, key)


def _file(path: Path, uri: str, before: File | None, key: BatchKey) -> File:
    """Raises OSError."""
    with open_input(path) as stream:
        status = os.fstat(stream.fileno())
        same = before is not None and (before.bytes, before.modified_ns) == (status.st_size, status.st_mtime_ns)
        if before is not None and same and before.is_readable:
            return before
        document = key.document(iter(lambda: stream.read(CHUNK_BYTES), b""))
    return File(uri, document, status.st_size, status.st_mtime_ns, Presence.PRESENT)


def _unreadable(uri: str, key: BatchKey) -> File:
    return File(uri, key.unreadable(uri), 0, 0, Presence.UNREADABLE)


def _gone(file: File) -> File:
    return File(file.uri, file.document, file.bytes, file.modified_ns, Presence.GONE)
