"""The guard in this process, for `ask` and `redact`: the same pipeline as the service's, without a server."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from guardedvlm.app import default_policies, running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.audit.receipt import Closed
from guardedvlm.config import Settings, load_settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Watcher
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.load import FILE_NAME, load_policy
from guardedvlm.policy.model import Policy
from guardedvlm.policy.signature import Use, check_signature
from guardedvlm.transport.clearance_key import read_public_key
from guardedvlm.transport.reidentification import read_public


def state_folder() -> Path:
    """Where keys and ledger of local use lie: $XDG_STATE_HOME/guardedvlm, by default ~/.local/state/guardedvlm."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "guardedvlm"


def local_settings(config: Path | None, ledger: Path | None) -> Settings:
    """The settings file's, or defaults in the state folder."""
    if config is not None:
        return load_settings(config, ledger=str(ledger.resolve()) if ledger else None)
    state = state_folder()
    return load_settings(None, keys=str(state / "keys"), ledger=str((ledger or state / "ledger").resolve()))


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


def find_policy(name: str, settings: Settings | None = None) -> Policy:
    """The policy of that name among those that ship, or of that file or folder, signed where `settings` have a
    `policy_key`. Raises ConfigurationError(POLICY_MISSING, POLICY_INVALID, POLICY_UNSIGNED, SETTINGS_INVALID)."""
    file = policy_file(name)
    policy = load_policy(file)
    if settings is not None and settings.policy_key is not None:
        check_signature(policy, Use.POLICY, file, read_public_key(settings.policy_key))
    return policy


def read_document(path: Path, policy: Policy) -> RawImage:
    """A file's bytes, no more than the policy takes. Raises InvalidInput."""
    try:
        with path.open("rb") as stream:
            return RawImage(stream.read(policy.limits.max_bytes + 1))
    except OSError:
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


def local_request(
    raw: RawImage,
    policy: Policy,
    method: Method,
    *,
    want_image: bool,
    seal_for: Path | None = None,
    watcher: Watcher | None = None,
    closed: Callable[[Closed], None] | None = None,
) -> GuardRequest:
    """A request of the person at this terminal, who holds the document and may have its labels undone if the policy
    allows. `seal_for` is the file of a public key. Raises ConfigurationError(SETTINGS_INVALID)."""
    name = re.sub(r"[^a-z0-9-]", "-", getpass.getuser().lower())
    return GuardRequest(
        Caller("local", name, frozenset({Role.CALLER, Role.REIDENTIFY})),
        policy,
        raw,
        Deadline.after(policy.limits.max_seconds),
        method,
        want_image=want_image,
        want_strings=seal_for is not None,
        sealing_key=read_public(seal_for) if seal_for else None,
        watcher=watcher,
        closed=closed,
    )


@asynccontextmanager
async def local_pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    """A started pipeline."""
    async with running_guard(settings) as guard:
        yield guard.pipeline
