"""Limits over real gRPC: what a refused caller is told, and what the ledger says of it."""

import asyncio
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from running_service import free_port

from guardedvlm.admission import Gate
from guardedvlm.audit.digest import load_or_create_key
from guardedvlm.audit.keys import create_keys, load_keys
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.receipt import Receipts
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.backends.local import LocalBackend
from guardedvlm.cli.init import make_site
from guardedvlm.client.receipts import ReceiptTaker
from guardedvlm.config import load_settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.lifecycle import State
from guardedvlm.core.quota import TenantLimits
from guardedvlm.errors import InvalidInput, Overloaded, Reason, TimedOut
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.run import Witness
from guardedvlm.policy.model import Limits
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc.calls import Calls
from guardedvlm.rpc.server import GuardServer
from guardedvlm.rpc.service import GuardService
from guardedvlm.rpc.upload import assembled
from guardedvlm.transport.listen import RECEIVE_LIMIT
from guardedvlm.transport.response import RECEIPT_KEY
from guardedvlm.transport.tls import channel_credentials
from guardedvlm.trust import Trust
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

LIMITS = "limits: {requests_per_second: 0.5, queue_mebibytes: 2}\n"
TEXT = pb.Document(content=b"not a picture")
UNLIMITED = SimpleNamespace(limits=Limits())


class Front:
    """A guard's edge, pipeline and ledger. Its workers are not started: what gets as far as them is a failure here."""

    def __init__(self, folder, service, gate, stub, token):
        self.folder, self.service, self.gate, self.stub = folder, service, gate, stub
        self.metadata = (("authorization", f"Bearer {token}"),)

    async def refusal(self, method, request):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(request, metadata=self.metadata, timeout=20)
        return caught.value

    def records(self):
        found = [record for log in list_logs(self.folder) for record in read_records(log)]
        assert all(verify_ledger(log).chain_ok for log in list_logs(self.folder))
        return [record for record in found if record.request is not None]


@asynccontextmanager
async def front(folder, limits=LIMITS, concurrency=1):
    site = make_site(folder / "site", "localhost:0", "127.0.0.1:0")
    tenants = site.config.parent / "tenants.yaml"
    tenants.write_text(limits + tenants.read_text())
    settings = load_settings(site.config)
    policies, gate = PolicyStore(settings.policies), Gate(concurrency)
    trust = await Trust.load(settings, policies)
    key, roles = load_or_create_key(settings.keys / "audit.key"), Roles()
    logs = Logs(settings.ledger, "a0" * 16)
    pipeline = Pipeline(roles, LocalBackend(None), None, Witness(logs, key, {}))
    receipts = Receipts(create_keys(settings.keys / "evidence"))
    calls = Calls(roles.waiting, gate)
    server = GuardServer(GuardService(pipeline, policies, trust.identities, key, receipts, calls, gate))
    (port,) = await server.start(trust.listeners(), f"127.0.0.1:{free_port()}")
    try:
        async with grpc.aio.secure_channel(f"localhost:{port}", channel_credentials(site.pki.ca)) as channel:
            token = site.tokens["clinic"].read_text().strip()
            yield Front(settings.ledger, calls, gate, GuardServiceStub(channel), token)
    finally:
        await server.stop(0)
        await pipeline.close()
        roles.stop()
        await asyncio.to_thread(logs.close)


def details(failure):
    return {detail.TypeName(): detail for detail in rpc_status.from_call(failure).details}


async def until(is_so):
    """Wait for what another task does."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  # numbers of a service, which sets no event
            await asyncio.sleep(0.02)


async def test_a_refused_request_is_told_when_to_come_back_and_is_on_record(tmp_path, monkeypatch):
    digests = []
    monkeypatch.setattr("guardedvlm.rpc.service._payload_digest", lambda *_: digests.append(1))
    async with front(tmp_path) as guard:
        first = await guard.refusal(guard.stub.RedactImage, pb.RedactImageRequest(document=TEXT))
        assert first.code() is grpc.StatusCode.INVALID_ARGUMENT  # it was let in, and is no picture
        over = await guard.refusal(guard.stub.RedactImage, pb.RedactImageRequest(document=TEXT, request_id="r1"))
        assert over.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told, retry, quota = details(over), error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
        assert told["google.rpc.RetryInfo"].Unpack(retry)
        assert told["google.rpc.QuotaFailure"].Unpack(quota)
        assert 0 < retry.retry_delay.ToMilliseconds() <= 2_001
        assert quota.violations[0].quota_id == "requests_per_second"
        assert RECEIPT_KEY in dict(over.trailing_metadata())  # a refusal that can be proved, like any other
        known, got, error = load_keys(tmp_path / "site" / "keys" / "evidence").public, [], Overloaded(Reason.QUEUE_FULL)
        ReceiptTaker(known, got.append, TEXT.content).take_refusal(over, error)
        assert [receipt.statement.audit_id for receipt in got] == [error.audit_id]
        assert digests == []  # 32 MiB of what is refused cost nothing

        last = guard.records()[-3:]
        assert [record.event for record in last] == [State.RECEIVED, State.ADMITTED, State.REFUSED]
        assert last[2].facts["reason"] == "QUOTA_EXCEEDED"
        assert last[1].facts["input_bytes"] == 0  # it was not read
        assert {limit: count for limit, count in guard.service.limited.items() if count} == {"requests_per_second": 1}
        assert guard.gate.held_bytes == 0
        assert guard.service.refused["QUOTA_EXCEEDED"] == 1


async def test_an_upload_that_may_not_be_held_is_not_read(tmp_path, monkeypatch):
    sent, threads = [], []

    def digest(*_):
        threads.append(threading.current_thread())
        return "d"

    monkeypatch.setattr("guardedvlm.rpc.service._payload_digest", digest)

    async def parts(size):
        yield pb.UploadAnalyzeImageRequest(header=pb.UploadHeader(content_bytes=size, request_id="u1"))
        for _ in range(size // 2**20):
            sent.append(1)
            yield pb.UploadAnalyzeImageRequest(chunk=bytes(2**20))
            await asyncio.sleep(0.05)

    async with front(tmp_path, LIMITS.replace("0.5", "50")) as guard:
        over = await guard.refusal(guard.stub.UploadAnalyzeImage, parts(20 * 2**20))
        assert over.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info = error_details_pb2.ErrorInfo()
        assert details(over)["google.rpc.ErrorInfo"].Unpack(info)
        assert (info.reason, info.metadata["queue"]) == ("QUEUE_FULL", "queue_mebibytes")
        assert len(sent) < 20
        assert guard.records()[-1].facts["reason"] == "QUEUE_FULL"
        # The same id for a document that may be held is another matter, and no conflict.
        again = await guard.refusal(guard.stub.UploadAnalyzeImage, parts(2**20))
        assert again.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(threads) == 1  # of the second alone, and while it is digested others are heard
        assert threads[0] is not threading.main_thread()
        assert guard.gate.held_bytes == 0


async def test_an_upload_that_stalls_gives_back_what_it_held():
    gate = Gate(1)
    place = gate.place("clinic", TenantLimits())

    async def parts():
        yield pb.UploadAnalyzeImageRequest(header=pb.UploadHeader(content_bytes=2**20))
        await asyncio.sleep(60)

    with pytest.raises(TimedOut):
        await assembled(parts(), UNLIMITED, place, Deadline.after(0.1))
    place.close()
    assert gate.held_bytes == 0


async def test_an_upload_of_empty_chunks_is_refused():
    async def parts():
        yield pb.UploadAnalyzeImageRequest(header=pb.UploadHeader(content_bytes=2))
        while True:
            yield pb.UploadAnalyzeImageRequest(chunk=b"")

    place = Gate(1).place("clinic", TenantLimits())
    with pytest.raises(InvalidInput):
        await assembled(parts(), UNLIMITED, place, Deadline.after(5))


async def test_a_message_that_is_too_large_counts_as_a_call(tmp_path):
    async with front(tmp_path, LIMITS.replace("0.5", "0.05")) as guard:
        large = pb.RedactImageRequest(document=pb.Document(content=bytes(RECEIVE_LIMIT)))
        assert "MESSAGE_TOO_LARGE" in str(details(await guard.refusal(guard.stub.RedactImage, large)))
        over = await guard.refusal(guard.stub.RedactImage, pb.RedactImageRequest(document=TEXT))
        assert "requests_per_second" in str(details(over))


async def test_a_caller_who_leaves_the_queue_frees_the_place(tmp_path):
    async with front(tmp_path, "") as guard:
        busy = guard.gate.place("bank", TenantLimits())
        busy.arrive(1)
        async with busy.turn("RedactImage", Deadline.after(60)):
            call = guard.stub.RedactImage(pb.RedactImageRequest(document=TEXT), metadata=guard.metadata, timeout=20)
            await until(lambda: guard.gate.turns.waiting)
            assert guard.service.waiting()["admission"] == 1
            assert guard.gate.held_bytes > 1
            call.cancel()
            await until(lambda: guard.records()[-1].event is State.REFUSED)
            assert (guard.gate.turns.waiting, guard.gate.held_bytes) == (0, 1)
            assert guard.records()[-1].facts["reason"] == "CANCELLED"
            late = await guard.refusal(
                lambda request, **options: guard.stub.RedactImage(request, **{**options, "timeout": 0.3}),
                pb.RedactImageRequest(document=TEXT),
            )
            assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # Its client knew the time before the server did: it may have got the turn, and ends it at once.
        await until(lambda: not guard.gate.turns.running and not guard.gate.turns.waiting)


async def test_reading_the_policy_counts_as_a_call(tmp_path):
    async with front(tmp_path) as guard:
        await guard.stub.GetPolicy(pb.GetPolicyRequest(), metadata=guard.metadata, timeout=20)
        over = await guard.refusal(guard.stub.GetPolicy, pb.GetPolicyRequest())
        assert over.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
