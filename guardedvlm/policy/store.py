"""The policies of a folder by name: `<folder>/<name>/policy.yaml`, and beside it, where there is one, `candidate.yaml`.

Complete or not there: at start one broken file is an error. On reload every valid file takes effect at once, in one
swap, and a broken one leaves the policy that was in force; a broken candidate is none. A name whose folder was removed
has no policy any more, and requests for it are refused. A request holds the Policy that it began with. With a key, a
file that is not signed by it is a broken one (`policy.signature`), and so is one that was issued before the one that
was in force last (`policy.issued`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardedvlm.errors import ConfigurationError, Reason, Refused
from guardedvlm.policy.document import Problems
from guardedvlm.policy.extend import BASES
from guardedvlm.policy.issued import Issued
from guardedvlm.policy.load import FILE_NAME, examine_file
from guardedvlm.policy.model import Policy
from guardedvlm.policy.signature import SUFFIX, Use, check_signature, key_id

CANDIDATE_NAME = "candidate.yaml"
"""A policy that is tried on the requests of its name and acts on nothing (guard.shadow)."""
MAX_POLICIES = 1_000
"""A record names all that are in force (audit.facts)."""
Print: TypeAlias = frozenset[tuple[str, int, int, int]]
"""Path, inode, size and time of every file that a policy is made of: another print, other files."""


@dataclass(frozen=True, slots=True)
class Held:
    """What stands under one name: the policy in force and its candidate."""

    policy: Policy
    candidate: Policy | None = None

    @property
    def digests(self) -> tuple[str, str]:
        """Of both; "" without a candidate."""
        return self.policy.digest(), self.candidate.digest() if self.candidate else ""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signature a policy needs, and the record of what was issued when; without it the past is not looked at."""

    key: Ed25519PublicKey
    issued: Issued | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What the folder holds: names with a valid policy, all names, when signed ones were issued, and what is wrong."""

    valid: Mapping[str, Held]
    names: frozenset[str]
    issued: Mapping[tuple[str, Use], datetime]
    problems: Problems


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload did. `kept` names the policies that stay in force because their new file is broken."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: Problems = ()


class PolicyStore:
    """Policies by name. Safe to use from several threads."""

    def __init__(self, folder: Path, key: Ed25519PublicKey | None = None, issued: Issued | None = None) -> None:
        """Read every policy of `folder`; with `key` each must be signed by it, and not before what `issued` remembers.

        Raises ConfigurationError: the first problem of any of them.
        """
        self._folder = folder
        self._trust = Trust(key, issued) if key is not None else None
        self._lock = threading.Lock()
        self._loaded = self._seen = _print(folder)
        scan = _scan(folder, self._trust)
        if scan.problems:
            raise scan.problems[0]
        self._remember(scan)
        self._held = scan.valid

    @property
    def names(self) -> frozenset[str]:
        """Names of the policies in force."""
        return frozenset(self._held)

    def digests(self) -> dict[str, str]:
        """Digest of every policy in force by name."""
        return {name: held.policy.digest() for name, held in sorted(self._held.items())}

    def in_force(self) -> tuple[Policy, ...]:
        """Every policy in force, by name."""
        return tuple(held.policy for _, held in sorted(self._held.items()))

    @property
    def signer(self) -> str:
        """Id of the key by which every policy in force is signed; "" where unsigned ones are taken."""
        return key_id(self._trust.key) if self._trust is not None else ""

    def policy_for(self, name: str) -> Policy:
        """The policy `name`.

        Raises Refused: POLICY_MISSING where there is none, since without a policy nothing can be cleared, and
        POLICY_EXPIRED where what it stands on has expired since it was loaded.
        """
        return self.held(name).policy

    def held(self, name: str) -> Held:
        """The policy `name` and its candidate, of one moment. Raises as `policy_for`."""
        held = self._held.get(name)
        if held is None:
            raise Refused(Reason.POLICY_MISSING)
        if not held.policy.in_force(datetime.now(UTC).date()):
            raise Refused(Reason.POLICY_EXPIRED)
        return held

    def look(self) -> Reload | None:
        """Reload if the files have changed and stood still since the last look; None where there was nothing to do.

        A file that is being written is not read halfway: what was seen must be seen twice.
        """
        seen = _print(self._folder)
        settled, self._seen = seen == self._seen, seen
        return self.reload() if settled and seen != self._loaded else None

    def reload(self) -> Reload:
        """Read the folder again and swap; raises nothing. If the folder itself cannot be used, nothing changes."""
        with self._lock:
            before = self._held
            self._loaded = _print(self._folder)
            try:
                scan = _scan(self._folder, self._trust)
                self._remember(scan)
            except ConfigurationError as error:
                return Reload(kept=tuple(sorted(before)), problems=(error,))
            valid = scan.valid
            kept = {name: held for name, held in before.items() if name in scan.names and name not in valid}
            after = {**valid, **kept}
            self._held = MappingProxyType(after)
        changed = (name for name in valid.keys() & before.keys() if valid[name].digests != before[name].digests)
        return Reload(
            added=tuple(sorted(after.keys() - before.keys())),
            changed=tuple(sorted(changed)),
            removed=tuple(sorted(before.keys() - after.keys())),
            kept=tuple(sorted(kept)),
            problems=scan.problems,
        )

    def _remember(self, scan: Scan) -> None:
        """Before anything takes effect. Raises ConfigurationError(OUTPUT_UNWRITABLE)."""
        if self._trust is not None and self._trust.issued is not None:
            for (name, use), issued in scan.issued.items():
                self._trust.issued.take(name, use, issued)


def store_problems(folder: Path, key: Ed25519PublicKey | None = None, issued: Issued | None = None) -> Problems:
    """Everything that is wrong with any policy of `folder`; empty when a store would take it."""
    try:
        return _scan(folder, Trust(key, issued) if key is not None else None).problems
    except ConfigurationError as error:
        return (error,)


def _scan(folder: Path, trust: Trust | None) -> Scan:
    """What every policy folder holds. Raises ConfigurationError when `folder` is absent, empty or laid out wrongly."""
    try:
        # Names with a dot are editors' and Kubernetes' own (..data of a mounted ConfigMap).
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        raise _folder_error(folder, "the folder of policies cannot be read") from None
    for entry in entries:
        if entry.suffix in {".yaml", ".yml"} and not entry.is_dir():
            raise _folder_error(entry, f"belongs into a folder: {entry.stem}/{FILE_NAME}")
    folders = [entry for entry in entries if entry.is_dir() and entry.name != BASES]
    if not folders:
        raise _folder_error(folder, f"holds no policy (<name>/{FILE_NAME})")
    if len(folders) > MAX_POLICIES:
        raise _folder_error(folder, f"holds more than {MAX_POLICIES} policies; no record could name them")
    valid: dict[str, Held] = {}
    problems: list[ConfigurationError] = []
    issued: dict[tuple[str, Use], datetime] = {}
    for entry in folders:
        found = _policy_in(entry, Use.POLICY, trust, issued)
        candidate = _policy_in(entry, Use.CANDIDATE, trust, issued) if _has_candidate(entry) else None
        problems += (error for each in (found, candidate) if isinstance(each, tuple) for error in each)
        if isinstance(found, Policy):
            valid[entry.name] = Held(found, candidate if isinstance(candidate, Policy) else None)
    return Scan(MappingProxyType(valid), frozenset(entry.name for entry in folders), issued, tuple(problems))


def _has_candidate(folder: Path) -> bool:
    path = folder / CANDIDATE_NAME
    return path.exists() or path.is_symlink()


def _policy_in(
    folder: Path, use: Use, trust: Trust | None, issued: dict[tuple[str, Use], datetime]
) -> Policy | Problems:
    """The policy for a use, its moment in `issued`; or what is wrong with it."""
    path = folder / (FILE_NAME if use is Use.POLICY else CANDIDATE_NAME)
    document = examine_file(path)
    if isinstance(document, tuple):
        return document
    if document.value.name != folder.name:
        return (document.error(("name",), "name must be the name of the folder that the file lies in"),)
    if trust is not None:
        try:
            moment = check_signature(document.value, use, path, trust.key)
            if trust.issued is not None:
                trust.issued.check(folder.name, use, moment, f"{folder.name}/{path.name}{SUFFIX}")
        except ConfigurationError as error:
            return (error,)
        issued[folder.name, use] = moment
    return document.value


def _print(folder: Path) -> Print:
    """The files of every policy and base; what cannot be looked at is not there."""
    found = []
    for path in folder.glob("*/*"):
        if path.suffix not in {".yaml", SUFFIX}:
            continue
        try:
            state = path.stat()
        except OSError:
            continue
        found.append((f"{path.parent.name}/{path.name}", state.st_ino, state.st_size, state.st_mtime_ns))
    return frozenset(found)


def _folder_error(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.POLICY_MISSING, place=path.name, explanation=explanation)
