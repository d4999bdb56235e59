"""GuardService over the pipeline. Who calls, what was asked and what comes back; no decision is made here."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import Message

from guardedvlm.admission import NEVER, Gate, Place
from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.facts import Method
from guardedvlm.audit.receipt import Receipts
from guardedvlm.audit.traceparent import parse_traceparent
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import Sampling
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import GuardedVLMError, Internal, NotPermitted, Overloaded, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Answer, Progress, Redaction, Watcher
from guardedvlm.guard.pipeline import Event, Pipeline
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.model import Policy
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc import translate
from guardedvlm.rpc.calls import Calls
from guardedvlm.rpc.outbox import Outbox
from guardedvlm.rpc.receipts import CallReceipt, Made, Released
from guardedvlm.rpc.replay import Replays
from guardedvlm.rpc.upload import assembled
from guardedvlm.transport.identity import Identities, bearer_token
from guardedvlm.transport.listen import RECEIVE_LIMIT
from guardedvlm.transport.reidentification import SealingKey
from guardedvlm.transport.status import abort
from guardedvlm.transport.tls import peer_sans
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceServicer

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"
AnalyzeRequest: TypeAlias = pb.AnalyzeImageRequest | pb.StreamAnalyzeImageRequest
RedactRequest: TypeAlias = pb.RedactImageRequest | pb.StreamRedactImageRequest
Identified: TypeAlias = AnalyzeRequest | RedactRequest | pb.ExtractFieldsRequest
Sent = TypeVar("Sent", bound=Message)

SIGNING_THREADS = 4
"""Their own: a signer that does not answer holds these, and not the threads that decode and redact."""
LOG = logging.getLogger("guardedvlm")


@dataclass(frozen=True, slots=True)
class Call:
    """An identified call."""

    caller: Caller
    policy: Policy
    deadline: Deadline
    traceparent: str | None
    sealing_key: SealingKey | None
    candidate: Policy | None
    receipt: CallReceipt
    place: Place


class GuardService(GuardServiceServicer):
    """The servicer. One for all listeners of a process."""

    def __init__(
        self,
        pipeline: Pipeline,
        policies: PolicyStore,
        identities: Identities,
        key: AuditKey,
        receipts: Receipts,
        calls: Calls | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._policies = policies
        self._identities = identities
        self._key = key
        self._receipts = receipts
        self._signing = ThreadPoolExecutor(SIGNING_THREADS, "receipts")
        self._replays = Replays(lambda released: released.size)
        self._calls = calls or Calls()
        self._gate = gate or Gate(NEVER)

    async def AnalyzeImage(self, request: pb.AnalyzeImageRequest, context: Context) -> pb.AnalyzeImageResponse:
        """Answer a question about a document; the whole answer at once."""
        async with self._call(context) as call:
            _begin(call, request)
            made = await self._once(call, request, lambda: self._analysis(call, Method.ANALYZE_IMAGE, request))
            return pb.AnalyzeImageResponse(analysis=made)

    async def StreamAnalyzeImage(
        self, request: pb.StreamAnalyzeImageRequest, context: Context
    ) -> AsyncIterator[pb.StreamAnalyzeImageResponse]:
        """Answer a question about a document as the policy releases it."""
        async with self._call(context) as call:
            _begin(call, request)

            async def make(outbox: Outbox[pb.StreamAnalyzeImageResponse]) -> None:
                def tell(told: Progress) -> None:
                    outbox.tell(pb.StreamAnalyzeImageResponse(progress=translate.progress(told)))

                watcher = tell if request.include_progress else None
                async for event in self._events(call, Method.STREAM_ANALYZE_IMAGE, request, watcher):
                    message = translate.event(event, call.policy)
                    if isinstance(event, Redaction):
                        call.receipt.open(message.redaction)
                    outbox.release(message)

            async for message in self._stream(call, request, make):
                yield message

    async def UploadAnalyzeImage(
        self, request_iterator: AsyncIterator[pb.UploadAnalyzeImageRequest], context: Context
    ) -> pb.UploadAnalyzeImageResponse:
        """Answer a question about a document that comes in chunks."""
        async with self._call(context) as call:
            request = await assembled(request_iterator, call.policy, call.place, call.deadline)
            made = await self._once(call, request, lambda: self._analysis(call, Method.UPLOAD_ANALYZE_IMAGE, request))
            return pb.UploadAnalyzeImageResponse(analysis=made)

    async def ExtractFields(self, request: pb.ExtractFieldsRequest, context: Context) -> pb.ExtractFieldsResponse:
        """The values that a schema asks for."""
        async with self._call(context) as call:
            _begin(call, request)
            return await self._once(call, request, lambda: self._extracted(call, request))

    async def RedactImage(self, request: pb.RedactImageRequest, context: Context) -> pb.RedactImageResponse:
        """The redacted document and what was hidden."""
        async with self._call(context) as call:
            _begin(call, request)
            return await self._once(call, request, lambda: self._redacted(call, Method.REDACT_IMAGE, request))

    async def StreamRedactImage(
        self, request: pb.StreamRedactImageRequest, context: Context
    ) -> AsyncIterator[pb.StreamRedactImageResponse]:
        """The redacted document and what was hidden, and before it how far the request is."""
        async with self._call(context) as call:
            _begin(call, request)

            async def make(outbox: Outbox[pb.StreamRedactImageResponse]) -> None:
                def tell(told: Progress) -> None:
                    outbox.tell(pb.StreamRedactImageResponse(progress=translate.progress(told)))

                made = await self._redacted(call, Method.STREAM_REDACT_IMAGE, request, tell)
                outbox.release(pb.StreamRedactImageResponse(result=made))

            async for message in self._stream(call, request, make):
                yield message

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:  # noqa: ARG002
        """The effective policy of the caller's tenant."""
        async with self._call(context, Role.CALLER, Role.REVIEWER, Role.POLICY_ADMIN) as call:
            call.place.arrive(0)
            call.place.check()
            policy = call.policy
            return pb.GetPolicyResponse(
                name=policy.name, version=policy.version, digest=policy.digest(), policy_json=policy.canonical()
            )

    def take_identities(self, identities: Identities) -> None:
        """Know callers by another tenants file from the next call on."""
        self._identities = identities

    def call_receipt(self) -> CallReceipt:
        """The receipt of a call that begins."""
        return CallReceipt(self._receipts, self._signing)

    @asynccontextmanager
    async def _call(self, context: Context, *roles: Role) -> AsyncIterator[Call]:
        """Identify the caller, turn what is raised into a status, and end with the receipt. A caller's role is CALLER
        unless said."""
        receipt = self.call_receipt()
        try:
            with self._calls.counted():
                metadata = tuple(context.invocation_metadata() or ())
                identities, bearer = self._identities, bearer_token(metadata)  # one tenants file for the whole call
                await identities.prepare(bearer)
                caller = identities.caller(peer_sans(context.auth_context()), bearer)
                if not caller.roles & set(roles or (Role.CALLER,)):
                    raise NotPermitted(Reason.ROLE_MISSING)
                held = self._policies.held(identities.policy_name(caller.tenant))
                policy = held.policy
                left = context.time_remaining()
                deadline = Deadline.after(policy.limits.max_seconds)
                traceparent = next((str(value) for key, value in metadata if key == "traceparent"), None)
                deadline = deadline if left is None else deadline.sooner(left)
                key = identities.sealing_key(caller.tenant)
                with closing(self._gate.place(caller.tenant, identities.limits(caller.tenant))) as place:
                    yield Call(caller, policy, deadline, traceparent, key, held.candidate, receipt, place)
                context.set_trailing_metadata(await receipt.of_response())
        except Exception as failure:
            if not isinstance(failure, GuardedVLMError) and not isinstance(failure, grpc.RpcError):
                _log_defect(failure)
            await abort(context, failure, await receipt.of_refusal())

    async def _analysis(self, call: Call, method: Method, request: pb.AnalyzeImageRequest) -> pb.Analysis:
        made = [event async for event in self._events(call, method, request)]
        return translate.analysis(_last(made), call.policy)

    async def _extracted(self, call: Call, request: pb.ExtractFieldsRequest) -> pb.ExtractFieldsResponse:
        fields, want_image = parse_fields(request.schema), request.include_redacted_image
        guard_request = _guard_request(call, Method.EXTRACT_FIELDS, request, want_image=want_image, watcher=None)
        sampling = Sampling(max_tokens=call.policy.say.max_tokens)
        return translate.extraction(await self._pipeline.extract(guard_request, fields, sampling), call.policy)

    async def _redacted(
        self, call: Call, method: Method, request: RedactRequest, watcher: Watcher | None = None
    ) -> pb.RedactImageResponse:
        guard_request = _guard_request(call, method, request, want_image=True, watcher=watcher)
        return translate.redacted(await self._pipeline.redact(guard_request), call.policy)

    async def _stream(
        self, call: Call, request: Identified, make: Callable[[Outbox[Sent]], Awaitable[None]]
    ) -> AsyncIterator[Sent]:
        """Messages as they are made; a repeated request_id gets those that the first call released."""
        outbox: Outbox[Sent] = Outbox()

        async def made() -> tuple[Sent, ...]:
            await make(outbox)
            return outbox.released

        run = asyncio.ensure_future(self._once(call, request, made))
        run.add_done_callback(lambda _: outbox.close())
        try:
            async for message in outbox.messages():
                yield message
            for message in (await run)[len(outbox.released) :]:
                yield message
        except asyncio.CancelledError as ending:
            run.cancel(*ending.args)  # with the reason that this call was ended with
            raise
        finally:
            run.cancel()  # the caller left: nothing more is made
            await _ended(run)

    async def _events(
        self, call: Call, method: Method, request: AnalyzeRequest, watcher: Watcher | None = None
    ) -> AsyncIterator[Event]:
        question = translate.question(request.query, call.policy)
        want_image = request.include_redacted_image
        guard_request = _guard_request(call, method, request, want_image=want_image, watcher=watcher)
        async with aclosing(self._pipeline.analyze(guard_request, question)) as events:
            async for event in events:
                yield event

    async def _once(self, call: Call, request: Identified, make: Callable[[], Awaitable[Made]]) -> Made:
        """What `make` gives, or what it gave for the same request_id before."""
        name = translate.request_id(request.request_id)
        # What another policy, or another key, gave is not given again.
        under = (call.policy.digest(), call.sealing_key.id if call.sealing_key else "")
        call.receipt.take(request.document.content)

        async def whole() -> Released[Made]:
            return Released(await make(), call.receipt.closed)

        if call.place.is_refused or not name:
            # Of a call that is refused the document was not read: it is no other payload under an old id.
            released = await whole()
        else:
            # In a thread: 32 MiB take a fifth of a second, for which nobody else would be heard.
            digest = await asyncio.to_thread(_payload_digest, self._key, request, under)
            released = await self._replays.once(call.caller, name, digest, whole)
        call.receipt.give(released)
        return released.output


def _guard_request(
    call: Call, method: Method, request: Identified, *, want_image: bool, watcher: Watcher | None
) -> GuardRequest:
    return GuardRequest(
        caller=call.caller,
        policy=call.policy,
        raw=RawImage(request.document.content, request.document.media_type),
        deadline=call.deadline,
        method=method,
        name=request.request_id,
        parent=parse_traceparent(call.traceparent),
        want_image=want_image,
        want_strings=request.include_reidentification,
        sealing_key=call.sealing_key,
        watcher=watcher,
        candidate=call.candidate,
        place=call.place,
        closed=call.receipt.note,
    )


async def _ended(run: asyncio.Future[Any]) -> None:
    """Wait until a call's work has let go of everything and written its closing record. What it raised was told to the
    caller, or there is none any more: asyncio would print it, text and all."""
    await asyncio.wait([run])
    if not run.cancelled():
        run.exception()


def _log_defect(failure: Exception) -> None:
    """Where one of our own defects stands: its type, file and line; never its text, which may hold content."""
    frames = traceback.extract_tb(failure.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    LOG.error("internal error %s at %s", type(failure).__name__, place)


def _begin(call: Call, request: Identified) -> None:
    """Take a place for a message; the document of one that will be refused is let go, so that it costs nothing. Raises
    Overloaded(MESSAGE_TOO_LARGE) for one that gRPC took and the service does not."""
    size = request.ByteSize()
    call.place.arrive(size)  # a message that is too large is a request like any other
    if size > RECEIVE_LIMIT:
        raise Overloaded(Reason.MESSAGE_TOO_LARGE, limit_bytes=RECEIVE_LIMIT)
    if call.place.is_refused:
        request.document.ClearField("content")


def _payload_digest(key: AuditKey, request: Identified, under: tuple[str, str]) -> str:
    return key.digest(Purpose.PAYLOAD, type(request).__name__, *under, request.SerializeToString(deterministic=True))


def _last(events: Sequence[Event]) -> Answer:
    """The end of an answer, without which there was none."""
    if not events or not isinstance(events[-1], Answer):
        raise Internal(Reason.INTERNAL)
    return events[-1]
