"""The logs of a ledger: one log for each retention class, each a folder of segments with a chain of its own."""

from __future__ import annotations

from pathlib import Path

from guardedvlm.audit.segment import list_segments
from guardedvlm.errors import ConfigurationError, Reason


def list_logs(ledger: Path) -> list[Path]:
    """Folders of a ledger's logs by name: `ledger` itself when segments lie in it, and each folder directly below with
    segments. Raises ConfigurationError(INPUT_UNREADABLE) when a folder cannot be read."""
    try:
        below = sorted(path for path in ledger.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the ledger's folder cannot be read") from None
    return [folder for folder in (ledger, *below) if list_segments(folder)]
