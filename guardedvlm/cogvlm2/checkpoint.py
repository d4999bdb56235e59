"""Is this directory the checkpoint that we mean? Asked before it is loaded, without a network and without its code.

`check` reads the configuration and the headers of the tensor files: milliseconds on 39 GB. With digests it also reads
every byte, and compares with the manifest that `pin` wrote when the directory was last trusted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardedvlm.cogvlm2 import headers, layout
from guardedvlm.cogvlm2.weights import ADAPTER_CONFIG, read_config, require_adapter
from guardedvlm.errors import ConfigurationError, Reason

MANIFEST = "guardedvlm-manifest.json"
MANIFEST_VERSION = 1
CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth"})
"""Python, libraries, and pickles, which are programs too."""
LICENSE_WORDS = ("license", "licence")
CHUNK_BYTES = 1 << 20
_TYPE_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a verified checkpoint is."""

    tensors: int
    parameters: int
    bytes: int
    dtype: str
    """Of the weights that are not quantised: bfloat16, float16 or float32."""
    quantised: bool
    digest: str
    """SHA-256 of the manifest, which names every file's own; empty when digests were not asked for."""


def check(directory: Path, *, digests: bool = True, manifest: Path | None = None) -> Checked:
    """Verify a checkpoint directory and say what it is.

    In this order: nothing in it can carry code, it has a licence, its configuration is sound, its tensors are those of
    the configuration in name, shape and type, and, with `digests`, every file is the pinned one and none is new.
    `manifest` may lie elsewhere, where whoever can write the checkpoint cannot write.

    Raises ConfigurationError: CHECKPOINT_MISSING, CHECKPOINT_CODE, CHECKPOINT_LICENSE, CHECKPOINT_CONFIG,
    CHECKPOINT_INDEX, CHECKPOINT_CORRUPT, CHECKPOINT_TRUNCATED, TENSOR_MISSING, TENSOR_UNEXPECTED, TENSOR_SHAPE,
    TENSOR_DTYPE, CHECKPOINT_UNPINNED, CHECKPOINT_CHANGED.
    """
    if not directory.is_dir():
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, place=directory.name)
    _require_no_code(directory)
    _require_license(directory)
    config = read_config(directory)
    tensors = headers.read_tensors(directory)
    layout.verify(config, tensors)
    dtype = _require_one_type(config, tensors)
    return Checked(
        tensors=len(tensors),
        parameters=sum(math.prod(shape) for shape in layout.expected_shapes(config).values()),
        bytes=sum(entry.end - entry.begin for entry in tensors.values()),
        dtype=dtype,
        quantised=layout.is_fp4(tensors),
        digest=_require_pinned(directory, manifest or directory / MANIFEST) if digests else "",
    )


def check_adapter(directory: Path, *, manifest: Path | None = None) -> str:
    """Verify the directory of an adapter: nothing in it can carry code, its tensors are whole, and every file is the
    pinned one. Returns the SHA-256 of its manifest.

    Raises ConfigurationError: CHECKPOINT_MISSING, CHECKPOINT_CODE, CHECKPOINT_CONFIG, CHECKPOINT_CORRUPT,
    CHECKPOINT_TRUNCATED, CHECKPOINT_UNPINNED, CHECKPOINT_CHANGED.
    """
    _require_sound_adapter(directory)
    return _require_pinned(directory, manifest or directory / MANIFEST)


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter and no checkpoint of its own."""
    return (directory / ADAPTER_CONFIG).is_file() and not (directory / headers.CONFIG).exists()


def pin(directory: Path, manifest: Path | None = None) -> Path:
    """Write the manifest of a checkpoint, or an adapter, that is sound otherwise, and return its path.

    Raises what `check` or `check_adapter` raises but for digests, and ConfigurationError(OUTPUT_UNWRITABLE).
    """
    if is_adapter(directory):
        _require_sound_adapter(directory)
    else:
        check(directory, digests=False)
    path = manifest or directory / MANIFEST
    content = {"version": MANIFEST_VERSION, "files": {name: _described(directory / name) for name in _files(directory)}}
    try:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.name) from None
    return path


def _require_sound_adapter(directory: Path) -> None:
    if not directory.is_dir():
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, place=directory.name)
    _require_no_code(directory)
    require_adapter(directory)


def _require_no_code(directory: Path) -> None:
    for name in _files(directory):
        if Path(name).suffix.lower() in CODE_SUFFIXES:
            raise ConfigurationError(Reason.CHECKPOINT_CODE, place=name)


def _require_license(directory: Path) -> None:
    found = [path for path in directory.iterdir() if any(word in path.name.lower() for word in LICENSE_WORDS)]
    if not any(path.is_file() and path.stat().st_size > 0 for path in found):
        raise ConfigurationError(Reason.CHECKPOINT_LICENSE, place=directory.name)


def _require_one_type(config: Any, tensors: dict[str, headers.TensorEntry]) -> str:
    """All weights are of one type, the configuration's where it names one. The frequencies may be more exact."""
    names = [name for name in layout.expected_shapes(config) if not name.endswith("inv_freq")]
    found = {tensors[name].dtype for name in names if name + layout.FP4_STATE not in tensors}
    said = str(config.dtype).removeprefix("torch.") if config.dtype is not None else None
    if len(found) != 1 or said not in (None, *(_TYPE_NAMES[one] for one in found)):
        raise ConfigurationError(Reason.TENSOR_DTYPE, place=headers.CONFIG, types=len(found))
    return _TYPE_NAMES[found.pop()]


def _require_pinned(directory: Path, manifest: Path) -> str:
    """Every file is in the manifest with its length and digest, and every file of the manifest is there."""
    if not manifest.is_file():
        raise ConfigurationError(Reason.CHECKPOINT_UNPINNED, place=manifest.name)
    content = headers.read_json(manifest, Reason.CHECKPOINT_UNPINNED)
    pinned = content.get("files")
    if content.get("version") != MANIFEST_VERSION or not isinstance(pinned, dict) or not pinned:
        raise ConfigurationError(Reason.CHECKPOINT_UNPINNED, place=manifest.name)
    present = set(_files(directory))
    if present != set(pinned):
        raise ConfigurationError(Reason.CHECKPOINT_CHANGED, place=min(present ^ set(pinned)))
    # Lengths first: they cost nothing, and a cut file need not be read.
    for name in sorted(pinned, key=lambda name: (directory / name).stat().st_size):
        if _described(directory / name) != pinned[name]:
            raise ConfigurationError(Reason.CHECKPOINT_CHANGED, place=name)
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def _files(directory: Path) -> Iterator[str]:
    """Every file below the directory but the manifest and what a download leaves behind, sorted."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != MANIFEST and not name.startswith((".git/", ".cache/")):
            yield name


def _described(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name) from None
