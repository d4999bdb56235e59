"""One log on its way into the index: lines from where the last look ended, in transactions of `BATCH` lines."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from guardedvlm.audit.record import MAX_LINE, Record, record_hash
from guardedvlm.audit.segment import Segment, list_segments
from guardedvlm.audit.shape import shapes
from guardedvlm.console.fold import Batch, Event, Row, is_ledger_event, is_plausible, milliseconds

BATCH = 20_000
"""Lines of one transaction."""
_ROW = tuple(field.name for field in fields(Row))


class Wrong(Exception):
    """The index does not belong to this ledger as it is now."""


@dataclass(slots=True)
class Cursor:
    """How far a log is read: the byte after the last line of segment `segment`, and that line's place and hash. `done`
    counts the bytes of all segments, `skipped` lines that are no records, `mistimed` records whose time cannot be."""

    id: int
    name: str
    oldest: int
    segment: int
    offset: int = 0
    last_offset: int = -1
    last_hash: str = ""
    records: int = 0
    skipped: int = 0
    done: int = 0
    mistimed: int = 0


class LogReader:
    """Reads one log. Raises Wrong when what was read of it is no longer there."""

    def __init__(self, database: sqlite3.Connection, folder: Path, name: str) -> None:
        self._database = database
        self._segments = list_segments(folder)
        self._cursor = self._find(name)
        self._next = 0
        self._check()

    def read(self) -> int:
        """Read what is new. Returns the number of records."""
        before, cursor = self._cursor.records, self._cursor
        # Logs are read one after the other, so that new rows of one are in before the next begins.
        self._next = self._database.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM requests").fetchone()[0]
        for segment in self._segments:
            if segment.first < cursor.segment:
                continue
            if segment.first > cursor.segment:
                cursor.segment, cursor.offset, cursor.last_offset = segment.first, 0, -1
            with segment.path.open("rb") as stream:
                stream.seek(cursor.offset)
                while self._batch(stream, segment):
                    pass
        return cursor.records - before

    def _find(self, name: str) -> Cursor:
        found = self._database.execute("SELECT * FROM logs WHERE name = ?", (name,)).fetchone()
        if found is not None:
            return Cursor(*found)
        number = self._database.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM logs").fetchone()[0]
        first = self._segments[0].first
        self._database.execute("INSERT INTO logs (id, name) VALUES (?, ?)", (number, name))
        return Cursor(number, name, first, first)

    def _check(self) -> None:
        cursor, starts = self._cursor, {segment.first: segment for segment in self._segments}
        if cursor.oldest != self._segments[0].first or cursor.segment not in starts:
            raise Wrong
        if cursor.last_offset < 0:
            return
        with starts[cursor.segment].path.open("rb") as stream:
            stream.seek(cursor.last_offset)
            line = stream.read(cursor.offset - cursor.last_offset)
        if not line.endswith(b"\n") or record_hash(line[:-1]) != cursor.last_hash:
            raise Wrong

    def _batch(self, stream: BinaryIO, segment: Segment) -> bool:
        """Read up to BATCH lines into one transaction; False when that was the segment's end."""
        batch, cursor, last, more = Batch(), self._cursor, b"", True
        for _ in range(BATCH):
            line, size = _next_line(stream)
            more = line.endswith(b"\n")
            if not more:  # a line that is being written is read the next time
                break
            if size == len(line):
                self._line(batch, line, f"{cursor.id}:{segment.first}:{cursor.offset}")
            else:
                cursor.skipped += 1
            cursor.last_offset, last = cursor.offset + size - len(line), line
            cursor.offset += size
            cursor.done += size
            cursor.records += 1
        if last:
            cursor.last_hash = record_hash(last[:-1])
            self._write(batch)
        return more

    def _line(self, batch: Batch, line: bytes, place: str) -> None:
        try:
            said = _record(line[:-1])
        except ValueError:
            self._cursor.skipped += 1
            return
        at = milliseconds(said["time"])
        self._cursor.mistimed += not is_plausible(at, batch.now)
        if is_ledger_event(said):
            self._event(batch, said, place)
        else:
            batch.fold(said, place, self._row(batch, said["request"], at))

    def _event(self, batch: Batch, said: dict[str, Any], place: str) -> None:
        at, facts = milliseconds(said["time"]), said["facts"]
        if shadow := facts.get("shadow"):
            row = self._row(batch, shadow["of"], at)
            row.shadow = f"{row.shadow} {place}".lstrip()
            return
        told = json.dumps(facts, sort_keys=True)
        batch.events.append(Event(self._cursor.id, self._cursor.records, at, str(said["event"]), told))

    def _row(self, batch: Batch, request: str, at: int) -> Row:
        """The row of a request: of this batch, of the index, or a new one."""
        row = batch.rows.get(request)
        if row is None:
            columns = ", ".join(_ROW)
            sql = f"SELECT {columns} FROM requests WHERE request = ?"  # noqa: S608  # names of our own columns
            found = self._database.execute(sql, (request,)).fetchone()
            row = Row(*found) if found else Row(self._new_id(), str(request), at, at)
            batch.rows[request] = row
        return row

    def _new_id(self) -> int:
        self._next += 1
        return self._next - 1

    def _write(self, batch: Batch) -> None:
        database, marks = self._database, ", ".join("?" * len(_ROW))
        database.execute("BEGIN")
        database.executemany(
            f"INSERT OR REPLACE INTO requests ({', '.join(_ROW)}) VALUES ({marks})",  # noqa: S608  # our own columns
            (astuple(row) for row in batch.rows.values()),
        )
        database.executemany(
            "INSERT OR REPLACE INTO regions VALUES (?, ?, ?, ?)", ((*key, n) for key, n in batch.regions.items())
        )
        database.executemany(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
            ((*key, number) for key, number in batch.outcomes.items()),
        )
        database.executemany(
            "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET regions = regions + excluded.regions",
            ((*key, number) for key, number in batch.kinds.items()),
        )
        database.executemany(
            "INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "requests = requests + excluded.requests, refused = refused + excluded.refused, "
            "first = MIN(first, excluded.first), last = MAX(last, excluded.last)",
            ((*key, *astuple(total)) for key, total in batch.totals.items()),
        )
        database.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", map(astuple, batch.events))
        places = ", ".join("?" * len(fields(Cursor)))
        database.execute(f"INSERT OR REPLACE INTO logs VALUES ({places})", astuple(self._cursor))  # noqa: S608
        database.execute("COMMIT")


def _next_line(stream: BinaryIO) -> tuple[bytes, int]:
    """A line and its length; of one that is longer than any record only the end, which tells it in `_check`."""
    line = stream.readline(MAX_LINE + 1)
    size = len(line)
    while len(line) > MAX_LINE and not line.endswith(b"\n"):
        more = stream.readline(MAX_LINE)
        if not more:
            break
        line, size = (line + more)[-MAX_LINE - 1 :], size + len(more)
    return line, size


def _record(line: bytes) -> dict[str, Any]:
    """What a record says. Raises ValueError for anything that is none in canonical form."""
    if shapes().match(line) is None:
        shapes().learn(Record.decode(line))
    said: dict[str, Any] = json.loads(line)
    return said
