"""Files that pages load from their own process, and their addresses."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

SHARED = Path(__file__).parent / "static"
"""The look that all pages have in common."""


def assets(folder: Path) -> Mount:
    """The route of the files of `folder` and of the shared ones."""
    files = StaticFiles(directory=folder)
    files.all_directories = [folder, SHARED]
    return Mount("/static", files)


@functools.cache
def asset(folder: Path, name: str) -> str:
    """The address of a file of `folder`, or of a shared one; it changes with the content."""
    path = folder / name if (folder / name).is_file() else SHARED / name
    return f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
