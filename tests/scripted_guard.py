"""A GuardService for tests of clients: it does what the test has written down, and writes down what came."""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from guardedvlm.audit.facts import Method, VerifyVerdict
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.receipt import Closed, Receipts
from guardedvlm.audit.request import RequestLog
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason
from guardedvlm.transport.listen import SERVER_OPTIONS
from guardedvlm.transport.response import RECEIPT_KEY
from guardedvlm.transport.status import rich_status
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceServicer, add_GuardServiceServicer_to_server

HANG = object()
"""In a script: this call does not answer."""

FACTS = {
    State.ADMITTED: {"tenant": "b1" * 16, "caller": "c2" * 16, "policy": {"name": "finance", "digest": "e4" * 32}},
    State.DECODED: {},
    State.REDACTED: {"regions": {}, "detectors": ({"name": "centerface", "digest": "06" * 32},)},
    State.CLEARED: {"verification": {"verdict": VerifyVerdict.CLEARED, "passes": 1, "residual": {}}},
    State.GENERATING: {},
    State.RELEASE_OPEN: {},
    State.RELEASED: {},
}
USAGE = pb.Usage(input_tokens=5, output_tokens=2)


class ScriptedGuard(GuardServiceServicer):
    """`script`: for each call in turn an error, a bare gRPC code, HANG, or None to answer; then it answers."""

    def __init__(self, script=(), policy="{}"):
        self.script = deque(script)
        self.policy_json = policy
        self.requests, self.tokens, self.left, self.contents, self.asked = [], [], [], [], []
        self.receipts = None  # (document, how it ended) -> receipt
        self.fails_after = None  # events of a stream before its error
        self.began, self.cancelled = threading.Event(), threading.Event()

    def _begin(self, request, context, request_id, content=b""):
        found = dict(context.invocation_metadata())
        self.tokens.append(found.get("authorization"))
        self.left.append(context.time_remaining())
        self.requests.append(request_id)
        self.contents.append(content)
        if content:
            self.asked.append(request)
        if self.receipts is not None and content:
            context.set_trailing_metadata(((RECEIPT_KEY, self.receipts(content, State.RELEASED)),))
        step = self.script.popleft() if self.script else None
        self.began.set()
        if step is HANG:
            context.add_callback(self.cancelled.set)
            while context.is_active():
                time.sleep(0.01)
        elif isinstance(step, grpc.StatusCode):
            context.abort(step, "bare")
        elif step is not None:
            status = rich_status(step)
            if self.receipts is not None and content:
                receipt = (RECEIPT_KEY, self.receipts(content, State.REFUSED))
                context.set_trailing_metadata((*status.trailing_metadata, receipt))
                context.abort(status.code, status.details)
            context.abort_with_status(status)

    def AnalyzeImage(self, request, context):
        self._begin(request, context, request.request_id, request.document.content)
        analysis = pb.Analysis(answer=request.query.question, audit_id="heard", usage=USAGE)
        return pb.AnalyzeImageResponse(analysis=analysis)

    def UploadAnalyzeImage(self, request_iterator, context):
        header, *parts = list(request_iterator)
        content = b"".join(part.chunk for part in parts)
        self._begin(header, context, header.header.request_id, content)
        return pb.UploadAnalyzeImageResponse(analysis=pb.Analysis(answer="uploaded", audit_id="heard"))

    def StreamAnalyzeImage(self, request, context):
        fails = self.fails_after
        step = self.script.popleft() if self.script and fails is not None else None
        self._begin(request, context, request.request_id, request.document.content)
        events = [
            pb.StreamAnalyzeImageResponse(progress=pb.Progress(stage="read", page=1, pages=1)),
            pb.StreamAnalyzeImageResponse(redaction=pb.Redaction(policy_digest="0" * 64)),
            pb.StreamAnalyzeImageResponse(text="One. "),
            pb.StreamAnalyzeImageResponse(done=pb.Analysis(answer="One. ", audit_id="heard", usage=USAGE)),
        ]
        for number, event in enumerate(events):
            if step is not None and number == fails:
                context.abort_with_status(rich_status(step))
            yield event

    def ExtractFields(self, request, context):
        self._begin(request, context, request.request_id, request.document.content)
        return pb.ExtractFieldsResponse(json='{"company": "a", "lines": []}', audit_id="heard", usage=USAGE)

    def RedactImage(self, request, context):
        self._begin(request, context, request.request_id, request.document.content)
        page = pb.RedactedPage(media_type="image/png", content=b"redacted")
        return pb.RedactImageResponse(redaction=pb.Redaction(pages=[page]), audit_id="heard")

    def GetPolicy(self, request, context):
        self._begin(request, context, "")
        return pb.GetPolicyResponse(name="finance", policy_json=self.policy_json)


def issuing(folder):
    """What makes receipts of real records, for `ScriptedGuard.receipts`, and the file of the public keys."""
    signer = create_keys(folder / "keys")
    signer.public.write(folder / "public.json")
    ended = {end: asyncio.run(_closed(folder / end, end)) for end in (State.RELEASED, State.REFUSED)}
    receipts = Receipts(signer)
    return lambda document, end: receipts.issue(ended[end], document, b"").encode(), folder / "public.json"


async def _closed(folder, end):
    ledger = Ledger(folder, "a0" * 16)
    try:
        log = await RequestLog.begin(ledger, method=Method.ANALYZE_IMAGE)
        for state, facts in FACTS.items():
            if end is State.REFUSED and state is State.REDACTED:
                await log.advance(State.REFUSED, reason=Reason.KIND_REFUSED)
                break
            await log.advance(state, **facts)
        return Closed.of(log.records, log.log, ["ab" * 32] if end is State.RELEASED else [])
    finally:
        ledger.close()


@contextmanager
def serving(guard, target="127.0.0.1:0"):
    """The guard at an address of this machine; gives HOST:PORT."""
    server = grpc.server(ThreadPoolExecutor(8), options=SERVER_OPTIONS)
    add_GuardServiceServicer_to_server(guard, server)
    port = server.add_insecure_port(target)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
