"""The fuzz target `proto`: what comes over a wire, as the code that first reads it sees it. The first byte says what.

Parsing is protobuf's own; what is fuzzed is what we do with a message that parsed, and the encodings that are ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import DecodeError
from jsonschema import Draft202012Validator

from guardedvlm.admission import Gate
from guardedvlm.audit.receipt import Receipt
from guardedvlm.audit.receipt_proof import Given, prove
from guardedvlm.audit.traceparent import parse_traceparent
from guardedvlm.core.clearance import SignedClearance, Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.quota import TenantLimits
from guardedvlm.errors import GuardedVLMError, InvalidInput, NotIdentified, Reason, Refused
from guardedvlm.guard.decode.isolated import Beside
from guardedvlm.inference.clearance import ClearanceChecker
from guardedvlm.inference.service import _raster
from guardedvlm.policy.model import Policy
from guardedvlm.rpc import translate
from guardedvlm.rpc.upload import assembled
from guardedvlm.transport.clearance_key import key_id
from guardedvlm.transport.identity import bearer_token
from guardedvlm.transport.reidentification import SealingKey
from guardedvlm.v1 import guard_pb2, inference_pb2
from guardedvlm.worker import Worker, WorkerSpec

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY_ID = key_id(KEY.public_key())
AUDIENCE = "reader:1"
NOW = 1_800_000_000_000
PAGE = np.zeros((2, 2, 3), np.uint8)
MOST_PARTS = 200
RUNNER = asyncio.Runner()
"""One loop for every upload: a loop each would be most of the time."""


def policy_in_force() -> Policy:
    """The policy that requests are translated under."""
    from fuzz_policy import SIGNED

    return SIGNED


def proto(data: bytes) -> None:
    """A value or an error of ours; never another exception."""
    if data:
        try:
            EDGES[data[0] % len(EDGES)](data[1:])
        except DecodeError:
            return  # gRPC answers such a message itself


def _query(data: bytes) -> None:
    request = guard_pb2.AnalyzeImageRequest.FromString(data)
    try:
        translate.request_id(request.request_id)
        question = translate.question(request.query, policy_in_force())
    except InvalidInput:
        return
    sampling = policy_in_force().sampling(question.sampling)
    assert 0 < sampling.max_tokens <= policy_in_force().say.max_tokens
    assert 0 <= sampling.temperature <= 2
    assert 0 <= sampling.top_p <= 1


def _upload(data: bytes) -> None:
    messages = [guard_pb2.UploadAnalyzeImageRequest.FromString(part) for part in _parts(data)]

    async def arriving() -> AsyncIterator[guard_pb2.UploadAnalyzeImageRequest]:
        for message in messages:
            yield message

    place = Gate(1).place("clinic", TenantLimits())
    try:
        request = RUNNER.run(assembled(arriving(), policy_in_force(), place, Deadline.after(60)))
    except InvalidInput:
        return
    assert not place.is_refused
    assert 0 < len(request.document.content) == messages[0].header.content_bytes


def _schema(data: bytes) -> None:
    try:
        fields = parse_fields(guard_pb2.ExtractFieldsRequest.FromString(data).schema)
    except InvalidInput:
        return
    Draft202012Validator.check_schema(fields.document())
    fields.encoded().encode()
    tuple(fields.fixed())


def _generate(data: bytes) -> None:
    request = inference_pb2.GenerateTextRequest.FromString(data)
    prompt = request.prompt
    try:
        _checker().admit(
            _raster(request.raster),
            prompt.question,
            tuple(Turn(turn.question, turn.answer) for turn in prompt.history),
            prompt.answer_schema,
            SignedClearance(request.clearance, request.signature),
            tuple(prompt.quoted),
        )
    except (InvalidInput, Refused):
        return
    raise AssertionError("admitted without the guard's signature")


def _clearance(data: bytes) -> None:
    """The guard's key signed it, whatever it says."""
    checker = _checker()
    try:
        checker.admit(PAGE, "", (), "", SignedClearance(data, KEY.sign(data)))
    except Refused:
        checker._seen.check_integrity()


def _receipt(data: bytes) -> None:
    assert not prove(data, Given()).holds, "authentic without a key"
    try:
        found = Receipt.decode(data)
    except ValueError:
        return
    assert found.encode() == data


def _credentials(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(NotIdentified):
        bearer_token([("authorization", text)])
    with contextlib.suppress(ValueError):
        assert str(SealingKey.parse(text)) == text
    parent = parse_traceparent(text)
    assert parent is None or len(text) >= 55


class _TakenOver:
    """Stands for the process of a worker that sends what it likes."""

    pid, returncode = 1, 0

    def poll(self) -> None:
        """It runs."""

    def kill(self) -> None:
        """It ends."""

    def wait(self) -> None:
        """It has ended."""


def _reply(data: bytes) -> None:
    """What a decode worker that was taken over sends instead of pages."""
    ours, theirs = socket.socketpair()
    worker = Worker(WorkerSpec("decode", "nothing:Nothing", call_seconds=5))
    worker._socket, worker._process = ours, _TakenOver()  # type: ignore[assignment]
    with theirs:
        theirs.setblocking(False)
        theirs.send(struct.pack(">Q", len(data)) + data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            worker.call_sync("decode", Beside)
        except GuardedVLMError as error:
            assert isinstance(error.reason, Reason)
        finally:
            worker.stop()


def _checker() -> ClearanceChecker:
    return ClearanceChecker({KEY_ID: KEY.public_key()}, AUDIENCE, clock_ms=lambda: NOW)


def _parts(data: bytes) -> Iterator[bytes]:
    """Messages, each behind its length in two bytes."""
    at = 0
    for _ in range(MOST_PARTS):
        if at + 2 > len(data):
            return
        (length,) = struct.unpack_from(">H", data, at)
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


EDGES: tuple[Callable[[bytes], None], ...] = (
    _query, _upload, _schema, _generate, _clearance, _receipt, _credentials, _reply,
)  # fmt: skip
