"""Marks that are made and not yet in the ledger: files beside the samples, of which the desk's next batch tells.

<sample>-<random>.pending   what a reviewer said, written before anything is done about it
<sample>.leaked             a leak that there was no space to write down: the sample's own file, renamed, its bytes
                            overwritten with what was said
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardedvlm.audit.record import Entry, LedgerEvent, make_entry
from guardedvlm.audit.review.store import SAMPLE, is_sample_name
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.core.finding import Kind
from guardedvlm.core.private_file import fsync_folder, replace
from guardedvlm.errors import GuardedVLMError

_PENDING, _LEAKED = ".pending", ".leaked"
_MOST_BYTES = 2**14
"""Of a mark; one with every kind has some 2000."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mark that is not recorded yet, and what is to be recorded: nothing of a file that holds no mark."""

    path: Path
    sample: str
    is_leak: bool
    entries: tuple[Entry, ...]


class PendingMarks:
    """Marks that wait in `folder`, the one of the samples."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, sample: str, facts: dict[str, Any]) -> None:
        """Write a mark down; returns when it is on disk. Raises OSError."""
        path = self._folder / f"{sample}-{secrets.token_hex(4)}{_PENDING}"
        replace(path, json.dumps(facts).encode("ascii"))

    def write_over(self, sample: str, facts: dict[str, Any]) -> bool:
        """Put a leak in the place of its sample, which needs no space and ends the sample under its name. False when
        the file has the name, but could not take what was said. Raises OSError when there is nothing to rename."""
        path = self._folder / (sample + _LEAKED)
        (self._folder / (sample + SAMPLE)).rename(path)
        content = json.dumps(facts).encode("ascii")
        try:
            fsync_folder(self._folder)
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                is_whole = os.write(descriptor, content) == len(content)
                os.ftruncate(descriptor, len(content))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return is_whole

    def list_waiting(self) -> list[Waiting]:
        """Marks that wait, by name."""
        paths = [*self._folder.glob(f"*{_PENDING}"), *self._folder.glob(f"*{_LEAKED}")]
        return [_read(path) for path in sorted(paths)]


def marked_entries(facts: dict[str, Any]) -> tuple[Entry, ...]:
    """What a mark puts on record: MARKED, and of a leak INCIDENT and, last, DESTROYED. Raises ValueError, KeyError or
    GuardedVLMError on facts that are no mark's."""
    kinds = tuple(Kind(kind) for kind in facts["kinds"])
    marked = make_entry(LedgerEvent.MARKED, None, {"marked": _typed(facts, kinds)})
    if facts["verdict"] != ReviewVerdict.LEAKED:
        return (marked,)
    incident = {name: facts[name] for name in ("sample", "of", "tenant", "policy")} | {"kinds": kinds}
    told = make_entry(LedgerEvent.INCIDENT, None, {"incident": incident})
    return (marked, told, *destroyed_entries([facts["sample"]], Destruction.LEAKED))


def destroyed_entries(samples: Sequence[str], cause: Destruction = Destruction.EXPIRED) -> list[Entry]:
    """That samples' keys are gone."""
    return [
        make_entry(LedgerEvent.DESTROYED, None, {"destroyed": {"sample": sample, "cause": cause}}) for sample in samples
    ]


def _read(path: Path) -> Waiting:
    """A mark that waits; of a file in a sample's place that does not say what was seen, the destruction alone."""
    with suppress(OSError, ValueError, KeyError, TypeError, GuardedVLMError):
        with path.open("rb") as stream:
            facts = json.loads(stream.read(_MOST_BYTES).decode("ascii"))
        return Waiting(path, facts["sample"], facts["verdict"] == ReviewVerdict.LEAKED, marked_entries(facts))
    sample = path.name.removesuffix(_LEAKED)
    if path.suffix == _LEAKED and is_sample_name(sample):
        return Waiting(path, sample, True, tuple(destroyed_entries([sample], Destruction.LEAKED)))
    return Waiting(path, "", False, ())


def _typed(facts: dict[str, Any], kinds: tuple[Kind, ...]) -> dict[str, Any]:
    typed = {"kinds": kinds, "verdict": ReviewVerdict(facts["verdict"]), "basis": Basis(facts["basis"])}
    return {**facts, **typed}
