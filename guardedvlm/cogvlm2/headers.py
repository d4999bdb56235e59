"""What tensor files say about themselves: names, types, shapes and places, from their headers alone.

A safetensors file is 8 bytes of header length (little endian), a JSON header, then the tensors' bytes; offsets count
from the end of the header (github.com/huggingface/safetensors, "Format"). Reading the headers of a 40 GB checkpoint
takes milliseconds, and finds what is missing, misshapen or cut short before any weight is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from guardedvlm.errors import ConfigurationError, Reason

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = frozenset({"F32", "F16", "BF16"})
"""Types in which the weights of a checkpoint may be."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: its type in the format's words, its shape, the file, and where its bytes lie there."""

    dtype: str
    shape: tuple[int, ...]
    path: Path
    begin: int
    end: int


def read_json(path: Path, reason: Reason) -> dict[str, Any]:
    """The object in a JSON file of the checkpoint. Raises ConfigurationError(CHECKPOINT_MISSING or `reason`)."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, place=path.name) from None
    except (OSError, ValueError, RecursionError):
        raise ConfigurationError(reason, place=path.name, explanation="cannot be read as JSON") from None
    if not isinstance(value, dict):
        raise ConfigurationError(reason, place=path.name, explanation="is no JSON object")
    return value


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one file.

    Raises ConfigurationError: CHECKPOINT_MISSING, CHECKPOINT_TRUNCATED for a file that ends before its header's last
    tensor, CHECKPOINT_CORRUPT for a header that contradicts itself or the file's length.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if size < LENGTH_BYTES or size < LENGTH_BYTES + length <= LENGTH_BYTES + MAX_HEADER_BYTES:
                raise _damaged(path, Reason.CHECKPOINT_TRUNCATED)
            if length > MAX_HEADER_BYTES:
                raise _damaged(path)
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, place=path.name) from None
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(header, dict):
        raise _damaged(path)
    data_start = LENGTH_BYTES + length
    entries = {name: _entry(path, item, data_start) for name, item in header.items() if name != "__metadata__"}
    _require_filled(path, entries, data_start, size)
    return entries


def read_tensors(directory: Path) -> dict[str, TensorEntry]:
    """Every tensor of a checkpoint, sharded or not.

    Raises ConfigurationError: what `read_header` raises, and CHECKPOINT_INDEX for an index that names other tensors
    than its shards hold.
    """
    if not (directory / INDEX).exists():
        return read_header(directory / SINGLE)
    where = read_json(directory / INDEX, Reason.CHECKPOINT_INDEX).get("weight_map")
    if not isinstance(where, dict) or not all(_is_file_name(name) for name in where.values()):
        raise _bad_index("weight_map is missing or names no files")
    shards = sorted(set(where.values()))
    lost = [name for name in shards if not (directory / name).is_file()]
    if lost:
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, place=lost[0], count=len(lost))
    found: dict[str, TensorEntry] = {}
    for file_name in shards:
        for name, entry in read_header(directory / file_name).items():
            if name in where and where[name] != file_name:
                raise _bad_index(f"{name} lies in another shard")
            found[name] = entry
    absent = sorted(set(where) - set(found))
    if absent:
        raise ConfigurationError(
            Reason.TENSOR_MISSING, place=INDEX, explanation=f"{absent[0]} is in no shard", count=len(absent)
        )
    return found


def read_bytes(entry: TensorEntry) -> bytes:
    """The bytes of one small tensor."""
    with entry.path.open("rb") as file:
        file.seek(entry.begin)
        return file.read(entry.end - entry.begin)


def _entry(path: Path, item: object, data_start: int) -> TensorEntry:
    if not isinstance(item, Mapping):
        raise _damaged(path)
    dtype, shape, offsets = item.get("dtype"), item.get("shape"), item.get("data_offsets")
    if dtype not in ITEM_BYTES or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _damaged(path)
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise _damaged(path)
    return TensorEntry(dtype, tuple(shape), path, data_start + begin, data_start + end)


def _require_filled(path: Path, entries: Mapping[str, TensorEntry], data_start: int, size: int) -> None:
    """The tensors follow one another without gap or overlap up to the end of the file."""
    position = data_start
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            raise _damaged(path)
        position = entry.end
    if position > size:
        raise _damaged(path, Reason.CHECKPOINT_TRUNCATED)
    if position < size:
        raise _damaged(path)


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _is_file_name(value: object) -> bool:
    # A shard lies beside its index: a path would reach out of the checkpoint.
    return isinstance(value, str) and value.endswith(".safetensors") and "/" not in value and "\\" not in value


def _damaged(path: Path, reason: Reason = Reason.CHECKPOINT_CORRUPT) -> ConfigurationError:
    return ConfigurationError(reason, place=path.name)


def _bad_index(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.CHECKPOINT_INDEX, place=INDEX, explanation=explanation)
