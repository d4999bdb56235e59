"""One guard on Ray: a process that reads, clears and asks the InferenceService.

In: names and sealed URIs. Out: what was released, or a reason.

It raises nothing into Ray, which would write an exception's text and place into its logs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import queue
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from guardedvlm.app import running_guard
from guardedvlm.batch.asking import Asker, GuardHere, Reading, Task, outcome_of
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.order import STOP, Order, member_settings
from guardedvlm.batch.rows import Answered, Failed, Outcome
from guardedvlm.batch.store import KEY
from guardedvlm.core.private_file import PRIVATE_FOLDER
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Internal, Reason, from_wire

MOST_MEMBERS = 10_000
CLOSE_SECONDS = 25.0
COLUMNS = ("document", "sealed")
"""Of what goes in; out come `document` and `said`."""


class RayGuard:
    """A guard, started with its first document: Ray calls it with batches of COLUMNS."""

    def __init__(self, order: str) -> None:
        self._order = Path(order)
        self._loop, self._gate = asyncio.new_event_loop(), asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._parts = AsyncExitStack()
        self._ready: tuple[Reading, Asker] | None = None

    def __del__(self) -> None:
        """Close the guard, its ledger with a last checkpoint. Ray waits half a minute for it."""
        closing = asyncio.run_coroutine_threadsafe(self._parts.aclose(), self._loop)
        with contextlib.suppress(Exception):
            closing.result(CLOSE_SECONDS)

    def __call__(self, batch: Any) -> Iterator[Any]:
        """What became of each document, as soon as it is known."""
        import pyarrow

        pairs = zip(batch.column("document").to_pylist(), batch.column("sealed").to_pylist(), strict=True)
        for document, said in self._said(list(pairs)):
            yield pyarrow.table({"document": [document], "said": [said]})

    def _said(self, pairs: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        told: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        for document, sealed in pairs:
            self._soon(self._one(document, sealed, told))
        for _ in pairs:
            yield told.get()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _one(self, document: str, sealed: bytes, told: queue.SimpleQueue[tuple[str, bytes]]) -> None:
        try:
            said = await self._asked(document, sealed)
        except GuardedVLMError as error:
            said = encoded(error)  # it stops the batch
        except BaseException as failure:
            said = encoded(Failed(Internal(Reason.INTERNAL, error=type(failure).__name__[:64])))
        told.put((document, said))

    async def _asked(self, document: str, sealed: bytes) -> bytes:
        order = Order.read(self._order)
        if (order.state / STOP).exists():
            return encoded(None)
        async with self._gate:
            reading, asker = self._ready or await self._start(order)
        task = Task(document, reading.key.open(document, sealed))
        return encoded(await outcome_of(task, reading, asker))

    async def _start(self, order: Order) -> tuple[Reading, Asker]:
        policy = order.load_policy()
        member = self._parts.enter_context(_member(order.settings.ledger))
        guard = await self._parts.enter_async_context(
            running_guard(member_settings(order.settings, member), member=member)
        )
        asker = GuardHere(guard, policy, order.wanted, order.asks_as, order.receipts)
        reading = Reading(BatchKey.load(order.state / KEY), policy.limits.max_bytes)
        self._ready = reading, asker
        return self._ready


@contextlib.contextmanager
def _member(ledger: Path) -> Iterator[str]:
    """The first name among the guards of this ledger that no running one has. Raises ConfigurationError."""
    for number in range(MOST_MEMBERS):
        member = f"guard-{number}"
        try:
            ledger.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(ledger / f"{member}.lock", flags, 0o600)
        except OSError:
            raise ConfigurationError(Reason.LEDGER_UNWRITABLE) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        try:
            yield member
        finally:
            os.close(descriptor)
        return
    raise ConfigurationError(Reason.LEDGER_UNWRITABLE)


def encoded(said: Outcome | GuardedVLMError | None) -> bytes:
    """What a guard says of a document: its outcome, an error that stops the batch, or None for one not begun."""
    if said is None:
        return b"{}"
    if isinstance(said, GuardedVLMError):
        return json.dumps({"stop": _wire(said)}).encode()
    receipt = base64.b64encode(said.receipt).decode()
    if isinstance(said, Answered):
        return json.dumps({"rows": said.rows, "receipt": receipt}).encode()
    return json.dumps({"failed": _wire(said.error), "id": said.receipt_id, "receipt": receipt}).encode()


def decoded(said: bytes) -> Outcome | None:
    """Inverse of `encoded`. Raises the error that stops the batch."""
    value = json.loads(said)
    if "stop" in value:
        raise from_wire(*value["stop"])
    if not value:
        return None
    receipt = base64.b64decode(value["receipt"])
    if "rows" in value:
        return Answered(tuple(value["rows"]), receipt)
    return Failed(from_wire(*value["failed"]), value["id"], receipt)


def _wire(error: GuardedVLMError) -> tuple[str, str, dict[str, int | float | str]]:
    return type(error).__name__, error.reason.value, error.details
