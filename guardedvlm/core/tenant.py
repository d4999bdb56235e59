"""Who calls, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do."""

    CALLER = "caller"  # analyse and redact
    REIDENTIFY = "reidentify"  # have labels undone, where the policy allows it; beside CALLER
    REVIEWER = "reviewer"  # read policies and evidence
    POLICY_ADMIN = "policy-admin"  # change policies


@dataclass(frozen=True, slots=True)
class Caller:
    """An identified caller. `name` is the operator's own name for it in the tenants file, never a caller's claim."""

    tenant: str
    name: str
    roles: frozenset[Role]
