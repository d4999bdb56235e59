"""Which settings and which policy a command is under."""

from __future__ import annotations

import os
from pathlib import Path

from guardedvlm.config import Settings, load_settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.load import FILE_NAME, load_policy
from guardedvlm.policy.model import Policy
from guardedvlm.policy.shipped import default_policies
from guardedvlm.policy.signature import Use, check_signature
from guardedvlm.policy.store import CANDIDATE_NAME
from guardedvlm.transport.clearance_key import read_public_key


def state_folder() -> Path:
    """Where keys and ledger of local use lie: $XDG_STATE_HOME/guardedvlm, by default ~/.local/state/guardedvlm."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "guardedvlm"


def local_settings(config: Path | None, ledger: Path | None) -> Settings:
    """The settings file's, or defaults in the state folder."""
    if config is not None:
        return load_settings(config, ledger=str(ledger.resolve()) if ledger else None)
    state = state_folder()
    review = {"folder": str(state / "review")}
    return load_settings(
        None, keys=str(state / "keys"), ledger=str((ledger or state / "ledger").resolve()), review=review
    )


def policy_file(name: str) -> Path:
    """The file of the policy of that name among those that ship, or that file, or the one in that folder.

    Raises ConfigurationError(POLICY_MISSING).
    """
    path = Path(name)
    for file in (path, path / FILE_NAME, default_policies() / name / FILE_NAME):
        if file.is_file():
            return file
    known = ", ".join(sorted(file.parent.name for file in default_policies().glob(f"*/{FILE_NAME}")))
    explanation = f"no such file or policy; there are {known}"
    raise ConfigurationError(Reason.POLICY_MISSING, place=name, explanation=explanation)


def find_policy(name: str, settings: Settings | None = None, key: Path | None = None) -> Policy:
    """The policy of that name among those that ship, or of that file or folder, signed where `settings` have a
    `policy_key` or there is a `key`. Raises ConfigurationError(POLICY_MISSING, POLICY_INVALID, POLICY_UNSIGNED,
    SETTINGS_INVALID)."""
    return signed_policy(policy_file(name), key or (settings.policy_key if settings is not None else None))


def signed_policy(file: Path, key: Path | None) -> Policy:
    """The policy of a file, with a `key` signed by it for the use that its name says. Raises as `find_policy`."""
    policy = load_policy(file)
    if key is not None:
        use = Use.CANDIDATE if file.name == CANDIDATE_NAME else Use.POLICY
        check_signature(policy, use, file, read_public_key(key))
    return policy
