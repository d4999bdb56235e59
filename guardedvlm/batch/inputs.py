"""What is there: the files that a command line names, in order, each once.

Nothing is dropped silently: what cannot be read is listed as such, and what is not taken is counted.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.guard.admit import sniff

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".dcm", ".dicom", ".pdf"})
"""What is taken from a folder by its name; a file that is named is taken whatever its name."""
HEAD_BYTES = 132
"""Enough for `sniff`: the preamble of DICOM and "DICM". Archives keep DICOM files without a suffix."""
_SCHEME = "file://"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files to be asked about, folders and files that cannot be read, and how many others there were."""

    files: tuple[Path, ...] = field(repr=False)
    unreadable: tuple[Path, ...] = field(default=(), repr=False)
    others: int = 0


def find_inputs(named: Sequence[str], outside: Path) -> Inputs:
    """The files, folders and glob patterns that were `named`, without what lies in the folder `outside`.

    Links to files are followed and links to folders inside a folder are not; two names of one file are one. Raises
    ConfigurationError(INPUT_UNREADABLE) for a name that nothing has, and where nothing is left to be asked about.
    """
    found = _Found(outside.resolve())
    for name in named:
        for path in _named(name):
            found.take(path)
    if not found.files and not found.unreadable:
        explanation = f"there is no picture in what was named ({found.others} other files)"
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation=explanation)
    return Inputs(tuple(found.files.values()), tuple(found.unreadable), found.others)


def _named(name: str) -> list[Path]:
    if os.path.lexists(name):
        return [Path(name)]
    matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
    if not matches:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=name, explanation="no such file, folder or match")
    return [Path(match) for match in matches]


class _Found:
    def __init__(self, outside: Path) -> None:
        self._outside = outside
        self.files: dict[tuple[int, int], Path] = {}
        self.unreadable: list[Path] = []
        self.others = 0

    def take(self, path: Path) -> None:
        """A file as it is, a folder with what is below it."""
        if not path.is_dir():
            self._file(path, is_named=True)
            return
        for inside in _below(path.resolve(), self._outside, self.unreadable):
            self._file(inside, is_named=False)

    def _file(self, path: Path, *, is_named: bool) -> None:
        try:
            status = path.stat()
            is_taken = stat.S_ISREG(status.st_mode) and (is_named or _is_document(path))
        except OSError:
            if is_named or path.suffix.lower() in SUFFIXES:
                self.unreadable.append(path.absolute())
            else:
                self.others += 1
            return
        if is_taken:
            self.files.setdefault((status.st_dev, status.st_ino), path.absolute())
        else:
            self.others += 1


def _below(folder: Path, outside: Path, unreadable: list[Path]) -> Iterator[Path]:
    """Every file below a folder, in order. Folders that cannot be read go into `unreadable`."""

    def note(failure: OSError) -> None:
        unreadable.append(Path(os.fsdecode(failure.filename)))

    for root, folders, names in os.walk(folder, onerror=note):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != outside)
        yield from (here / name for name in sorted(names))


def _is_document(path: Path) -> bool:
    """By its suffix, or without a known one by its first bytes. Names with a dot in front are not the user's own."""
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with open_input(path) as stream:
        return sniff(stream.read(HEAD_BYTES)) is not None


def uri_of(path: Path) -> str:
    """The file's URI, also of a name that is no text."""
    return path.absolute().as_uri()


def path_of(uri: str) -> Path:
    """Inverse of `uri_of`."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(_SCHEME))))


def read_input(path: Path, most: int) -> bytes:
    """At most `most` + 1 bytes of a plain file. Raises InvalidInput(INPUT_UNREADABLE)."""
    try:
        with open_input(path) as stream:
            return stream.read(most + 1)
    except OSError:
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


def open_input(path: Path) -> BinaryIO:
    """A plain file; to open a pipe would be to wait for its writer. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
