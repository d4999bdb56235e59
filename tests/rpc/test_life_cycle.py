"""A caller who leaves, and a deadline that passes, in every state of a request's life: what it held is free again.

Over a real connection: server, service, pipeline and ledger are the product's, detectors and engine know what stands
where (`Scene`). A request is held right after the record of a state became durable.
"""

import asyncio
import gc
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_pages_path import PNG, POLICY, Scene

from guardedvlm.admission.gate import Gate
from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.receipt import Receipts
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.signer import FolderSigner
from guardedvlm.audit.verify import read_ledger, verify_ledger
from guardedvlm.core.lifecycle import FINAL, State
from guardedvlm.core.quota import TenantLimits
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import Reason
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.run import Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.store import Held
from guardedvlm.rpc.server import GuardServer
from guardedvlm.rpc.service import GuardService
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

STATES = [state for state in State if state not in FINAL]
HOLD_SECONDS = 60.0
DEADLINE_SECONDS = 5.0
"""More than a request takes to come where it is held."""


async def _nothing(*_):
    pass


class Site:
    """A service over a scene, one channel to it, and where it writes."""

    def __init__(self, folder):
        self.folder = folder
        self.scene = Scene(["Total", "Jane Roe"], drafts={100: "It is 5. It is so.", 101: "Nothing."})
        self.logs = Logs(folder / "ledger", "a0" * 16)
        key = AuditKey(b"k" * 32)
        signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
        self.pipeline = Pipeline(self.scene, self.scene, signer, Witness(self.logs, key, {"centerface": "06" * 32}))
        caller = Caller("clinic", "ann", frozenset({Role.CALLER}))
        identities = SimpleNamespace(
            prepare=_nothing,
            limits=lambda _: TenantLimits(),
            caller=lambda *_: caller,
            policy_name=lambda _: "test",
            sealing_key=lambda _: None,
        )
        policies = SimpleNamespace(held=lambda _: Held(POLICY))
        create_keys(folder / "keys")
        receipts = Receipts(FolderSigner(folder / "keys"))
        self.gate = Gate(1)  # one turn: who did not give it back would stop the next request
        self.service = GuardService(self.pipeline, policies, identities, key, receipts, None, self.gate)
        self.server = GuardServer(self.service)

    def ask(self, **options):
        request = pb.StreamAnalyzeImageRequest(
            request_id="one", document=pb.Document(content=PNG), query=pb.Query(question="What is the total?"),
            include_redacted_image=True,
        )  # fmt: skip
        return self.stub.StreamAnalyzeImage(request, **options)

    def records(self):
        return [record for record in read_ledger(self.folder / "ledger") if record.event in State]

    def held(self):
        """What a request that is over must not hold any more."""
        gc.collect()
        turns, model = self.gate.turns, self.gate.model
        return {
            "calls": self.server._drain.running + self.service._calls.running,
            "permits": turns.running + turns.waiting + model.running + self.gate.held_bytes,
            "responses": len(self.service._replays._entries),
            "pixels": sum(one() is not None for one in self.scene.pixels),
            "trials and samples": len(self.pipeline._shadows._running) + len(self.pipeline.reviews._running),
        }

    async def free(self):
        """Return when nothing is held; fail with what is."""
        for _ in range(100):
            if not any(self.held().values()):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.held())


@asynccontextmanager
async def running(folder):
    site = Site(folder)
    (port,) = await site.server.start({"127.0.0.1:0": None}, f"unix:{folder}/health")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        site.stub = GuardServiceStub(channel)
        try:
            yield site
        finally:
            await site.server.stop(5)
            await site.pipeline.close()
            site.logs.close()


class Hold:
    """Holds the first request of a site that comes to `state`."""

    def __init__(self, site, state, monkeypatch):
        self.reached = asyncio.Event()
        append = RequestLog._append

        async def appended(log, entry):
            record = await append(log, entry)
            is_here = log._ledger.folder.is_relative_to(site.folder)
            if is_here and entry.event is state and not self.reached.is_set():
                self.reached.set()
                await asyncio.sleep(HOLD_SECONDS)
            return record

        monkeypatch.setattr(RequestLog, "_append", appended)


async def left(call):
    """The code with which a stream ended; what came before it is dropped."""
    try:
        async for _ in call:
            pass
    except asyncio.CancelledError:
        return grpc.StatusCode.CANCELLED
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files of this process would lie."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def check_closed(site, state, reason):
    """The records of the first request end with `state`, and with why nothing came of it."""
    first = site.records()[0].request
    *before, closing = [record for record in site.records() if record.request == first]
    assert before[-1].event is state
    assert (closing.event, closing.facts["reason"]) == (State.REFUSED, reason)


async def check_free(site):
    """The same request_id is free, and so is all that the request needs."""
    assert await left(site.ask()) is grpc.StatusCode.OK
    assert site.records()[-1].event is State.RELEASED
    assert all(verify_ledger(log).chain_ok for log in list_logs(site.folder / "ledger"))


@pytest.mark.parametrize("state", STATES)
async def test_a_caller_who_leaves_holds_nothing_any_more(state, tmp_path, scratch, monkeypatch):
    async with running(tmp_path) as site:
        hold = Hold(site, state, monkeypatch)
        call = site.ask()
        ending = asyncio.ensure_future(left(call))
        await asyncio.wait_for(hold.reached.wait(), HOLD_SECONDS)
        call.cancel()
        assert await ending is grpc.StatusCode.CANCELLED
        await site.free()
        check_closed(site, state, Reason.CANCELLED)
        await check_free(site)
    assert not list(scratch.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
async def test_a_deadline_that_passes_ends_the_request_where_it_is(state, tmp_path, scratch, monkeypatch):
    async with running(tmp_path) as site:
        hold = Hold(site, state, monkeypatch)
        ending = asyncio.ensure_future(left(site.ask(timeout=DEADLINE_SECONDS)))
        await asyncio.wait_for(hold.reached.wait(), HOLD_SECONDS)
        assert await ending is grpc.StatusCode.DEADLINE_EXCEEDED
        await site.free()
        check_closed(site, state, Reason.DEADLINE_EXCEEDED)
        await check_free(site)
    assert not list(scratch.iterdir())


async def test_the_end_of_the_service_closes_what_runs_in_every_state(tmp_path, monkeypatch):
    """The caller of a call that is ended learns why, and the ledger says the same."""
    for state in (State.DECODED, State.RELEASE_OPEN):
        folder = tmp_path / state
        folder.mkdir()
        async with running(folder) as site:
            hold = Hold(site, state, monkeypatch)
            ending = asyncio.ensure_future(left(site.ask()))
            await asyncio.wait_for(hold.reached.wait(), HOLD_SECONDS)
            await site.server.stop(0.05)
            assert await ending is grpc.StatusCode.UNAVAILABLE
            check_closed(site, state, Reason.SHUTTING_DOWN)
            monkeypatch.undo()
