"""The gRPC server of the guard: listeners, health, reflection, graceful stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc.aio
from grpc_reflection.v1alpha import reflection

from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.drain import Drain
from guardedvlm.transport.health import HealthServer
from guardedvlm.transport.listen import RECEIVE_LIMIT, SERVER_OPTIONS, bind, connection_options
from guardedvlm.transport.reload import TRUST
from guardedvlm.v1 import guard_pb2
from guardedvlm.v1.guard_pb2_grpc import add_GuardServiceServicer_to_server

SERVICE = guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name
POLICIES = "guardedvlm.policies"
"""In health: SERVING while every policy file is in force, NOT_SERVING while a broken one leaves an older one there."""
CANARY = "guardedvlm.canary"
"""In health: whether every detector found what is on the canary picture the last time."""
FLUSH_SECONDS = 1.0
"""For responses that are on their way when all calls are over."""
TRANSPORT_LIMIT = RECEIVE_LIMIT + 2**20
"""gRPC itself rejects a message above this, without details; between the two limits the service says why."""
MOST_STREAMS = 64
"""Calls of one connection at the same time; gRPC's clients keep further ones back. Each may hold a message before it is
known whose it is."""
MOST_CALLS = 1_024
"""Calls of one listener at the same time, of whoever does not say; further ones are RESOURCE_EXHAUSTED, unread."""
SEND_LIMIT = 512 * 2**20
"""A redacted document goes back as one file: the 160 MP of the default limits have 480 MB, should nothing compress."""
OPTIONS = tuple(
    {
        **dict(SERVER_OPTIONS),
        "grpc.max_receive_message_length": TRANSPORT_LIMIT,
        "grpc.max_send_message_length": SEND_LIMIT,
        "grpc.max_concurrent_streams": MOST_STREAMS,
        # Else streams that just ended count, and a client that keeps to the limit is refused by chance.
        "grpc.http.overload_protection": 0,
    }.items()
)


class GuardServer:
    """Listeners of one servicer, and health on an address of its own. Ready is set by whoever knows."""

    def __init__(
        self,
        service: GuardService,
        *,
        with_reflection: bool = False,
        connections: tuple[tuple[str, int], ...] = connection_options(),  # immutable
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._service = service
        self._options = (*OPTIONS, *connections)
        self._most_calls = most_calls
        self._drain = Drain()
        self._with_reflection = with_reflection
        self._servers: list[grpc.aio.Server] = []
        self.health = HealthServer([SERVICE], [POLICIES, TRUST, CANARY])

    async def start(
        self, listeners: Mapping[str, grpc.ServerCredentials | None], health_address: str
    ) -> tuple[int, ...]:
        """Serve at every address of `listeners`; returns their ports. Raises ConfigurationError(PORT_TAKEN)."""
        ports = []
        for address, credentials in listeners.items():
            server = grpc.aio.server(
                options=self._options, interceptors=[self._drain], maximum_concurrent_rpcs=self._most_calls
            )
            add_GuardServiceServicer_to_server(self._service, server)  # type: ignore[no-untyped-call]  # generated
            if self._with_reflection:
                reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
            ports.append(bind(server, address, credentials))
            self._servers.append(server)
        await self.health.start(health_address)
        for server in self._servers:
            await server.start()
        return tuple(ports)

    async def stop(self, drain_seconds: float) -> None:
        """Not ready first; then refuse new calls (SHUTTING_DOWN), give running ones `drain_seconds`, end what is left,
        and close the listeners; idempotent."""
        await self.health.set_ready(SERVICE, False)
        await self._drain.finish(drain_seconds)
        await asyncio.gather(*(server.stop(FLUSH_SECONDS) for server in self._servers))
        self._servers.clear()
        await self.health.stop()
