"""The guard that is measured: the product's own pipeline with keys and ledger in a folder that goes away."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from guardedvlm.app import Guard, running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.config import load_settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Engine
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.model import Policy

CALLER = Caller("evaluation", "evaluation", frozenset({Role.CALLER}))


@asynccontextmanager
async def measured_guard(
    replicas: int = 1, engine: Engine | None = None, state: Path | None = None, otlp: str = ""
) -> AsyncIterator[Guard]:
    """A started guard. `engine` answers instead of the embedded reader; `state` holds keys and ledger and stays;
    telemetry goes to `otlp`, by default nowhere."""
    with tempfile.TemporaryDirectory() as folder:
        place = state or Path(folder)
        telemetry = {"otel": "otlp", "otlp_endpoint": otlp} if otlp else {}
        settings = load_settings(
            None, keys=str(place / "keys"), ledger=str(place / "ledger"), replicas=replicas, **telemetry
        )
        async with running_guard(settings, engine) as guard:
            yield guard


def request_of(content: bytes, policy: Policy, method: Method, *, want_image: bool) -> GuardRequest:
    """A request about a document, with all the time that the policy gives."""
    return GuardRequest(
        CALLER,
        policy,
        RawImage(content),
        Deadline.after(policy.limits.max_seconds),
        method,
        want_image=want_image,
    )
