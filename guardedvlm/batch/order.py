"""What the guards on Ray must know, in a private file of the batch's folder: Ray itself carries its path, and names.

A question, settings or a file name never is an argument, an object or an environment variable of Ray.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from guardedvlm.batch.manifest import Wanted
from guardedvlm.config import Settings
from guardedvlm.core.private_file import replace
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.model import Policy

ORDER, STOP = "order.json", "stop"
"""In the batch's state: what the guards must know; a file that is there while none may begin a document."""


@dataclass(frozen=True, slots=True)
class Order:
    """One batch as its guards get it. `state` is the folder of the batch's state, on storage that all of them have."""

    state: Path
    settings: Settings
    policy: Path
    policy_digest: str
    wanted: Wanted = field(repr=False)
    caller: str
    concurrency: int
    receipts: bool

    def write(self) -> Path:
        """Put it into the state's folder; where it is. Raises OSError."""
        said = {
            "settings": json.loads(self.settings.model_dump_json()),
            "policy": str(self.policy),
            "policy_digest": self.policy_digest,
            "wanted": asdict(self.wanted),
            "caller": self.caller,
            "concurrency": self.concurrency,
            "receipts": self.receipts,
        }
        replace(self.state / ORDER, json.dumps(said).encode())
        return self.state / ORDER

    @classmethod
    def read(cls, path: Path) -> Order:
        """Inverse of `write`. Raises ConfigurationError(SETTINGS_INVALID)."""
        try:
            said = json.loads(path.read_bytes())
            settings = Settings.model_validate(said.pop("settings"))
            wanted, policy = Wanted(**said.pop("wanted")), Path(said.pop("policy"))
            return cls(state=path.parent, settings=settings, wanted=wanted, policy=policy, **said)
        except (OSError, ValueError, TypeError, KeyError):
            raise ConfigurationError(Reason.SETTINGS_INVALID, place=ORDER) from None

    def load_policy(self) -> Policy:
        """The policy, which is the one that the batch began with. Raises ConfigurationError."""
        policy = load_policy(self.policy)
        if policy.digest() != self.policy_digest:
            raise ConfigurationError(Reason.POLICY_INVALID, place=self.policy.name, explanation="changed meanwhile")
        return policy

    @property
    def asks_as(self) -> Caller:
        """The person who started the batch."""
        return Caller("local", self.caller, frozenset({Role.CALLER}))


def member_settings(settings: Settings, member: str) -> Settings:
    """The settings of one guard among several: whatever has one writer is its own."""
    changes: dict[str, object] = {"ledger": settings.ledger / member}
    if settings.tail.state is not None:
        changes["tail"] = settings.tail.model_copy(update={"state": settings.tail.state / member})
    if (file := settings.checkpoints.file) is not None:
        changes["checkpoints"] = settings.checkpoints.model_copy(
            update={"file": file.with_name(f"{file.name}.{member}")}
        )
    return settings.model_copy(update=changes)
