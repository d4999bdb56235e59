"""Weights that ship inside installed packages: where they lie, and that they are the pinned bytes.

A file whose digest differs is never loaded: the packages are third-party uploads, and a changed detector is an unknown
one.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from guardedvlm.errors import Reason, Unavailable


def package_folder(package: str) -> Path:
    """Folder of an installed package, without importing it. Raises Unavailable(DETECTOR_MISSING)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(Reason.DETECTOR_MISSING, package=package)
    return Path(next(iter(spec.submodule_search_locations)))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def pinned_file(package: str, relative: str, sha256: str) -> Path:
    """Path of a weights file whose SHA-256 is `sha256`.

    Raises Unavailable(DETECTOR_MISSING) where it is absent, Unavailable(WEIGHTS_CHANGED) where its bytes differ.
    """
    path = package_folder(package) / relative
    if not path.is_file():
        raise Unavailable(Reason.DETECTOR_MISSING, package=package)
    if file_digest(path) != sha256:
        raise Unavailable(Reason.WEIGHTS_CHANGED, package=package)
    return path


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and digests of a folder's files, caches of Python left out, as hex."""
    state = hashlib.sha256(b"guardedvlm.v1.tree\x00")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            state.update(f"{path.relative_to(folder).as_posix()}\x00{file_digest(path)}\n".encode())
    return state.hexdigest()


@cache
def pinned_folder(package: str, relative: str, sha256: str) -> Path:
    """Path of a weights folder whose `tree_digest` is `sha256`. Raises as `pinned_file` does."""
    folder = package_folder(package) / relative
    if not folder.is_dir():
        raise Unavailable(Reason.DETECTOR_MISSING, package=package)
    if tree_digest(folder) != sha256:
        raise Unavailable(Reason.WEIGHTS_CHANGED, package=package)
    return folder
