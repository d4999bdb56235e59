"""The guard's server over real connections: how it ends, and how connections are renewed."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from guardedvlm.errors import GuardedVLMError, Reason, Unavailable
from guardedvlm.rpc.server import CANARY, MOST_CALLS, MOST_STREAMS, POLICIES, SERVICE, TRANSPORT_LIMIT, GuardServer
from guardedvlm.transport.listen import RECEIVE_LIMIT, connection_options
from guardedvlm.transport.status import abort, error_from_rpc
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceServicer, GuardServiceStub

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Slow(GuardServiceServicer):
    """Calls that end when they are told to; what becomes of each is written down."""

    def __init__(self):
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.ends = []
        self.peers = []

    async def _work(self, context):
        self.peers.append(context.peer())
        self.begun.release()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # a closing record takes its time
            self.ends.append("cancelled")
            raise
        self.ends.append("done")

    async def GetPolicy(self, request, context):
        self.peers.append(context.peer())
        return pb.GetPolicyResponse(name="test")

    async def RedactImage(self, request, context):
        await self._work(context)
        return pb.RedactImageResponse(audit_id="a")

    async def StreamRedactImage(self, request, context):
        yield pb.StreamRedactImageResponse()
        await self._work(context)
        yield pb.StreamRedactImageResponse()

    async def UploadAnalyzeImage(self, request_iterator, context):
        async for _ in request_iterator:
            pass
        await self._work(context)
        return pb.UploadAnalyzeImageResponse()

    async def AnalyzeImage(self, request, context):
        await abort(context, Unavailable(Reason.WORKER_DIED))


class Site:
    """A server at two addresses with one channel to each."""

    def __init__(self, servicer, most_calls=MOST_CALLS, **options):
        self.servicer = servicer
        self.server = GuardServer(servicer, connections=connection_options(**options), most_calls=most_calls)

    async def __aenter__(self):
        ports = await self.server.start({"127.0.0.1:0": None, "localhost:0": None}, "127.0.0.1:0")
        await self.server.health.set_ready(SERVICE, True)
        self.channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
        self.stubs = [GuardServiceStub(channel) for channel in self.channels]
        return self

    async def __aexit__(self, *_):
        await self.server.stop(0)
        for channel in self.channels:
            await channel.close()


def uploaded():
    async def parts():
        yield pb.UploadAnalyzeImageRequest()

    return parts()


async def collected(stream):
    return [message async for message in stream]


def calls(stub):
    """One call of each of the kinds that gRPC has here."""
    return [
        asyncio.ensure_future(_value(stub.RedactImage(pb.RedactImageRequest()))),
        asyncio.ensure_future(collected(stub.StreamRedactImage(pb.StreamRedactImageRequest()))),
        asyncio.ensure_future(_value(stub.UploadAnalyzeImage(uploaded()))),
    ]


async def _value(call):
    return await call


async def reason_of(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await awaitable
    error = error_from_rpc(failure.value)
    assert isinstance(error, GuardedVLMError)
    return failure.value.code(), error.reason


async def test_running_calls_finish_and_new_ones_are_refused_with_a_reason_at_every_address():
    servicer = Slow()
    async with Site(servicer) as site:
        running = [call for stub in site.stubs for call in calls(stub)]
        for _ in running:
            await servicer.begun.acquire()
        stopping = asyncio.ensure_future(site.server.stop(20))
        await asyncio.sleep(0.05)
        assert not site.server.health._ready[SERVICE]
        for stub in site.stubs:
            refused = (grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN)
            assert await reason_of(stub.GetPolicy(pb.GetPolicyRequest())) == refused
            assert await reason_of(collected(stub.StreamRedactImage(pb.StreamRedactImageRequest()))) == refused
            assert await reason_of(stub.UploadAnalyzeImage(uploaded())) == refused
        assert not stopping.done()
        servicer.go.set()
        await stopping
        assert [len(value) if isinstance(value, list) else 1 for value in await asyncio.gather(*running)] == [
            1,
            2,
            1,
        ] * 2
    assert servicer.ends == ["done"] * 6


async def test_what_does_not_finish_is_ended_with_the_same_reason_after_its_closing_work():
    servicer = Slow()
    async with Site(servicer) as site:
        running = calls(site.stubs[0])
        for _ in running:
            await servicer.begun.acquire()
        await site.server.stop(0.1)
        assert servicer.ends == ["cancelled"] * 3
        for call in running:
            assert await reason_of(call) == (grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN)


async def test_a_caller_who_leaves_while_the_service_drains_is_let_go():
    servicer = Slow()
    async with Site(servicer) as site:
        call = site.stubs[0].RedactImage(pb.RedactImageRequest())
        await servicer.begun.acquire()
        stopping = asyncio.ensure_future(site.server.stop(20))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.wait_for(stopping, 5)
    assert servicer.ends == ["cancelled"]


async def test_an_error_of_a_call_is_told_as_it_is():
    async with Site(Slow()) as site:
        told = await reason_of(site.stubs[0].AnalyzeImage(pb.AnalyzeImageRequest()))
        assert told == (grpc.StatusCode.UNAVAILABLE, Reason.WORKER_DIED)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await site.channels[0].unary_unary("/guardedvlm.v1.GuardService/NoSuchMethod")(b"")
        assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_connection_is_renewed_and_no_call_is_lost():
    servicer = Slow()
    async with Site(servicer, max_age=0.2, max_age_grace=20) as site:
        long = asyncio.ensure_future(_value(site.stubs[0].RedactImage(pb.RedactImageRequest())))
        await servicer.begun.acquire()
        for _ in range(20):
            assert (await site.stubs[0].GetPolicy(pb.GetPolicyRequest())).name == "test"
            await asyncio.sleep(0.05)
        servicer.go.set()
        assert (await long).audit_id == "a"
    assert len(set(servicer.peers)) > 1


async def test_one_connection_has_so_many_calls_at_the_same_time_and_the_others_wait():
    servicer = Slow()
    async with Site(servicer) as site:
        await site.stubs[0].GetPolicy(pb.GetPolicyRequest())  # the client has read what it may do
        servicer.peers.clear()
        calls = [asyncio.ensure_future(_value(site.stubs[0].RedactImage(pb.RedactImageRequest()))) for _ in range(70)]
        for _ in range(MOST_STREAMS):
            await servicer.begun.acquire()
        await asyncio.sleep(0.2)
        assert len(servicer.peers) == MOST_STREAMS
        servicer.go.set()
        assert len(await asyncio.gather(*calls)) == 70


async def test_calls_above_the_bound_of_a_listener_are_refused_and_later_ones_are_not():
    servicer = Slow()
    async with Site(servicer, most_calls=2) as site:
        calls = [asyncio.ensure_future(_value(site.stubs[0].RedactImage(pb.RedactImageRequest()))) for _ in range(2)]
        for _ in calls:
            await servicer.begun.acquire()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await site.stubs[0].RedactImage(pb.RedactImageRequest(), timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        servicer.go.set()
        await asyncio.gather(*calls)
        await site.stubs[0].GetPolicy(pb.GetPolicyRequest(), timeout=20)


def test_grpc_itself_takes_hardly_more_than_the_service():
    assert RECEIVE_LIMIT < TRANSPORT_LIMIT <= 1.05 * RECEIVE_LIMIT


async def test_health_knows_each_service_and_report_by_name_and_stays_while_the_service_drains(tmp_path):
    servicer, address = Slow(), f"unix:{tmp_path}/health"
    server = GuardServer(servicer)
    (port,) = await server.start({"127.0.0.1:0": None}, address)
    names = (SERVICE, POLICIES, CANARY, "")
    assert [await status(address, name) for name in names] == [NOT_SERVING] * 4
    await server.health.set_ready(SERVICE, True)
    assert [await status(address, name) for name in names] == [SERVING, NOT_SERVING, NOT_SERVING, SERVING]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = GuardServiceStub(channel).RedactImage(pb.RedactImageRequest())
        await servicer.begun.acquire()
        stopping = asyncio.ensure_future(server.stop(20))
        await asyncio.sleep(0.05)
        assert [await status(address, name) for name in (SERVICE, "")] == [NOT_SERVING] * 2
        servicer.go.set()
        await call
        await stopping


async def status(address, service):
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)).status
