"""Durable appends a second and their p99: the ledger and SQLite (WAL, synchronous=FULL), side by side in one run.

    python tests/bench/bench_ledger.py [--appenders 32] [--appends 4000] [--rounds 3] [--records 70000]

SQLite gets the same bytes: the records of the same entries are sealed and hashed for it too, one transaction an append
(one connection, as one writer can hold the lock at a time), so that what differs is how an append becomes durable.
SQLite with group commit, 32 appends a transaction, is the second line. The rounds alternate; the median is shown.
"""

import argparse
import asyncio
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from guardedvlm.audit.checkpointer import Checkpointer
from guardedvlm.audit.facts import Facts, MediaFormat, Method, Stage, VerifyVerdict
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.merkle import CompactRange, leaf_hash
from guardedvlm.audit.record import GENESIS, Entry, Record, make_entry, now, record_hash
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import FileSink
from guardedvlm.audit.verify import verify_ledger
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import State

ORIGIN = "a0" * 16
FACTS = Facts(media=MediaFormat.PNG, pages=1, width=1344, height=1344, input_digest="5f" * 32)
LIFE: dict[State, Facts] = {
    State.RECEIVED: Facts(
        method=Method.REDACT_IMAGE, trace={"id": "0af7651916cd43dd8448eb211c80319c", "parent": "b7ad6b7169203331"}
    ),
    State.ADMITTED: Facts(
        tenant="b1" * 16,
        caller="c2" * 16,
        policy={"name": "healthcare", "digest": "e4" * 32},
        input_bytes=81_234,
        input_digest="05" * 32,
    ),
    State.DECODED: FACTS,
    State.REDACTED: Facts(
        regions={Kind.FACE: 1, Kind.PERSON: 4, Kind.DATE: 3},
        area_permille={Kind.FACE: 40, Kind.PERSON: 9, Kind.DATE: 4},
        actions={Action.FILL: 4, Action.LABEL: 4},
        hidden=("0f" * 128,),
        detectors=({"name": "centerface", "digest": "06" * 32}, {"name": "ppocr-det", "digest": "07" * 32}),
    ),
    State.CLEARED: Facts(
        verification={"verdict": VerifyVerdict.CLEARED, "passes": 1, "residual": {}}, image_digest="07" * 32
    ),
    State.RELEASE_OPEN: Facts(),
    State.RELEASED: Facts(timings={Stage.READ: 800, Stage.VERIFY: 500, Stage.LEDGER: 8, Stage.TOTAL: 1_500}),
}
"""One request, as RedactImage leaves it."""
Append = Callable[[Entry], Awaitable[object]]


class SqliteLedger:
    """The same chain in a table: one thread owns the connection; `group` appends at most share a transaction."""

    def __init__(self, path: Path, group: int) -> None:
        self._queue: queue.SimpleQueue[tuple[Entry, asyncio.AbstractEventLoop, asyncio.Future[None]] | None]
        self._queue = queue.SimpleQueue()
        self._path, self._group = path, group
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def append(self, entry: Entry) -> None:
        """Return when the transaction is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._queue.put((entry, loop, future))
        await future

    def close(self) -> None:
        """Stop the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE records (sequence INTEGER PRIMARY KEY, line BLOB)")
        sequence, previous = 0, GENESIS
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < self._group and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    self._queue.put(None)
                    break
                batch.append(more)
            connection.execute("BEGIN")
            for entry, _, _ in batch:
                line = _seal(entry, sequence, previous)
                connection.execute("INSERT INTO records VALUES (?, ?)", (sequence, line))
                sequence, previous = sequence + 1, record_hash(line)
            connection.execute("COMMIT")
            for _, loop, future in batch:
                loop.call_soon_threadsafe(future.set_result, None)
        connection.close()


def _seal(entry: Entry, sequence: int, previous: str) -> bytes:
    return Record.model_construct(
        event=entry.event,
        request=entry.request,
        facts=entry.facts,
        version=1,
        sequence=sequence,
        previous=previous,
        salt="2e" * 16,
        time=now(),
        origin=ORIGIN,
    ).encode()


async def measure(append: Append, appenders: int, appends: int) -> tuple[float, list[float]]:
    """Appends a second, and each append's time in seconds."""
    times: list[float] = []

    async def run(which: int) -> None:
        for number in range(appends // appenders):
            entry = make_entry(State.DECODED, f"{which:016x}{number:016x}", FACTS)
            began = time.perf_counter()
            await append(entry)
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(run(which) for which in range(appenders)))
    return len(times) / (time.perf_counter() - began), times


def _ledger(folder: Path) -> Logs:
    """The ledger as the service has it: tree, checkpoints, and a second place for them."""
    ring = create_keys(folder / "keys")
    checkpointer = Checkpointer(ring, ring.public.find, FileSink(folder / "checkpoints"))
    return Logs(folder / "ledger", ORIGIN, checkpointer=checkpointer, keys=lambda: ring.public)


def one_round(folder: Path, appenders: int, appends: int) -> dict[str, tuple[float, float]]:
    """Appends a second and p99 in milliseconds of each contestant."""
    found: dict[str, tuple[float, float]] = {}
    for name, make in (
        ("ledger", lambda: _ledger(folder)),
        ("SQLite, one append a transaction", lambda: SqliteLedger(folder / "one.db", 1)),
        ("SQLite, group commit", lambda: SqliteLedger(folder / "group.db", 256)),
    ):
        log = make()
        append = log.service.append if isinstance(log, Logs) else log.append
        rate, times = asyncio.run(measure(append, appenders, appends))
        log.close()
        found[name] = (rate, statistics.quantiles(times, n=100)[98] * 1000)
    return found


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--appenders", type=int, default=32)
    parser.add_argument("--appends", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=70_000, help="of the ledger that is verified")
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        # Beside the code, not in /tmp, which may live in memory.
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            rounds.append(one_round(Path(folder), options.appenders, options.appends))
    print(f"{options.appends} appends by {options.appenders} appenders, median of {options.rounds} rounds")
    rates = {name: statistics.median(one[name][0] for one in rounds) for name in rounds[0]}
    for name, rate in rates.items():
        p99 = statistics.median(one[name][1] for one in rounds)
        print(f"{name:34} {rate:9.0f} a second   p99 {p99:7.1f} ms   ledger is {rates['ledger'] / rate:5.2f} times")
    _check(options.records)


def _check(records: int) -> None:
    """How long verification and a start take, and how fast the hashes alone would be."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name) / "ledger"
        _write_requests(folder, records)
        lines = [line for segment in list_segments(folder) for line in segment.path.read_bytes().splitlines()]
        size = sum(map(len, lines))
        verify_ledger(folder)  # learns the names of the policies, as every process does once
        rates = {
            "verify": len(lines) / _took(lambda: verify_ledger(folder)),
            "by the slow oracle": len(lines) / _took(lambda: verify_ledger(folder, fast=False)),
            "hash ceiling (chain, leaf, node)": len(lines) / _took(lambda: _hash(lines)),
        }
        started = _took(lambda: ChainWriter(folder, ORIGIN).close())
        print(f"{len(lines)} records of {size / len(lines):.0f} bytes on one core")
        for what, rate in rates.items():
            print(f"{what:34} {rate:9.0f} records a second")
        newest = list_segments(folder)[-1].path.stat().st_size
        print(f"a start checks {newest / 1e6:.1f} MB of {size / 1e6:.0f} MB: {started:.2f} s")


def _write_requests(folder: Path, records: int) -> None:
    """Whole requests, as the service writes them."""
    writer = ChainWriter(folder, ORIGIN)
    for number in range(records // len(LIFE)):
        writer.commit([make_entry(state, f"{number:032x}", facts) for state, facts in LIFE.items()])
    writer.close()


def _hash(lines: list[bytes]) -> None:
    leaves = []
    for line in lines:
        record_hash(line)
        leaves.append(leaf_hash(line))
    CompactRange().append_all(leaves)


def _took(work: Callable[[], object]) -> float:
    """CPU seconds, the best of three: what else runs on the machine only adds."""
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
