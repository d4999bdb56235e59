"""`guardedvlm serve` and `guardedvlm serve-inference`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from guardedvlm.audit.otel import Otel
from guardedvlm.cli.output import err
from guardedvlm.config import Attention, InferenceEngine, Settings, inference_settings, load_settings
from guardedvlm.inference_app import serve_inference as run_inference

SIGNALLED = 128
"""Exit code of a process that a signal ended, less the signal's number."""


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings file (YAML).", exists=True, dir_okay=False)],
    listen: Annotated[str | None, typer.Option(help="HOST:PORT or unix:PATH of the service.")] = None,
    health_listen: Annotated[str | None, typer.Option(help="HOST:PORT of grpc.health.v1.")] = None,
    inference: Annotated[
        str | None, typer.Option(help="embedded, or unix:PATH or HOST:PORT of serve-inference.")
    ] = None,
    policy_key: Annotated[
        Path | None, typer.Option(help="Public key by which every policy must be signed.", dir_okay=False)
    ] = None,
    otel: Annotated[Otel | None, typer.Option(help="Where spans and metrics go.")] = None,
    otlp_endpoint: Annotated[str | None, typer.Option(help="Collector, http(s)://HOST:PORT (gRPC).")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="Worker processes of each detector role.")] = None,
    reflection: Annotated[
        bool | None, typer.Option("--reflection/--no-reflection", help="gRPC server reflection.")
    ] = None,
) -> None:
    """Serve the guarded path over gRPC until SIGTERM or Ctrl-C; running calls may finish.

    Every setting can also stand in the file or in a GUARDEDVLM_* variable.

    Example:

        guardedvlm serve --config site/guardedvlm.yaml --otel otlp --otlp-endpoint http://127.0.0.1:4317
    """
    settings = load_settings(
        config,
        listen=listen,
        health_listen=health_listen,
        inference=inference,
        policy_key=str(policy_key.resolve()) if policy_key else None,
        otel=otel,
        otlp_endpoint=otlp_endpoint,
        replicas=replicas,
        reflection=reflection,
    )
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from guardedvlm.app import serve as run_service  # the guard, which a machine for inference does not have

    err.print("loading the detectors")
    await _until_stopped(
        lambda stop, started: run_service(settings, stop, started),
        f"ready at {settings.listen}, health at {settings.health_listen}",
    )


def serve_inference(
    listen: Annotated[str, typer.Option(help="unix:PATH or HOST:PORT of the service.")],
    guard_key: Annotated[
        list[Path], typer.Option(help="Public key of a guard that may ask (its keys/clearance.pub).", dir_okay=False)
    ],
    engine: Annotated[InferenceEngine, typer.Option(help="What answers.")] = InferenceEngine.READER,
    model: Annotated[Path | None, typer.Option(help="Checkpoint directory (not for reader).", file_okay=False)] = None,
    manifest: Annotated[Path | None, typer.Option(help="Its pinned digests, when not beside it.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Directory of a LoRA adapter.", file_okay=False)] = None,
    attention: Annotated[Attention | None, typer.Option(help="How attention is computed; sdpa if not said.")] = None,
    offload: Annotated[bool, typer.Option("--offload", help="Keep the model's visual experts in host memory.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Decode as one compiled graph (CUDA graphs on a GPU).")
    ] = False,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="vllm: GPUs that share each layer; 1 if not said.")
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(min=1, help="vllm: tokens of prompt and answer, the picture's included.")
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(help="vllm: share of each GPU's memory (0.9), without a GPU of the machine's.")
    ] = None,
    kv_cache_memory: Annotated[
        str | None, typer.Option(help="vllm: memory of the KV cache (40GiB), instead of what the share leaves.")
    ] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="vllm: answers made at the same time (16).")] = None,
    eager: Annotated[bool, typer.Option("--eager", help="vllm: no compiled graphs; it starts sooner.")] = False,
    health_listen: Annotated[str | None, typer.Option(help="HOST:PORT of grpc.health.v1.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate of this server (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="CA of the guards' certificates (PEM).")] = None,
) -> None:
    """Serve an engine in a process of its own: it takes pixels with a guard's signature, and no others.

    Beyond this machine (any listen address but unix:PATH and localhost) mutual TLS is demanded.

    Example:

        guardedvlm serve-inference --engine transformers --model /models/cogvlm2 \\
            --listen unix:/run/guardedvlm/engine.sock --guard-key site/keys/clearance.pub
    """
    if (tls_certificate is None) != (tls_key is None) or (client_ca is not None and tls_certificate is None):
        raise typer.BadParameter("--tls-certificate and --tls-key belong together, and --client-ca to both")
    tls = {"certificate": tls_certificate, "key": tls_key, "client_ca": client_ca} if tls_certificate else None
    settings = inference_settings(
        listen=listen,
        health_listen=health_listen,
        engine=engine,
        model=model,
        manifest=manifest,
        adapter=adapter,
        attention=attention,
        offload=offload or None,
        compiled=compiled or None,
        tensor_parallel_size=tensor_parallel_size,
        max_model_len=max_model_len,
        gpu_memory_utilization=gpu_memory_utilization,
        kv_cache_bytes=_bytes(kv_cache_memory),
        max_num_seqs=max_num_seqs,
        eager=eager or None,
        guard_keys=tuple(guard_key),
        tls=tls,
    )
    err.print("loading the engine")
    ready = f"ready at {settings.listen}, health at {settings.health_listen}"
    asyncio.run(_until_stopped(lambda stop, started: run_inference(settings, stop, started), ready))


def _bytes(size: str | None) -> int | None:
    """Bytes of "40GiB"."""
    if size is None:
        return None
    from guardedvlm.cogvlm2.plan import parsed_bytes  # loads transformers

    try:
        return parsed_bytes(size)
    except ValueError:
        raise typer.BadParameter("a size such as 24GiB or 80GB", param_hint="--kv-cache-memory") from None


async def _until_stopped(
    run: Callable[[asyncio.Event, asyncio.Future[Any]], Coroutine[Any, Any, None]], ready: str
) -> None:
    """Run a service until SIGTERM or Ctrl-C; say when it is ready and when it has stopped. The second signal ends it at
    once."""
    stop = asyncio.Event()
    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stop, number)
    service = asyncio.ensure_future(run(stop, started))
    waited: list[asyncio.Future[Any]] = [service, started]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if started.done():
        err.print(ready)
    await service
    err.print("stopped")


def _stop(stop: asyncio.Event, number: int) -> None:
    """Ask for the end. Whoever asks again gets it: the workers end with this process, what is in the ledger is durable,
    and requests that ran are unfinished there."""
    if stop.is_set():
        err.print("ended at once")
        os._exit(SIGNALLED + number)
    err.print("stopping; running calls may finish")
    stop.set()
