"""The logs of a ledger: each a folder of segments with a chain and a tree of its own, and all of them open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from guardedvlm.audit.checkpoint import CHECKPOINTS
from guardedvlm.audit.checkpointer import Checkpointer
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.remains import FRONTIER, PRUNED
from guardedvlm.audit.retention import SERVICE, log_name
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.writer import SEGMENT_BYTES
from guardedvlm.errors import ConfigurationError, Reason, Unavailable


def list_logs(ledger: Path) -> list[Path]:
    """Folders of a ledger's logs by name: `ledger` itself when segments lie in it, and each folder directly below with
    segments. Raises ConfigurationError(INPUT_UNREADABLE) when a folder cannot be read."""
    return [folder for folder in _folders(ledger) if list_segments(folder)]


def list_kept(ledger: Path) -> list[Path]:
    """As `list_logs`, and each folder in which anything says that it was a log: for whoever asks what is missing."""
    return [folder for folder in _folders(ledger) if list_segments(folder) or _was_log(folder)]


def _folders(ledger: Path) -> list[Path]:
    try:
        below = sorted(path for path in ledger.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the ledger's folder cannot be read") from None
    return [ledger, *below]


def _was_log(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CHECKPOINTS, PRUNED, FRONTIER))


class Logs:
    """The logs of one replica's ledger, in the folder `ledger`: `service`, open from the start, and one for each number
    of years (`audit.retention`), open from the first request on that needs it or from `prepare`.

    With `checkpointer` each of them has checkpoints; it is closed with the logs. `keys` gives the public keys that they
    verify with: a start believes no other ones. Raises ConfigurationError as `Ledger` does.
    """

    def __init__(
        self,
        ledger: Path,
        origin: str,
        *,
        checkpointer: Checkpointer | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        keys: Callable[[], PublicKeys] | None = None,
    ) -> None:
        self.folder = ledger
        self.origin = origin
        self.checkpointer = checkpointer
        self._segment_bytes = segment_bytes
        self._keys = keys
        self._opening = threading.Lock()
        self._open: dict[str, Ledger] = {}
        self._unopened: set[str] = set()
        self._closed = False
        self.service = self._ledger(SERVICE)

    @property
    def healthy(self) -> bool:
        """Whether every log can be written and, within the bound, its checkpoints too."""
        is_told = self.checkpointer is None or self.checkpointer.healthy
        return is_told and not self._unopened and all(log.healthy for log in self._logs())

    @property
    def appended(self) -> int:
        """Records made durable since the start."""
        return sum(log.appended for log in self._logs())

    @property
    def failures(self) -> int:
        """Records that could not be made durable."""
        return sum(log.failures for log in self._logs())

    def prepare(self, days: int) -> None:
        """Open the log for records that must stay `days` days. Raises ConfigurationError as `Ledger` does."""
        self._ledger(log_name(days))

    async def log_for(self, days: int) -> Ledger:
        """The log for records that must stay `days` days. Raises Unavailable(LEDGER_UNWRITABLE)."""
        name = log_name(days)
        found = self._open.get(name)
        if found is not None:
            return found
        try:
            return await asyncio.to_thread(self._ledger, name)
        except ConfigurationError:
            self._unopened.add(name)
            raise Unavailable(Reason.LEDGER_UNWRITABLE) from None

    async def probe(self) -> bool:
        """Try again what failed; True when all is healthy."""
        for name in list(self._unopened):
            with suppress(ConfigurationError):
                await asyncio.to_thread(self._ledger, name)
        for log in self._logs():
            if not log.healthy:
                await log.probe()
        return self.healthy

    def close(self) -> None:
        """Write what waits, then the last checkpoints, then give the folders back; a second call does nothing."""
        with self._opening:
            if self._closed:
                return
            self._closed = True
        for log in self._logs():
            log.drain()
        if self.checkpointer is not None:
            self.checkpointer.close()
        for log in self._logs():
            log.close()

    def _logs(self) -> list[Ledger]:
        return list(self._open.values())

    def _ledger(self, name: str) -> Ledger:
        """The open log of that name. Raises ConfigurationError."""
        with self._opening:
            if self._closed:
                raise ConfigurationError(Reason.LEDGER_UNWRITABLE, explanation="the ledger is closed")
            if name not in self._open:
                opened = Ledger(self.folder / name, self.origin, segment_bytes=self._segment_bytes, keys=self._keys)
                self._open = {**self._open, name: opened}
                if self.checkpointer is not None:
                    self.checkpointer.watch(opened)
            self._unopened.discard(name)
            return self._open[name]
