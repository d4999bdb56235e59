"""Results as files: whole or not there; and the receipt beside them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from guardedvlm.audit.receipt import Closed, Receipt, Receipts
from guardedvlm.errors import ConfigurationError, Reason

if TYPE_CHECKING:  # much of what uses these files needs no guard, which takes seconds to load
    from guardedvlm.app import Guard
    from guardedvlm.guard.image import RawImage


def write_file(path: Path, content: bytes) -> None:
    """Write a result completely or not at all. Raises ConfigurationError(OUTPUT_UNWRITABLE)."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(path.parent)) from None


class LocalReceipt:
    """What the receipt of a request in this process is made of; `redacted` is the file that goes out."""

    def __init__(self) -> None:
        self.closed: Closed | None = None
        self.redacted = b""

    def note(self, closed: Closed) -> None:
        """Learn what the ledger says."""
        self.closed = closed


@asynccontextmanager
async def receipted(guard: Guard, raw: RawImage, to: Path | None) -> AsyncIterator[LocalReceipt]:
    """A request in this process whose receipt goes into the file `to`, also when it is refused.

    Raises Unavailable(EVIDENCE_UNSIGNED), ConfigurationError(OUTPUT_UNWRITABLE).
    """
    receipt = LocalReceipt()
    try:
        yield receipt
    finally:
        if to is not None and receipt.closed is not None:
            issue = Receipts(guard.signer).issue
            made = await asyncio.to_thread(issue, receipt.closed, raw.content, receipt.redacted)
            write_file(to, made.encode())


def receipt_writer(to: Path | None) -> Callable[[Receipt], None] | None:
    """What takes a service's receipt into the file `to`."""
    return None if to is None else lambda receipt: write_file(to, receipt.encode())
