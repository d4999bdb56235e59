"""Health over a real grpc.aio server: never SERVING before it was set, and gone when stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.transport.health import HealthServer

GUARD, OTHER = "guardedvlm.v1.GuardService", "guardedvlm.v1.Other"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def check(port: int, service: str = "") -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        return int(answer.status)


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    server = HealthServer([GUARD, OTHER])
    yield server
    await server.stop()


async def test_nothing_is_serving_at_first(server: HealthServer) -> None:
    port = await server.start("127.0.0.1:0")
    assert [await check(port, name) for name in ("", GUARD, OTHER)] == [NOT_SERVING] * 3


async def test_overall_needs_every_service(server: HealthServer) -> None:
    port = await server.start("127.0.0.1:0")
    await server.set_ready(GUARD, True)
    assert [await check(port, name) for name in ("", GUARD, OTHER)] == [NOT_SERVING, SERVING, NOT_SERVING]
    await server.set_ready(OTHER, True)
    assert await check(port) == SERVING
    await server.set_ready(GUARD, False)
    assert [await check(port, name) for name in ("", GUARD, OTHER)] == [NOT_SERVING, NOT_SERVING, SERVING]


async def test_ready_before_start_is_kept(server: HealthServer) -> None:
    await server.set_ready(GUARD, True)
    await server.set_ready(OTHER, True)
    assert await check(await server.start("127.0.0.1:0")) == SERVING


async def test_unknown_services(server: HealthServer) -> None:
    port = await server.start("127.0.0.1:0")
    with pytest.raises(KeyError):
        await server.set_ready("guardedvlm.v1.Typo", True)
    with pytest.raises(KeyError):
        await server.set_ready("", True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(port, "guardedvlm.v1.Typo")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("services", [[], [""]])
def test_health_of_nothing_is_a_defect(services: list[str]) -> None:
    with pytest.raises(ValueError, match="names of services"):
        HealthServer(services)


async def test_a_report_takes_no_service_away() -> None:
    server = HealthServer([GUARD], ["policies"])
    port = await server.start("127.0.0.1:0")
    await server.set_ready(GUARD, True)
    assert [await check(port, name) for name in (GUARD, "", "policies")] == [SERVING, SERVING, NOT_SERVING]
    await server.set_ready("policies", True)
    assert await check(port, "policies") == SERVING
    await server.stop()


async def test_watchers_are_told_of_changes_and_of_the_end(server: HealthServer) -> None:
    port = await server.start("127.0.0.1:0")
    seen = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=GUARD), timeout=20)
        seen.append((await watch.read()).status)
        await server.set_ready(GUARD, True)
        seen.append((await watch.read()).status)
        stopping = asyncio.create_task(server.stop())
        seen.append((await watch.read()).status)
        await stopping
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING]
    with pytest.raises(grpc.aio.AioRpcError):
        await check(port)


async def test_stop_is_idempotent_and_needs_no_start() -> None:
    server = HealthServer([GUARD])
    await server.stop()
    await server.stop()


async def test_a_taken_port_is_refused(server: HealthServer) -> None:
    port = await server.start("127.0.0.1:0")
    second = HealthServer([GUARD])
    with pytest.raises(ConfigurationError) as caught:
        await second.start(f"127.0.0.1:{port}")
    assert (caught.value.reason, caught.value.place) == (Reason.PORT_TAKEN, f"127.0.0.1:{port}")
    await second.stop()
    assert await check(port, GUARD) == NOT_SERVING


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", "host name:80", ":80", "unix:", "http://x:80", "[::1:80"],
)
async def test_what_is_no_address_is_refused(address: str) -> None:
    server = HealthServer([GUARD])
    with pytest.raises(ConfigurationError) as caught:
        await server.start(address)
    assert caught.value.reason is Reason.SETTINGS_INVALID
    await server.stop()


async def test_a_port_of_another_process_is_refused(server: HealthServer) -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            await server.start(f"127.0.0.1:{port}")
        assert caught.value.reason is Reason.PORT_TAKEN


async def test_a_unix_socket_works(tmp_path_factory: pytest.TempPathFactory, server: HealthServer) -> None:
    path = tmp_path_factory.mktemp("s") / "h"
    await server.start(f"unix:{path}")
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=GUARD), timeout=10)).status == NOT_SERVING
