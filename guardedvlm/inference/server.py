"""The gRPC server of inference: one listener, health on an address of its own, graceful stop."""

from __future__ import annotations

import grpc
import grpc.aio

from guardedvlm.inference.service import InferenceService
from guardedvlm.transport.drain import Drain
from guardedvlm.transport.health import HealthServer
from guardedvlm.transport.listen import SERVER_OPTIONS, bind, connection_options
from guardedvlm.v1 import inference_pb2
from guardedvlm.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server

MAX_CALLS = 64
"""Calls at the same time; each holds a picture of up to 32 MiB, and most engines take one after the other."""
WAITING_SHARE = 4
"""Calls for each answer that an engine makes at the same time: the others wait for their turn."""
FLUSH_SECONDS = 1.0
"""For responses that are on their way when all calls are over."""
SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name


class InferenceServer:
    """A listener of one servicer. Not ready before `start` returned."""

    def __init__(self, service: InferenceService, max_concurrent: int = 1) -> None:
        calls = max(MAX_CALLS, WAITING_SHARE * max_concurrent)
        self._drain = Drain()
        self._server = grpc.aio.server(
            options=(*SERVER_OPTIONS, *connection_options()),
            interceptors=[self._drain],
            maximum_concurrent_rpcs=calls,
        )
        add_InferenceServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]  # generated
        self.health = HealthServer([SERVICE])

    async def start(self, address: str, credentials: grpc.ServerCredentials | None, health_address: str) -> int:
        """Serve at `address`; returns its port. Raises ConfigurationError(PORT_TAKEN | SETTINGS_INVALID)."""
        port = bind(self._server, address, credentials)
        await self.health.start(health_address)
        await self._server.start()
        await self.health.set_ready(SERVICE, True)
        return port

    async def stop(self, drain_seconds: float) -> None:
        """Not ready first; then refuse new calls (SHUTTING_DOWN), give running ones `drain_seconds`, end what is left,
        and close the listener; idempotent."""
        await self.health.set_ready(SERVICE, False)
        await self._drain.finish(drain_seconds)
        await self._server.stop(FLUSH_SECONDS)
        await self.health.stop()
