"""What a batch is: one question, or one schema, under one policy. A folder goes on with no other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from guardedvlm.batch.key import BatchKey
from guardedvlm.core.private_file import replace
from guardedvlm.errors import ConfigurationError, Reason

VERSION = 1
_OWN = frozenset({"batch.json", "pages", "failures.parquet", "files.parquet", "receipts", ".state"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of every document: a question, or a JSON Schema of fields; not both."""

    question: str = ""
    schema: str = ""

    @property
    def text(self) -> str:
        """What of it a manifest tells, keyed."""
        return f"schema\x00{self.schema}" if self.schema else f"question\x00{self.question}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A batch as its folder names it: no question and no file name, and the policy by name and digest."""

    version: int
    asked: str  # keyed digest
    policy: str
    policy_digest: str

    @classmethod
    def of(cls, wanted: Wanted, policy: str, policy_digest: str, key: BatchKey) -> Manifest:
        """The manifest of a batch under the policy of that name."""
        return cls(VERSION, key.asked(wanted.text), policy, policy_digest)


def check_folder(folder: Path) -> None:
    """Raise ConfigurationError(OUTPUT_UNWRITABLE) for a folder that holds something that is no batch's."""
    try:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder)) from None
    if "batch.json" not in held and held - _OWN:
        explanation = "the folder holds something else; name a new one, or one that an earlier run made"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder), explanation=explanation)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a file, None where there is none. Raises ConfigurationError(INPUT_UNREADABLE)."""
    try:
        found = Manifest(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise _unreadable(path) from None
    if found.version != VERSION:
        raise _unreadable(path)
    return found


def keep_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest of a new batch, or see that the one that is there is the same.

    Raises ConfigurationError(OUTPUT_UNWRITABLE) for another question or policy, OSError.
    """
    before = read_manifest(path)
    if before is None:
        replace(path, json.dumps(asdict(manifest), indent=1).encode() + b"\n")
    elif before != manifest:
        other = "question or schema" if before.asked != manifest.asked else "policy, or another version of it"
        explanation = f"the batch in this folder has another {other}; name another folder"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.parent.name, explanation=explanation)


def _unreadable(path: Path) -> ConfigurationError:
    explanation = "is not the manifest of a batch, or one of another version"
    return ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation=explanation)
