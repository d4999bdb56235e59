"""`guardedvlm serve`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from guardedvlm.app import serve as run_service
from guardedvlm.audit.otel import Otel
from guardedvlm.cli.output import err
from guardedvlm.config import Settings, load_settings


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings file (YAML).", exists=True, dir_okay=False)],
    listen: Annotated[str | None, typer.Option(help="HOST:PORT or unix:PATH of the service.")] = None,
    health_listen: Annotated[str | None, typer.Option(help="HOST:PORT of grpc.health.v1.")] = None,
    inference: Annotated[str | None, typer.Option(help="embedded")] = None,
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
        otel=otel,
        otlp_endpoint=otlp_endpoint,
        replicas=replicas,
        reflection=reflection,
    )
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    started: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    err.print("loading the detectors")
    service = asyncio.ensure_future(run_service(settings, stop, started))
    waited: list[asyncio.Future[Any]] = [service, started]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if started.done():
        err.print(f"ready at {settings.listen}, health at {settings.health_listen}")
    await service
    err.print("stopped")
