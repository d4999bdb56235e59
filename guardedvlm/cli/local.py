"""The guard in this process: the same pipeline as the service's, without a server; and the way to one that is named."""

from __future__ import annotations

import getpass
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.app import running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.audit.receipt import Closed
from guardedvlm.cli.files import LocalReceipt, receipted
from guardedvlm.cli.output import err
from guardedvlm.cli.progress import asking
from guardedvlm.cli.settings import find_policy, local_settings
from guardedvlm.client import Client
from guardedvlm.config import Settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Sampling
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Watcher
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.model import Policy
from guardedvlm.transport.reidentification import read_public

CALL_SECONDS = 120.0
"""Of a call to a service, unless said."""


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
