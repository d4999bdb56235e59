"""The gRPC server of the guard: listeners, health, reflection, graceful stop."""

from __future__ import annotations

from collections.abc import Mapping

import grpc.aio
from grpc_reflection.v1alpha import reflection

from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.health import HealthServer
from guardedvlm.transport.listen import RECEIVE_LIMIT, SERVER_OPTIONS, bind
from guardedvlm.transport.reload import TRUST
from guardedvlm.v1 import guard_pb2
from guardedvlm.v1.guard_pb2_grpc import add_GuardServiceServicer_to_server

SERVICE = guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name
POLICIES = "guardedvlm.policies"
"""In health: SERVING while every policy file is in force, NOT_SERVING while a broken one leaves an older one there."""
TRANSPORT_LIMIT = 2 * RECEIVE_LIMIT
"""gRPC itself rejects a message above this, without details; between the two limits the service says why."""
SEND_LIMIT = 512 * 2**20
"""A redacted document goes back as one file: the 160 MP of the default limits have 480 MB, should nothing compress."""
OPTIONS = tuple(
    {
        **dict(SERVER_OPTIONS),
        "grpc.max_receive_message_length": TRANSPORT_LIMIT,
        "grpc.max_send_message_length": SEND_LIMIT,
    }.items()
)


class GuardServer:
    """Listeners of one servicer, and health on an address of its own. Not ready before `start` returned."""

    def __init__(self, service: GuardService, *, with_reflection: bool = False) -> None:
        self._service = service
        self._with_reflection = with_reflection
        self._servers: list[grpc.aio.Server] = []
        self.health = HealthServer([SERVICE], [POLICIES, TRUST])

    async def start(
        self, listeners: Mapping[str, grpc.ServerCredentials | None], health_address: str
    ) -> tuple[int, ...]:
        """Serve at every address of `listeners`; returns their ports. Raises ConfigurationError(PORT_TAKEN)."""
        ports = []
        for address, credentials in listeners.items():
            server = grpc.aio.server(options=OPTIONS)
            add_GuardServiceServicer_to_server(self._service, server)  # type: ignore[no-untyped-call]  # generated
            if self._with_reflection:
                reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
            ports.append(bind(server, address, credentials))
            self._servers.append(server)
        await self.health.start(health_address)
        for server in self._servers:
            await server.start()
        await self.health.set_ready(SERVICE, True)
        return tuple(ports)

    async def stop(self, drain_seconds: float) -> None:
        """Take no new calls, give running ones `drain_seconds`, then end them; idempotent."""
        await self.health.set_ready(SERVICE, False)
        for server in self._servers:
            await server.stop(drain_seconds)
        self._servers.clear()
        await self.health.stop()
