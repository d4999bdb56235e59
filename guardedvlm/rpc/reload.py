"""Policies that change while the service runs: taken over as a whole, written down, and told in health.

A request goes on with the policy that it began with. A broken file leaves the policy that was in force; health then
says NOT_SERVING for `guardedvlm.policies`, and the service itself goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.errors import Unavailable
from guardedvlm.policy.model import Policy
from guardedvlm.policy.store import PolicyStore, Reload

VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.\d{1,3})?\Z", re.ASCII)
"""A version that a record can hold (audit.facts); a longer one is not told."""
LOG = logging.getLogger("guardedvlm")


class PolicyWatch:
    """Looks at the policies' files when it is told to. Used from one task."""

    def __init__(self, policies: PolicyStore, ledger: Ledger) -> None:
        self._policies = policies
        self._ledger = ledger
        self._last = Reload()
        self._untold = True  # what is in force at the start is evidence, too

    async def look(self) -> bool:
        """Take over what has changed, and say whether every file is in force. Raises nothing that the files can cause;
        what cannot be written down now is written down at the next look."""
        found = await asyncio.to_thread(self._policies.look)
        if found is not None:
            self._last, self._untold = found, True
            for problem in found.problems:
                LOG.error("%s at %s: not taken; guardedvlm policy check says more", problem.reason, problem.place)
        if self._untold:
            await self._tell()
        return not self._last.problems

    async def _tell(self) -> None:
        facts: dict[str, Any] = {
            "policies": tuple(_told(policy, self._policies.signer) for policy in self._policies.in_force()),
            "policies_kept": self._last.kept,
            "policy_problems": len(self._last.problems),
        }
        try:
            await self._ledger.append(make_entry(LedgerEvent.POLICIES, None, facts))
        except Unavailable:
            return  # the service is not ready either; the next look tries again
        self._untold = False


def _told(policy: Policy, signer: str) -> dict[str, Any]:
    told: dict[str, Any] = {"name": policy.name, "digest": policy.digest()}
    if VERSION.match(policy.version):
        told["version"] = policy.version
    if signer:
        told["signer"] = signer
    if policy.change is not None:
        told["why"] = policy.change.why
    return told
