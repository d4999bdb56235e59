"""grpc.health.v1 on a port of its own: a limit on concurrent calls would also reject the orchestrator's checks.

Nothing is SERVING before it was set ready. The service "" stands for all of them together, without the reports.
"""

from __future__ import annotations

from collections.abc import Collection

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from guardedvlm.transport.listen import SERVER_OPTIONS, bind

OVERALL = ""
"""The name that grpc.health.v1 gives to the server as a whole."""
STOP_SECONDS = 1.0
"""How long open Watch streams may take to end."""


class HealthServer:
    """Tells an orchestrator which services are ready. Used from one event loop."""

    def __init__(self, services: Collection[str], reports: Collection[str] = ()) -> None:
        """Prepare health for the full names of `services`, at least one, and of `reports`: what an operator should know
        and what takes no service away. Raises ValueError when there are no services."""
        if not services or OVERALL in (*services, *reports):
            raise ValueError("health needs the names of services")
        self._services = frozenset(services)
        self._ready = dict.fromkeys((*services, *reports), False)
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)

    async def start(self, address: str) -> int:
        """Serve at "host:port"; returns the port. Raises ConfigurationError(PORT_TAKEN | SETTINGS_INVALID)."""
        port = bind(self._server, address)
        await self._publish()  # before the first check can come: the aio servicer is born as SERVING
        await self._server.start()
        return port

    async def set_ready(self, service: str, ready: bool) -> None:
        """Say whether `service` is ready. Raises KeyError for a service that was not announced."""
        if service not in self._ready:
            raise KeyError(service)
        self._ready[service] = ready
        await self._publish()

    async def stop(self) -> None:
        """Say NOT_SERVING to those who watch, then stop; idempotent."""
        await self._servicer.enter_graceful_shutdown()
        await self._server.stop(STOP_SECONDS)

    async def _publish(self) -> None:
        overall = all(self._ready[service] for service in self._services)
        for service, ready in {**self._ready, OVERALL: overall}.items():
            status = health_pb2.HealthCheckResponse.ServingStatus
            await self._servicer.set(service, status.SERVING if ready else status.NOT_SERVING)
