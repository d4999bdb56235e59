"""The index: a SQLite copy of what the pages search by, in a cache folder of the console's own.

Built from the ledger's segments line by line and continued where it stopped. It is thrown away and built anew when its
schema or the ledger is another one, when segments that it stood on are gone, or when the last line that it read is no
longer what it was. Pseudonyms, kinds, counts and times; nothing that the ledger does not hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.segment import list_segments
from guardedvlm.console.intake import BATCH, LogReader, Wrong
from guardedvlm.errors import ConfigurationError, Reason

SCHEMA = 2
"""Another number, another index."""
FILE, LOCK = "index.sqlite", "lock"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE logs (id INTEGER PRIMARY KEY, name TEXT UNIQUE, oldest INTEGER, segment INTEGER, offset INTEGER,
    last_offset INTEGER, last_hash TEXT, records INTEGER, skipped INTEGER, done INTEGER,
    mistimed INTEGER);
CREATE TABLE requests (id INTEGER PRIMARY KEY, request TEXT UNIQUE, began INTEGER, ended INTEGER, outcome TEXT,
    reason TEXT, method TEXT, tenant TEXT, policy TEXT, policy_name TEXT, verification TEXT, pages INTEGER,
    hidden INTEGER, milliseconds INTEGER, regions TEXT, places TEXT, shadow TEXT);
CREATE INDEX by_time ON requests (began, id);
CREATE INDEX by_outcome ON requests (outcome, began, id);
CREATE INDEX by_reason ON requests (reason, began, id) WHERE reason != '';
CREATE INDEX by_tenant ON requests (tenant, began, id);
CREATE INDEX by_policy ON requests (policy, began, id);
CREATE INDEX by_method ON requests (method, began, id);
CREATE TABLE regions (kind TEXT, began INTEGER, request INTEGER, count INTEGER,
    PRIMARY KEY (kind, began, request)) WITHOUT ROWID;
CREATE TABLE outcomes (step INTEGER, at INTEGER, tenant TEXT, policy TEXT, outcome TEXT, reason TEXT, requests INTEGER,
    PRIMARY KEY (step, at, tenant, policy, outcome, reason)) WITHOUT ROWID;
CREATE TABLE kinds (step INTEGER, at INTEGER, tenant TEXT, policy TEXT, kind TEXT, regions INTEGER,
    PRIMARY KEY (step, at, tenant, policy, kind)) WITHOUT ROWID;
CREATE TABLE totals (what TEXT, name TEXT, label TEXT, requests INTEGER, refused INTEGER, first INTEGER, last INTEGER,
    PRIMARY KEY (what, name)) WITHOUT ROWID;
CREATE TABLE events (log INTEGER, sequence INTEGER, at INTEGER, event TEXT, told TEXT,
    PRIMARY KEY (log, sequence)) WITHOUT ROWID;
"""


def cache_folder(ledger: Path) -> Path:
    """Where the index of `ledger` lies unless somebody says otherwise: below the user's cache folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "guardedvlm" / "console" / hashlib.sha256(str(ledger.resolve()).encode()).hexdigest()[:16]


def refresh(ledger: Path, cache: Path) -> int:
    """Bring the index of `ledger` in `cache` up to date; returns how many records were read. Zero, too, where another
    process is at it.

    Raises ConfigurationError: INPUT_UNREADABLE for the ledger, OUTPUT_UNWRITABLE for the cache.
    """
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(cache / LOCK) as alone:
            return _refresh(ledger, cache / FILE) if alone else 0
    except OSError:
        explanation = "the ledger cannot be read, or the console's cache folder cannot be written"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation=explanation) from None


@contextlib.contextmanager
def open_index(cache: Path) -> Iterator[sqlite3.Connection]:
    """The index, to read. Raises sqlite3.OperationalError where there is none yet."""
    uri = f"{(cache / FILE).absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        # One moment for all questions of a page.
        database.execute("BEGIN")
        yield database


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _refresh(ledger: Path, path: Path) -> int:
    try:
        return _continue(ledger, path)
    except (Wrong, sqlite3.DatabaseError):
        for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            each.unlink(missing_ok=True)
        return _continue(ledger, path)


def _continue(ledger: Path, path: Path) -> int:
    path.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        # What is lost in a crash is read from the ledger again.
        database.execute("PRAGMA synchronous=OFF")
        _prepare(database, ledger)
        readers = [LogReader(database, folder, _name(ledger, folder)) for folder in _logs(database, ledger)]
        read = sum(reader.read() for reader in readers)
        if read > BATCH:
            database.execute("ANALYZE")
        return read


def _prepare(database: sqlite3.Connection, ledger: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
        database.execute("INSERT INTO meta VALUES ('ledger', ?)", (str(ledger.resolve()),))
        return
    found = database.execute("SELECT value FROM meta WHERE key = 'ledger'").fetchone() if version == SCHEMA else None
    if found is None or found[0] != str(ledger.resolve()):
        raise Wrong


def _logs(database: sqlite3.Connection, ledger: Path) -> list[Path]:
    """The ledger's logs. Raises Wrong when one that was read is gone."""
    found = list_logs(ledger)
    known = {name for (name,) in database.execute("SELECT name FROM logs")}
    if known - {_name(ledger, folder) for folder in found}:
        raise Wrong
    total = sum(segment.path.stat().st_size for folder in found for segment in list_segments(folder))
    database.execute("INSERT OR REPLACE INTO meta VALUES ('bytes', ?)", (str(total),))
    return found


def _name(ledger: Path, folder: Path) -> str:
    """A log's name: its folder's, "" for segments that lie in the ledger itself."""
    return "" if folder == ledger else folder.name
