"""What the readiness of a guard stands on: each part of it as a question that `rpc.readiness` asks every second."""

from __future__ import annotations

import asyncio
import time

from guardedvlm.audit.logs import Logs
from guardedvlm.audit.otel import Telemetry
from guardedvlm.audit.signer import EvidenceSigner, is_ready
from guardedvlm.guard.canary import Canary
from guardedvlm.guard.review import Reviews
from guardedvlm.rpc.readiness import Check
from guardedvlm.trust import Trust

SWEEP_SECONDS = 60.0
"""Between two sweeps of the samples; what has expired is not readable before either."""


class Sweeper:
    """Destroys samples that have expired, every SWEEP_SECONDS at most."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews
        self._due = 0.0

    async def look(self) -> bool:
        """Sweep if it is due; False where sweeps fail again and again."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SWEEP_SECONDS
            await self._reviews.sweep()
        return self._reviews.healthy


def ledger_check(ledger: Logs) -> Check:
    """Whether every log can be written; what failed is tried again."""

    async def is_written() -> bool:
        return ledger.healthy or await ledger.probe()

    return is_written


def signer_check(signer: EvidenceSigner) -> Check:
    """Whether evidence can be signed."""

    async def is_signed() -> bool:
        return await asyncio.to_thread(is_ready, signer)

    return is_signed


def telemetry_check(telemetry: Telemetry) -> Check:
    """Whether the ledger is delivered within the bound."""

    async def is_told() -> bool:
        return not await asyncio.to_thread(telemetry.is_behind)

    return is_told


def canary_check(canary: Canary) -> Check:
    """Whether every detector found the canary the last time; a look that is due begins."""

    async def is_seen() -> bool:
        canary.turn()
        return canary.healthy

    return is_seen


def trust_check(trust: Trust) -> Check:
    """Whether certificates, tenants and keys are the newest ones; what has changed is taken over."""

    async def is_believed() -> bool:
        await trust.look()
        return not any(trust.broken().values())

    return is_believed
