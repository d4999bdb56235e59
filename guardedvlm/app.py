"""The composition root: the one place that knows both zones and wires them.

`running_guard` holds everything of one guard process, started in order and stopped in reverse; `serve` puts the gRPC
edge in front of it, and the command line uses it without one. An engine in a process of its own is `inference_app`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardedvlm.admission import Gate
from guardedvlm.audit.digest import AuditKey, Purpose, load_or_create_key
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.otel import Telemetry
from guardedvlm.audit.receipt import Receipts
from guardedvlm.audit.signer import EvidenceSigner
from guardedvlm.backends.local import LocalBackend
from guardedvlm.backends.remote import RemoteBackend
from guardedvlm.checks import Sweeper, canary_check, ledger_check, signer_check, telemetry_check, trust_check
from guardedvlm.config import EMBEDDED, Settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Backend, Engine
from guardedvlm.errors import Refused
from guardedvlm.evidence import AUDIT_KEY, evidence_signer, make_telemetry, open_logs, private_folder, sample_store
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.run import Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.inference.clearance import ClearanceChecker
from guardedvlm.inference.host import EngineHost
from guardedvlm.inference_app import start_reader, ticks
from guardedvlm.policy.issued import FILE_NAME as ISSUED
from guardedvlm.policy.issued import Issued
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc.calls import Calls
from guardedvlm.rpc.readiness import Check, Readiness
from guardedvlm.rpc.reload import PolicyWatch
from guardedvlm.rpc.server import CANARY, POLICIES, SERVICE, GuardServer
from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.clearance_key import key_id, load_or_create_signing_key, read_public_key
from guardedvlm.transport.listen import connection_options
from guardedvlm.transport.reload import TRUST
from guardedvlm.trust import Trust, client_credentials
from guardedvlm.worker import harden_process

T = TypeVar("T")
LOG = logging.getLogger("guardedvlm")

START_SECONDS = 120.0
"""Asking every fresh worker for its weights' digests; it has just loaded them."""
SCOPE_KEY_BYTES = 32
"""The output length of SHA-256 (RFC 2104, section 3)."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The parts of one running guard that others use."""

    pipeline: Pipeline
    roles: Roles
    ledger: Logs
    key: AuditKey
    detectors: Mapping[str, str]  # name -> SHA-256 of weights
    signer: EvidenceSigner
    telemetry: Telemetry
    calls: Calls
    backend: Backend
    gate: Gate


@asynccontextmanager
async def running_guard(settings: Settings, engine: Engine | None = None, member: str = "") -> AsyncIterator[Guard]:
    """Start the guard, give its parts, stop it. `engine` answers instead of the one that the settings name; `member` is
    its name among several guards of one machine, whose ledgers are told apart by it. Raises GuardedVLMError."""
    harden_process()
    async with AsyncExitStack() as parts:
        key = load_or_create_key(private_folder(settings.keys) / AUDIT_KEY)
        origin = key.pseudonym(Purpose.REPLICA, socket.gethostname(), *([member] if member else []))
        evidence = evidence_signer(settings, parts)
        ledger = open_logs(settings, origin, evidence, parts)
        telemetry = make_telemetry(settings, origin)
        parts.callback(telemetry.shutdown)
        roles = Roles(
            settings.replicas,
            str(settings.spacy_model or ""),
            settings.spacy_model_sha256 or "",
            settings.canary_seconds,
            settings.sandbox,
        )
        admission = settings.admission
        gate = Gate(admission.concurrency or 2 * settings.replicas, admission.queue, admission.queue_mebibytes)
        calls = Calls(roles.waiting, gate)
        telemetry.watch(ledger, calls)
        parts.callback(roles.stop)
        # Loading weights is most of the start: the guard's workers and the embedded engine load side by side.
        loading = asyncio.to_thread(roles.start)
        signer, backend = await _both(_inference(settings, parts, engine), loading)
        if roles.unconfined:
            LOG.warning("no seccomp filter or no Landlock holds these workers: %s", ", ".join(roles.unconfined))
        detectors = await roles.weights(Deadline.after(START_SECONDS))
        witness = Witness(ledger, key, detectors, settings.traces)
        pipeline = Pipeline(roles, backend, signer, witness, sample_store(settings), roles.canary)
        parts.push_async_callback(roles.canary.close)
        parts.push_async_callback(pipeline.close)
        yield Guard(pipeline, roles, ledger, key, detectors, evidence, telemetry, calls, backend, gate)


def _prepare(logs: Logs, policies: PolicyStore) -> None:
    """Open the log of every policy that is in force: one that cannot be written stops the start."""
    for name in policies.names:
        with contextlib.suppress(Refused):  # it has expired, and so have its requests
            logs.prepare(policies.policy_for(name).audit.retention_days)


async def _both(first: Awaitable[T], second: Awaitable[object]) -> T:
    """The first's result when both are done. Raises what one of them raised, but not before the other has ended: what
    is being started cannot be stopped."""
    value, other = await asyncio.gather(first, second, return_exceptions=True)
    for result in (value, other):
        if isinstance(result, BaseException):
            raise result
    return cast(T, value)


async def serve(settings: Settings, stop: asyncio.Event, started: asyncio.Future[tuple[int, ...]]) -> None:
    """Serve until `stop` is set; `started` gets the ports when calls are answered. Raises GuardedVLMError."""
    policies = _policies(settings)
    trust = await Trust.load(settings, policies)
    listeners = trust.listeners()
    async with running_guard(settings) as guard:
        receipts = Receipts(guard.signer)
        service = GuardService(guard.pipeline, policies, trust.identities, guard.key, receipts, guard.calls, guard.gate)
        trust.watch(service.take_identities, guard.backend)
        guard.calls.broken = trust.broken
        connections = connection_options(*settings.connections.in_order())
        server = GuardServer(
            service,
            with_reflection=settings.reflection,
            connections=connections,
            most_calls=guard.gate.most_calls,
        )
        await asyncio.to_thread(_prepare, guard.ledger, policies)
        watch = PolicyWatch(policies, guard.ledger.service)
        reports = {POLICIES: watch.look, CANARY: canary_check(guard.roles.canary), TRUST: trust_check(trust)}
        readiness = Readiness(server.health, SERVICE, _checks(guard), reports)
        await guard.roles.canary.begin()
        try:
            started.set_result(await server.start(listeners, settings.health_listen))
            async for _ in ticks(stop):
                await readiness.look()
        finally:
            await server.stop(settings.drain_seconds)
            readiness.close()
            await trust.close()


def _checks(guard: Guard) -> dict[str, Check]:
    """What readiness needs, by the name that a log tells."""
    return {
        "ledger": ledger_check(guard.ledger),
        "signer": signer_check(guard.signer),
        "telemetry": telemetry_check(guard.telemetry),
        "review": Sweeper(guard.pipeline.reviews).look,
        "canary": canary_check(guard.roles.canary),
    }


def _policies(settings: Settings) -> PolicyStore:
    """The policies; with a key signed ones, and none that is older than one that was in force."""
    if settings.policy_key is None:
        return PolicyStore(settings.policies)
    issued = Issued(settings.policies_issued or private_folder(settings.keys) / ISSUED)
    return PolicyStore(settings.policies, read_public_key(settings.policy_key), issued)


async def _inference(
    settings: Settings, parts: AsyncExitStack, engine: Engine | None
) -> tuple[ClearanceSigner, Backend]:
    """The given engine, or the one that the settings name, and the signer whose clearances it takes."""
    if engine is not None or settings.inference == EMBEDDED:
        return await asyncio.to_thread(lambda: _local(engine or start_reader(parts)))
    private = load_or_create_signing_key(private_folder(settings.keys))
    tls = settings.inference_tls
    backend = RemoteBackend(settings.inference, client_credentials(tls) if tls is not None else None)
    parts.push_async_callback(backend.close)
    return _signer(private), backend


def _local(engine: Engine) -> tuple[ClearanceSigner, Backend]:
    # Guard and engine share this process's life: a key that is never written down is the safest one.
    private = Ed25519PrivateKey.generate()
    checker = ClearanceChecker({key_id(private.public_key()): private.public_key()}, engine.capacity().audience)
    return _signer(private), LocalBackend(EngineHost(engine, checker))


def _signer(private: Ed25519PrivateKey) -> ClearanceSigner:
    """Scopes are keyed anew at each start: nothing that an engine cached for an earlier guard is found again."""
    return ClearanceSigner(private, key_id(private.public_key()), secrets.token_bytes(SCOPE_KEY_BYTES))
