"""How far a log is durable, for who reads it while it is written: a small file beside the segments.

    durable    the number of the next record, 8 bytes, and the first 8 bytes of their SHA-256

What a writer has put into a segment it takes back where the disk is full or a sync fails. So it says what stays, after
the sync, and a reader goes no further. The file is no evidence and is not synced: after a loss of power it may say less
than is there, until the next writer begins. The digest is for a reader that looks while it is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from pathlib import Path

NAME = "durable"
_NUMBER = struct.Struct(">Q")
_DIGEST_BYTES = 8


class DurableMark:
    """The file in `folder`, for the log's one writer."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(folder / NAME, flags, 0o600)

    def publish(self, sequence: int) -> None:
        """Say that every record before `sequence` is durable. What cannot be said is said with the next batch."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _encoded(sequence), 0)

    def close(self) -> None:
        """Give the file back; what it says stays true."""
        os.close(self._descriptor)


def durable_sequence(folder: Path) -> int | None:
    """Number of the next record after those that are durable; None for a log whose writer did not say (of an earlier
    version), 0 where it cannot be read just now."""
    try:
        with (folder / NAME).open("rb") as stream:
            content = stream.read(_NUMBER.size + _DIGEST_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return 0
    sequence = int.from_bytes(content[: _NUMBER.size], "big")
    return sequence if sequence < 2**53 and content == _encoded(sequence) else 0


def _encoded(sequence: int) -> bytes:
    number = _NUMBER.pack(sequence)
    return number + hashlib.sha256(number).digest()[:_DIGEST_BYTES]
