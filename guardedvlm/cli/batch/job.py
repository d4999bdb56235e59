"""What the command line of a batch says, and the terms of its policy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.batch.manifest import Wanted
from guardedvlm.batch.run import Limits
from guardedvlm.cli.local import connected
from guardedvlm.client import Client
from guardedvlm.config import Settings
from guardedvlm.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy of a batch, as far as it must be known here."""

    name: str
    digest: str
    max_bytes: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Where:
    """A running service, where one was named."""

    server: str
    token_file: Path | None
    ca: Path | None
    certificate: Path | None
    key: Path | None

    def connected(self, **timeout: float) -> Client:
        """A client of it."""
        return connected(self.server, self.token_file, self.ca, self.certificate, self.key, **timeout)


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line says."""

    wanted: Wanted
    output: Path
    concurrency: int
    receipts: bool
    ray: int | None  # guards on Ray
    limits: Limits
    where: Where | None
    settings: Settings
    policy: Policy | None  # None: the service's
    policy_place: str


def terms_of(job: Job) -> Terms:
    """The terms of the policy of `job`. Raises what the service raises."""
    if job.where is None:
        assert job.policy is not None
        limits = job.policy.limits
        return Terms(job.policy.name, job.policy.digest(), limits.max_bytes, limits.max_seconds)
    with job.where.connected() as client:
        told = client.policy()
    limits = json.loads(told.policy_json)["limits"]
    return Terms(told.name, told.digest, limits["max_bytes"], limits["max_seconds"])
