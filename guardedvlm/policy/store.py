"""The policies of a folder by name: `<folder>/<name>/policy.yaml`.

Complete or not there: at start one broken file is an error. On reload every valid file takes effect at once, in one
swap, and a broken one leaves the policy that was in force. A name whose folder was removed has no policy any more, and
requests for it are refused. A request holds the Policy that it began with.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from guardedvlm.errors import ConfigurationError, Reason, Refused
from guardedvlm.policy.document import Problems
from guardedvlm.policy.extend import BASES
from guardedvlm.policy.load import FILE_NAME, examine_file
from guardedvlm.policy.model import Policy

Scan: TypeAlias = Mapping[str, Policy | Problems]
"""What each policy folder holds."""


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

    def __init__(self, folder: Path) -> None:
        """Read every policy of `folder`. Raises ConfigurationError: the first problem of any of them."""
        self._folder = folder
        self._lock = threading.Lock()
        policies, problems = _split(_scan(folder))
        if problems:
            raise problems[0]
        self._policies = policies

    @property
    def names(self) -> frozenset[str]:
        """Names of the policies in force."""
        return frozenset(self._policies)

    def policy_for(self, name: str) -> Policy:
        """The policy `name`.

        Raises Refused: POLICY_MISSING where there is none, since without a policy nothing can be cleared, and
        POLICY_EXPIRED where what it stands on has expired since it was loaded.
        """
        policy = self._policies.get(name)
        if policy is None:
            raise Refused(Reason.POLICY_MISSING)
        if not policy.in_force(datetime.now(UTC).date()):
            raise Refused(Reason.POLICY_EXPIRED)
        return policy

    def reload(self) -> Reload:
        """Read the folder again and swap; raises nothing. If the folder itself cannot be used, nothing changes."""
        with self._lock:
            before = self._policies
            try:
                scan = _scan(self._folder)
            except ConfigurationError as error:
                return Reload(kept=tuple(sorted(before)), problems=(error,))
            valid, problems = _split(scan)
            kept = {name: policy for name, policy in before.items() if name in scan and name not in valid}
            after = {**valid, **kept}
            self._policies = MappingProxyType(after)
        changed = (name for name in valid.keys() & before.keys() if valid[name].digest() != before[name].digest())
        return Reload(
            added=tuple(sorted(after.keys() - before.keys())),
            changed=tuple(sorted(changed)),
            removed=tuple(sorted(before.keys() - after.keys())),
            kept=tuple(sorted(kept)),
            problems=problems,
        )


def store_problems(folder: Path) -> Problems:
    """Everything that is wrong with any policy of `folder`; empty when a store would take it."""
    try:
        return _split(_scan(folder))[1]
    except ConfigurationError as error:
        return (error,)


def _scan(folder: Path) -> Scan:
    """What every policy folder holds. Raises ConfigurationError when `folder` is absent, empty or laid out wrongly."""
    try:
        # Names with a dot are editors' and Kubernetes' own (..data of a mounted ConfigMap).
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        raise _folder_error(folder, "the folder of policies cannot be read") from None
    for entry in entries:
        if entry.suffix in {".yaml", ".yml"} and not entry.is_dir():
            raise _folder_error(entry, f"belongs into a folder: {entry.stem}/{FILE_NAME}")
    found = {entry.name: _policy_in(entry) for entry in entries if entry.is_dir() and entry.name != BASES}
    if not found:
        raise _folder_error(folder, f"holds no policy (<name>/{FILE_NAME})")
    return found


def _policy_in(folder: Path) -> Policy | Problems:
    document = examine_file(folder / FILE_NAME)
    if isinstance(document, tuple):
        return document
    if document.value.name != folder.name:
        return (document.error(("name",), "name must be the name of the folder that the file lies in"),)
    return document.value


def _split(scan: Scan) -> tuple[Mapping[str, Policy], Problems]:
    valid: dict[str, Policy] = {}
    problems: list[ConfigurationError] = []
    for name, found in scan.items():
        if isinstance(found, Policy):
            valid[name] = found
        else:
            problems += found
    return MappingProxyType(valid), tuple(problems)


def _folder_error(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.POLICY_MISSING, place=path.name, explanation=explanation)
