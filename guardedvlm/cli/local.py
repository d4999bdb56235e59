"""The guard in this process: the same pipeline as the service's, without a server; and the way to one that is named."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.app import default_policies, running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.audit.receipt import Closed
from guardedvlm.cli.files import LocalReceipt, receipted
from guardedvlm.cli.output import err
from guardedvlm.cli.progress import asking
from guardedvlm.client import Client
from guardedvlm.config import Settings, load_settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Sampling
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Watcher
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.load import FILE_NAME, load_policy
from guardedvlm.policy.model import Policy
from guardedvlm.policy.signature import Use, check_signature
from guardedvlm.policy.store import CANDIDATE_NAME
from guardedvlm.transport.clearance_key import read_public_key
from guardedvlm.transport.reidentification import read_public

CALL_SECONDS = 120.0
"""Of a call to a service, unless said."""


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


def connected(
    server: str,
    token_file: Path | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    timeout: float = CALL_SECONDS,
) -> Client:
    """A client of the service at `server`; close it. Raises ConfigurationError(INPUT_UNREADABLE)."""
    try:
        token = token_file.read_text().strip() if token_file else ""
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place="--token-file") from None
    return Client(server, token=token, ca=ca, certificate=certificate, key=key, timeout=timeout)


def read_document(path: Path, policy: Policy) -> RawImage:
    """A file's bytes, no more than the policy takes. Raises InvalidInput."""
    try:
        with path.open("rb") as stream:
            return RawImage(stream.read(policy.limits.max_bytes + 1))
    except OSError:
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


def local_caller(*roles: Role) -> Caller:
    """The person at this terminal."""
    name = re.sub(r"[^a-z0-9-]", "-", getpass.getuser().lower())
    return Caller("local", name, frozenset(roles))


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
    return GuardRequest(
        local_caller(Role.CALLER, Role.REIDENTIFY),
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


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A document, the policy that it is under, and a pipeline of this process for it."""

    pipeline: Pipeline
    policy: Policy
    raw: RawImage
    watcher: Watcher
    receipt: LocalReceipt

    def request(self, method: Method, *, want_image: bool, seal_for: Path | None = None) -> GuardRequest:
        """A request about it. Raises ConfigurationError(SETTINGS_INVALID)."""
        return local_request(
            self.raw,
            self.policy,
            method,
            want_image=want_image,
            seal_for=seal_for,
            watcher=self.watcher,
            closed=self.receipt.note,
        )

    @property
    def sampling(self) -> Sampling:
        """As long an answer as the policy allows."""
        return Sampling(max_tokens=self.policy.say.max_tokens)


@asynccontextmanager
async def local_document(
    path: Path, policy_name: str, config: Path | None, ledger: Path | None, receipt: Path | None
) -> AsyncIterator[LocalDocument]:
    """A document to be asked about in this process, with its progress on the terminal, and its receipt in `receipt`.

    Raises ConfigurationError and InvalidInput before any detector is loaded; Unavailable(EVIDENCE_UNSIGNED).
    """
    settings = local_settings(config, ledger)
    policy = find_policy(policy_name, settings)
    raw = read_document(path, policy)
    async with AsyncExitStack() as parts:
        with err.status("loading the detectors"):
            guard = await parts.enter_async_context(running_guard(settings))
        made = await parts.enter_async_context(receipted(guard, raw, receipt))
        yield LocalDocument(guard.pipeline, policy, raw, parts.enter_context(asking(path.name)), made)


@asynccontextmanager
async def local_pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    """A started pipeline."""
    async with running_guard(settings) as guard:
        yield guard.pipeline
