"""The composition root of a machine for inference, where no guard is installed: an engine behind its gRPC service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from guardedvlm.config import Attention, InferenceEngine, InferenceSettings
from guardedvlm.core.ports import Engine
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.inference.clearance import ClearanceChecker
from guardedvlm.inference.host import EngineHost
from guardedvlm.inference.reader import ReaderEngine, reader_worker_spec
from guardedvlm.inference.server import SERVICE as INFERENCE
from guardedvlm.inference.server import InferenceServer
from guardedvlm.inference.service import InferenceService
from guardedvlm.inference.vllm_engine import require_vllm
from guardedvlm.transport.clearance_key import load_public_keys
from guardedvlm.transport.reload import Reloads
from guardedvlm.trust import server_certificate, watched_certificate
from guardedvlm.worker import Worker, harden_process

if TYPE_CHECKING:
    from guardedvlm.inference.vllm_engine.engine import VLLMEngine

WATCH_SECONDS = 1.0
"""How often readiness follows the health of the ledger, or of the engine."""


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
            async for _ in ticks(stop):
                await server.health.set_ready(INFERENCE, host.healthy and is_alive())
                if not is_alive():  # an engine that died stays dead: whoever started this process starts another
                    raise Unavailable(Reason.INFERENCE_UNAVAILABLE, engine=settings.engine.value)
                await reloads.look()
        finally:
            await server.stop(settings.drain_seconds)


async def ticks(stop: asyncio.Event) -> AsyncIterator[None]:
    """At once and then every WATCH_SECONDS, until `stop` is set."""
    while not stop.is_set():
        yield
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_SECONDS)


async def _engine(settings: InferenceSettings, parts: AsyncExitStack) -> tuple[Engine, Callable[[], bool]]:
    """The engine, and whether what it runs on still lives."""
    if settings.engine is InferenceEngine.VLLM:
        vllm = await _vllm(settings, parts)
        return vllm, lambda: vllm.alive
    if settings.model is None:
        return await asyncio.to_thread(start_reader, parts), lambda: True
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


def start_reader(parts: AsyncExitStack) -> ReaderEngine:
    """The embedded engine, in a worker process that ends with `parts`."""
    worker = Worker(reader_worker_spec())
    parts.callback(worker.stop)
    worker.start()
    return ReaderEngine(worker)
