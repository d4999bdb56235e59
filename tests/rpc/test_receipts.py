"""The receipt of one call: of what it is made, and when there is none."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from evidence_case import DOCUMENT

from guardedvlm.audit.facts import Method, VerifyVerdict
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.receipt import Closed, Of, Outcome, Receipt, Receipts
from guardedvlm.audit.request import RequestLog
from guardedvlm.client.receipts import ReceiptTaker, receipt_in
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason, Refused, Unavailable
from guardedvlm.rpc.receipts import CallReceipt, Released
from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.response import RECEIPT_KEY
from guardedvlm.v1 import guard_pb2 as pb

FACTS = {
    State.ADMITTED: {"tenant": "b1" * 16, "caller": "c2" * 16, "policy": {"name": "finance", "digest": "e4" * 32}},
    State.DECODED: {},
    State.REDACTED: {"regions": {}, "detectors": ({"name": "centerface", "digest": "06" * 32},)},
    State.CLEARED: {"verification": {"verdict": VerifyVerdict.CLEARED, "passes": 1, "residual": {}}},
    State.RELEASE_OPEN: {},
    State.RELEASED: {},
}


class Gone:
    """A signer that does not answer."""

    def sign(self, message):
        raise Unavailable(Reason.EVIDENCE_UNSIGNED)


@pytest.fixture
def receipts(tmp_path):
    return Receipts(create_keys(tmp_path / "keys"))


@pytest.fixture
async def released(tmp_path):
    return await _closed(tmp_path, State.RELEASED)


@pytest.fixture
async def refused(tmp_path):
    return await _closed(tmp_path, State.DECODED)


async def _closed(folder, until):
    ledger = Ledger(folder / "ledger", "a0" * 16)
    try:
        log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
        for state, facts in FACTS.items():
            await log.advance(state, **facts)
            if state is until:
                break
        if not log.closed:
            await log.advance(State.REFUSED, reason=Reason.KIND_REFUSED)
        return Closed.of(log.records, log.log, ["ab" * 32] if until in (State.RELEASE_OPEN, State.RELEASED) else [])
    finally:
        ledger.close()


FILE = pb.Redaction(pages=[pb.RedactedPage(content=b"redacted", media_type="image/png")])
PDF = pb.Redaction(pages=[pb.RedactedPage()], document=pb.Document(content=b"redacted"))


@pytest.mark.parametrize("redaction", [FILE, PDF])
@pytest.mark.parametrize(
    "output",
    [
        lambda redaction: pb.Analysis(redaction=redaction),
        lambda redaction: pb.ExtractFieldsResponse(redaction=redaction),
        lambda redaction: pb.RedactImageResponse(redaction=redaction),
        lambda redaction: (
            pb.StreamAnalyzeImageResponse(text="a"),
            pb.StreamAnalyzeImageResponse(done=pb.Analysis(redaction=redaction)),
        ),
        lambda redaction: (
            pb.StreamRedactImageResponse(progress=pb.Progress()),
            pb.StreamRedactImageResponse(result=pb.RedactImageResponse(redaction=redaction)),
        ),
    ],
)
async def test_every_response_commits_to_its_file(receipts, released, output, redaction):
    made = Released(output(redaction), released)
    receipt = CallReceipt(receipts)
    receipt.take(DOCUMENT)
    receipt.give(made)
    ((key, value),) = await receipt.of_response()
    statement = Receipt.decode(value).statement
    assert key == RECEIPT_KEY
    assert statement.redacted.commitment == statement.commitment(Of.REDACTED, [b"redacted"])
    assert statement.input.commitment == statement.commitment(Of.INPUT, [DOCUMENT])
    assert made.size > 0


async def test_a_response_without_a_file_commits_to_none(receipts, released):
    receipt = CallReceipt(receipts)
    receipt.give(Released(pb.Analysis(), released))
    ((_, value),) = await receipt.of_response()
    assert Receipt.decode(value).statement.redacted is None


async def test_a_refusal_is_signed_and_a_response_that_failed_later_is_not(receipts, refused, released):
    receipt = CallReceipt(receipts)
    receipt.take(DOCUMENT)
    assert await receipt.of_refusal() == ()
    receipt.note(refused)
    ((_, value),) = await receipt.of_refusal()
    assert Receipt.decode(value).statement.outcome is Outcome.REFUSED
    receipt.note(released)
    assert await receipt.of_refusal() == ()


async def test_a_refusal_commits_to_the_file_that_had_left(receipts, tmp_path):
    receipt = CallReceipt(receipts)
    receipt.take(DOCUMENT)
    receipt.open(FILE)
    receipt.note(await _closed(tmp_path, State.RELEASE_OPEN))
    ((_, value),) = await receipt.of_refusal()
    statement = Receipt.decode(value).statement
    assert (statement.outcome, statement.redacted.bytes) == (Outcome.REFUSED, len(b"redacted"))
    assert statement.redacted.commitment == statement.commitment(Of.REDACTED, [b"redacted"])


async def test_without_a_signer_nothing_leaves_and_a_refusal_stays_one(refused, released):
    receipt = CallReceipt(Receipts(Gone()))
    receipt.give(Released(pb.Analysis(), released))
    with pytest.raises(Unavailable):
        await receipt.of_response()
    receipt.note(refused)
    assert await receipt.of_refusal() == ()


async def test_a_signer_that_does_not_answer_holds_up_no_other_work(released):
    gate, entered = threading.Event(), threading.Event()

    class Stopped:
        def sign(self, message):
            entered.set()
            gate.wait(20)
            raise Unavailable(Reason.EVIDENCE_UNSIGNED)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    service = GuardService(None, None, None, None, Receipts(Stopped()))
    receipt = service.call_receipt()
    receipt.give(Released(pb.Analysis(), released))
    waiting = asyncio.ensure_future(receipt.of_response())
    try:
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(entered.wait, 5)
            assert await asyncio.to_thread(lambda: not gate.is_set())
        assert not waiting.done()
    finally:
        gate.set()
    with pytest.raises(Unavailable):
        await waiting


async def test_a_call_without_a_record_has_no_receipt(receipts):
    assert await CallReceipt(receipts).of_response() == ()


class Call(grpc.Call):
    """A call that is over."""

    add_callback = cancel = is_active = time_remaining = code = details = initial_metadata = lambda self, *_: None

    def __init__(self, *metadata):
        self.metadata = metadata

    def trailing_metadata(self):
        return self.metadata


async def test_a_client_takes_one_receipt_that_can_be_read(receipts, released):
    content = receipts.issue(released, DOCUMENT, b"").encode()
    got = []
    taker = ReceiptTaker(on_receipt=got.append)
    taker.take((("other", "x"), (RECEIPT_KEY, content)))
    assert [receipt.encode() for receipt in got] == [content]
    for trailing in (
        (),
        ((RECEIPT_KEY, content), (RECEIPT_KEY, content)),
        ((RECEIPT_KEY, content[:-1]),),
        ((RECEIPT_KEY, content.decode()),),
    ):
        assert receipt_in(trailing) is None
        with pytest.raises(Unavailable) as failure:
            taker.take(trailing)
        assert failure.value.reason is Reason.RECEIPT_MISSING
        taker.take_refusal(Call(*trailing), error := Refused(Reason.RESIDUAL_FOUND))
        assert error.audit_id == ""
        ReceiptTaker().take(trailing)
    assert len(got) == 1
