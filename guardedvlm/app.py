"""The composition root: the one place that knows both zones and wires them.

`running_guard` holds everything of one guard process, started in order and stopped in reverse; `serve` puts the gRPC
edge in front of it, and the command line uses it without one. `serve_inference` runs an engine in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

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
from guardedvlm.config import EMBEDDED, Attention, InferenceEngine, InferenceSettings, Settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Backend, Engine
from guardedvlm.errors import Reason, Refused, Unavailable
from guardedvlm.evidence import AUDIT_KEY, evidence_signer, make_telemetry, open_logs, private_folder, sample_store
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.run import Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.inference.clearance import ClearanceChecker
from guardedvlm.inference.host import EngineHost
from guardedvlm.inference.reader import ReaderEngine, reader_worker_spec
from guardedvlm.inference.server import SERVICE as INFERENCE
from guardedvlm.inference.server import InferenceServer
from guardedvlm.inference.service import InferenceService
from guardedvlm.inference.vllm_engine import require_vllm
from guardedvlm.policy.issued import FILE_NAME as ISSUED
from guardedvlm.policy.issued import Issued
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc.calls import Calls
from guardedvlm.rpc.readiness import Check, Readiness
from guardedvlm.rpc.reload import PolicyWatch
from guardedvlm.rpc.server import CANARY, POLICIES, SERVICE, GuardServer
from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.clearance_key import key_id, load_or_create_signing_key, load_public_keys, read_public_key
from guardedvlm.transport.listen import connection_options
from guardedvlm.transport.reload import TRUST, Reloads
from guardedvlm.trust import Trust, client_credentials, server_certificate, watched_certificate
from guardedvlm.worker import Worker, harden_process

if TYPE_CHECKING:
    from guardedvlm.inference.vllm_engine.engine import VLLMEngine

T = TypeVar("T")

START_SECONDS = 120.0
"""Asking every fresh worker for its weights' digests; it has just loaded them."""
WATCH_SECONDS = 1.0
"""How often readiness follows the health of the ledger, or of the engine."""
SCOPE_KEY_BYTES = 32
"""The output length of SHA-256 (RFC 2104, section 3)."""


def default_policies() -> Path:
    """The policies that ship with the product. In a checkout a link to `policies`, which a wheel has as a folder."""
    return Path(__file__).parent / "_policies"


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
async def running_guard(settings: Settings, engine: Engine | None = None) -> AsyncIterator[Guard]:
    """Start the guard, give its parts, stop it. `engine` answers instead of the one that the settings name. Raises
    GuardedVLMError."""
    harden_process()
    async with AsyncExitStack() as parts:
        key = load_or_create_key(private_folder(settings.keys) / AUDIT_KEY)
        origin = key.pseudonym(Purpose.REPLICA, socket.gethostname())
        evidence = evidence_signer(settings, parts)
        ledger = open_logs(settings, origin, evidence, parts)
        telemetry = make_telemetry(settings, origin)
        parts.callback(telemetry.shutdown)
        roles = Roles(
            settings.replicas,
            str(settings.spacy_model or ""),
            settings.spacy_model_sha256 or "",
            settings.canary_seconds,
        )
        admission = settings.admission
        gate = Gate(admission.concurrency or 2 * settings.replicas, admission.queue, admission.queue_mebibytes)
        calls = Calls(roles.waiting, gate)
        telemetry.watch(ledger, calls)
        parts.callback(roles.stop)
        # Loading weights is most of the start: the guard's workers and the embedded engine load side by side.
        loading = asyncio.to_thread(roles.start)
        signer, backend = await _both(_inference(settings, parts, engine), loading)
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
        server = GuardServer(service, with_reflection=settings.reflection, connections=connections)
        await asyncio.to_thread(_prepare, guard.ledger, policies)
        watch = PolicyWatch(policies, guard.ledger.service)
        reports = {POLICIES: watch.look, CANARY: canary_check(guard.roles.canary), TRUST: trust_check(trust)}
        readiness = Readiness(server.health, SERVICE, _checks(guard), reports)
        await guard.roles.canary.look()
        try:
            started.set_result(await server.start(listeners, settings.health_listen))
            async for _ in _ticks(stop):
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


async def serve_inference(settings: InferenceSettings, stop: asyncio.Event, started: asyncio.Future[int]) -> None:
    """Serve an engine until `stop` is set; `started` gets the port when calls are answered. Raises GuardedVLMError."""
    harden_process()
    keys = load_public_keys(settings.guard_keys)
    certificate = server_certificate(settings.tls)
    credentials = certificate.credentials() if certificate else None
    reloads = Reloads([watched_certificate(certificate)] if certificate else ())
    async with AsyncExitStack() as parts:
        engine, is_alive = await _engine(settings, parts)
        host = EngineHost(engine, ClearanceChecker(keys, engine.capacity().audience))
        server = InferenceServer(InferenceService(host), engine.capacity().max_concurrent)
        try:
            started.set_result(await server.start(settings.listen, credentials, settings.health_listen))
            async for _ in _ticks(stop):
                await server.health.set_ready(INFERENCE, host.healthy and is_alive())
                if not is_alive():  # an engine that died stays dead: whoever started this process starts another
                    raise Unavailable(Reason.INFERENCE_UNAVAILABLE, engine=settings.engine.value)
                await reloads.look()
        finally:
            await server.stop(settings.drain_seconds)


async def _ticks(stop: asyncio.Event) -> AsyncIterator[None]:
    """At once and then every WATCH_SECONDS, until `stop` is set."""
    while not stop.is_set():
        yield
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_SECONDS)


async def _inference(
    settings: Settings, parts: AsyncExitStack, engine: Engine | None
) -> tuple[ClearanceSigner, Backend]:
    """The given engine, or the one that the settings name, and the signer whose clearances it takes."""
    if engine is not None or settings.inference == EMBEDDED:
        return await asyncio.to_thread(lambda: _local(engine or _reader(parts)))
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


async def _engine(settings: InferenceSettings, parts: AsyncExitStack) -> tuple[Engine, Callable[[], bool]]:
    """The engine, and whether what it runs on still lives."""
    if settings.engine is InferenceEngine.VLLM:
        vllm = await _vllm(settings, parts)
        return vllm, lambda: vllm.alive
    if settings.model is None:
        return await asyncio.to_thread(_reader, parts), lambda: True
    return await asyncio.to_thread(_transformers, settings, settings.model, parts), lambda: True


def _transformers(settings: InferenceSettings, model: Path, parts: AsyncExitStack) -> Engine:
    # torch and transformers are loaded here and nowhere else in this process's life.
    from guardedvlm.inference.cogvlm2.engine import CogVLM2Engine
    from guardedvlm.inference.cogvlm2.model import COMPILE_BACKEND, Loading, Model

    loading = Loading(
        model,
        settings.manifest,
        adapter=settings.adapter,
        attention=settings.attention or Attention.SDPA,
        offload=settings.offload,
        compile_backend=COMPILE_BACKEND if settings.compiled else "",
    )
    engine = CogVLM2Engine(Model(loading))
    parts.callback(engine.close)
    return engine


async def _vllm(settings: InferenceSettings, parts: AsyncExitStack) -> VLLMEngine:
    require_vllm()
    from guardedvlm.inference.vllm_engine.engine import VLLMEngine
    from guardedvlm.inference.vllm_engine.loading import MAX_SEQUENCES, MEMORY_SHARE, Loading, load

    assert settings.model is not None  # the settings' own check
    loading = Loading(
        settings.model,
        settings.manifest,
        tensor_parallel_size=settings.tensor_parallel_size,
        max_model_len=settings.max_model_len,
        memory_share=settings.gpu_memory_utilization or MEMORY_SHARE,
        kv_cache_bytes=settings.kv_cache_bytes,
        max_sequences=settings.max_num_seqs or MAX_SEQUENCES,
        eager=settings.eager,
    )
    engine = VLLMEngine(await load(loading))
    parts.callback(engine.close)
    return engine


def _reader(parts: AsyncExitStack) -> ReaderEngine:
    worker = Worker(reader_worker_spec())
    parts.callback(worker.stop)
    worker.start()
    return ReaderEngine(worker)


def _signer(private: Ed25519PrivateKey) -> ClearanceSigner:
    """Scopes are keyed anew at each start: nothing that an engine cached for an earlier guard is found again."""
    return ClearanceSigner(private, key_id(private.public_key()), secrets.token_bytes(SCOPE_KEY_BYTES))
