"""Tables as Parquet: whole files of one owner, or none. The schemas stand here."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guardedvlm.batch.catalog import Catalog, File, Presence
from guardedvlm.batch.rows import Row
from guardedvlm.core.private_file import replace
from guardedvlm.errors import ConfigurationError, Reason

_COUNTS = "map<string, int32>"
PAGES: Mapping[str, str] = {
    "row": "string",
    "document": "string",
    "page": "int32",
    "pages": "int32",
    "verdict": "string",
    "answer": "string",
    "fields": "string",
    "modified": "bool",
    "regions": _COUNTS,
    "residuals": _COUNTS,
    "passes": "int32",
    "width": "int32",
    "height": "int32",
    "picture_instructions": "int32",
    "model": "string",
    "policy_digest": "string",
    "receipt_id": "string",
}
"""Columns of a page that was cleared and asked about."""
FAILURES: Mapping[str, str] = {
    "document": "string",
    "reason": "string",
    "code": "string",
    "sentence": "string",
    "details": "string",
    "receipt_id": "string",
    "attempts": "int32",
}
"""Columns of a document that was not answered."""
FILES: Mapping[str, str] = {
    "uri": "string",
    "document": "string",
    "bytes": "int64",
    "modified_ns": "int64",
    "presence": "string",
}
"""Columns of a file: the only table with names, for the operator."""


def require_arrow() -> None:
    """Raise ConfigurationError(SETTINGS_INVALID) where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        explanation = "tables need pyarrow: pip install 'guardedvlm[export]'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="batch", explanation=explanation)


def write_table(path: Path, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Put a whole table at `path`, for this user alone. Raises OSError."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, _type(kind)) for name, kind in columns.items()])
    made = [{name: _cell(row.get(name), kind) for name, kind in columns.items()} for row in rows]
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(made, schema), content, compression="zstd")
    replace(path, content.getvalue())


def read_table(path: Path, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows of a table. Raises ConfigurationError(INPUT_UNREADABLE) for a file that is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
    except (OSError, pyarrow.ArrowException, KeyError):
        explanation = "is not a table of a batch, or damaged"
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation=explanation) from None
    return rows


def write_catalog(path: Path, catalog: Catalog) -> None:
    """Put the table of files at `path`. Raises OSError."""
    write_table(path, FILES, [{**asdict(file), "presence": file.presence.value} for file in catalog.files.values()])


def read_catalog(path: Path) -> Catalog:
    """The catalog of an earlier run, empty where there was none. Raises ConfigurationError(INPUT_UNREADABLE)."""
    rows: Iterable[Row] = read_table(path, list(FILES)) if path.exists() else ()
    return Catalog({row["uri"]: File(**{**row, "presence": Presence(row["presence"])}) for row in rows})


def _cell(value: Any, kind: str) -> Any:
    return list(value.items()) if kind == _COUNTS and value is not None else value


def _type(kind: str) -> Any:
    import pyarrow

    if kind == _COUNTS:
        return pyarrow.map_(pyarrow.string(), pyarrow.int32())
    made = {"string": pyarrow.string, "int32": pyarrow.int32, "int64": pyarrow.int64, "bool": pyarrow.bool_}
    return made[kind]()
