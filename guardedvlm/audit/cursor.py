"""How far a log has been delivered: one small file a log, replaced as a whole and synced, after the collector said yes.

The hash of the last record that was delivered stands in it, so that a log which was replaced or cut is noticed.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from guardedvlm.audit.facts import CLOSED, Digest
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Reason

FOLDER = "tail"
"""Below the ledger's folder, unless another place is named."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """`sequence` is the number of the next record, `previous` the hash of the one before it, and `open_from` the number
    of the oldest record whose request was not over: its spans are made when it is."""

    sequence: int
    previous: str
    open_from: int


class _Stored(BaseModel):
    model_config = CLOSED

    version: Literal[1]
    sequence: Annotated[int, Field(ge=0, lt=2**53)]
    previous: Digest
    open_from: Annotated[int, Field(ge=0, lt=2**53)]


class CursorFile:
    """The cursor of the log called `log` in the folder `state`."""

    def __init__(self, state: Path, log: str) -> None:
        self._path = state / f"{log}.json"

    def load(self) -> Cursor | None:
        """The cursor, or None before the first delivery. Raises ConfigurationError(INPUT_UNREADABLE) when the file is
        damaged: where to go on is then for an operator to say, by deleting it."""
        try:
            stored = _Stored.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            explanation = "the cursor is damaged; without it every record is delivered again"
            raise ConfigurationError(Reason.INPUT_UNREADABLE, place=self._path.name, explanation=explanation) from None
        return Cursor(stored.sequence, stored.previous, stored.open_from)

    def save(self, cursor: Cursor) -> None:
        """Make `cursor` durable. Raises ConfigurationError(OUTPUT_UNWRITABLE)."""
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("wb") as stream:
                stream.write(json.dumps({"version": 1, **asdict(cursor)}, sort_keys=True).encode("ascii") + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(self._path)
            fsync_folder(self._path.parent)
        except OSError:
            raise _unwritable("the cursor cannot be written") from None


def lock_state(state: Path) -> int:
    """Make the folder of the cursors and take it: two tailers would deliver each record twice and out of order.

    Returns a descriptor whose closing gives it back. Raises ConfigurationError(OUTPUT_UNWRITABLE).
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        raise _unwritable("the folder of the cursors cannot be written") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise _unwritable("another process delivers this ledger") from None
    return descriptor


def _unwritable(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation=explanation)
