"""Records as tables: one row a record, one column a fact. What is not a plain value is JSON, as in the record.

The columns are those of the closed schema, whatever the records hold, so that every export of a version has the same.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from typing_extensions import get_type_hints

from guardedvlm.audit.facts import Facts
from guardedvlm.audit.record import Record
from guardedvlm.errors import ConfigurationError, Reason

HEADER = ("log", "sequence", "time", "event", "request", "origin", "previous", "salt")
FACTS = tuple(Facts.__annotations__)
COLUMNS = HEADER + FACTS
_NUMBERS = frozenset(name for name, kind in get_type_hints(Facts).items() if kind is int)
BATCH = 10_000
"""Rows of one row group."""


class Format(StrEnum):
    """How records are written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


Rows = Iterable[tuple[str, Record]]
"""The log's name and a record of it."""


def export(rows: Rows, path: Path, form: Format) -> int:
    """Write records to `path` and return how many.

    jsonl has the records' own lines, byte for byte. Raises ConfigurationError: OUTPUT_UNWRITABLE, SETTINGS_INVALID
    where parquet is asked for and pyarrow is not installed.
    """
    write: Callable[[Rows, Path], int] = {Format.JSONL: _jsonl, Format.CSV: _csv, Format.PARQUET: _parquet}[form]
    try:
        return write(rows, path)
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.name) from None


def _jsonl(rows: Rows, path: Path) -> int:
    with path.open("wb") as stream:
        return _counted(stream.write(record.encode() + b"\n") for _, record in rows)


def _csv(rows: Rows, path: Path) -> int:
    with path.open("w", encoding="ascii", newline="") as stream:
        return _write_csv(rows, stream)


def _write_csv(rows: Rows, stream: TextIO) -> int:
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    return _counted(writer.writerow(_row(log, record).values()) for log, record in rows)


def _parquet(rows: Rows, path: Path) -> int:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        explanation = "parquet needs pyarrow: pip install 'guardedvlm[export]'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="--format", explanation=explanation) from None
    schema = arrow.schema([(name, arrow.int64() if _is_number(name) else arrow.string()) for name in COLUMNS])
    written = 0
    made = (_row(log, record) for log, record in rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(made, BATCH)):
            writer.write_table(arrow.Table.from_pylist(batch, schema))
            written += len(batch)
    return written


def _row(log: str, record: Record) -> dict[str, Any]:
    """A value for each column; None where the record says nothing."""
    said = json.loads(record.encode())
    facts: Mapping[str, Any] = said.pop("facts")
    values = {"log": log} | {name: said.get(name) for name in HEADER[1:]}
    return values | {name: _plain(facts.get(name)) for name in FACTS}


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return value


def _is_number(name: str) -> bool:
    return name == "sequence" or name in _NUMBERS


def _counted(done: Iterable[object]) -> int:
    return sum(1 for _ in done)
