"""Errors across a real grpc.aio server: what a caller may read arrives, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm import errors
from guardedvlm.errors import (
    SENTENCES,
    ConfigurationError,
    GuardedVLMError,
    Internal,
    InvalidInput,
    NotIdentified,
    Overloaded,
    Reason,
    Refused,
    TimedOut,
    Unavailable,
)
from guardedvlm.transport.listen import CHANNEL_OPTIONS, RECEIVE_LIMIT, SERVER_OPTIONS, bind
from guardedvlm.transport.status import DETAILS_KEY, NO_RETRY, abort, error_from_rpc, rich_status, status_proto

CLASSES = [cls for cls in GuardedVLMError.__subclasses__() if cls.__module__ == errors.__name__]
SECRET = "Jane Q. Sample, MRN 00482915"


def method(channel: Any) -> Any:
    """The test's method; the stubs want serialisers that gRPC does not need."""
    return channel.unary_unary("/test.Test/Call")


class Failing(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """A server whose only method ends each call with the error that the test has set."""

    def __init__(self) -> None:
        self.end: Callable[[grpc.aio.ServicerContext], object] | None = None  # type: ignore[type-arg]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
        async def call(request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
            if self.end is not None:
                await self.end(context)  # type: ignore[misc]
            return b"done"

        return grpc.unary_unary_rpc_method_handler(call)


class Line:
    """A channel to a Failing server."""

    def __init__(self, handler: Failing, channel: Any, port: int) -> None:
        self.handler, self.port = handler, port
        self._call = method(channel)

    async def failure(self, error: BaseException | None = None, request: bytes = b"") -> grpc.aio.AioRpcError:
        if error is not None:
            self.handler.end = lambda context: abort(context, error)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self._call(request, timeout=20)
        return caught.value


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    handler = Failing()
    server.add_generic_rpc_handlers((handler,))
    port = bind(server, "127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        yield Line(handler, channel, port)
    await server.stop(0)


def details_of(error: BaseException) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in status_proto(error).details:
        cls = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        detail = cls()
        assert packed.Unpack(detail)
        found[cls.__name__] = detail
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
async def test_every_class_comes_back(line: Line, cls: type[GuardedVLMError]) -> None:
    failure = await line.failure(cls(Reason.IMAGE_TOO_LARGE, pixels=50_000_000, limit=4e7, stage="decode"))
    assert failure.code().name == cls.code
    found = error_from_rpc(failure)
    assert type(found) is (Refused if cls is ConfigurationError else cls)
    assert found.reason is Reason.IMAGE_TOO_LARGE
    assert found.details == {"pixels": 50_000_000, "limit": 4e7, "stage": "decode"}


async def test_the_message_is_our_sentence(line: Line) -> None:
    failure = await line.failure(Refused(Reason.RESIDUAL_FOUND, kind="FACE"))
    assert failure.details() == f"RESIDUAL_FOUND: {SENTENCES[Reason.RESIDUAL_FOUND]} (kind=FACE)"


@pytest.mark.parametrize("error", [ValueError(SECRET), RuntimeError(SECRET), KeyError(SECRET), BaseException(SECRET)])
async def test_a_foreign_exception_says_nothing(line: Line, error: BaseException) -> None:
    failure = await line.failure(error)
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert type(error_from_rpc(failure)) is Internal
    sent = f"{failure.details()} {failure.trailing_metadata()}"
    assert "Jane" not in sent
    assert type(error).__name__ not in sent


async def test_what_an_operator_wrote_stays_here(line: Line) -> None:
    error = ConfigurationError(Reason.POLICY_INVALID, place="clinic/policy.yaml:3", explanation=SECRET)
    failure = await line.failure(error)
    sent = f"{failure.details()} {failure.trailing_metadata()}"
    assert "POLICY_INVALID" in sent
    assert "clinic" not in sent
    assert "Jane" not in sent


@pytest.mark.parametrize("reason", list(Reason))
def test_error_info_stands_on_every_error(reason: Reason) -> None:
    for cls in CLASSES:
        info = details_of(cls(reason))["ErrorInfo"]
        assert isinstance(info, error_details_pb2.ErrorInfo)
        assert (info.reason, info.domain) == (reason.value, "guardedvlm")


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.name.startswith("QUESTION_")])
def test_bad_request_names_the_question(reason: Reason) -> None:
    found = details_of(InvalidInput(reason))["BadRequest"]
    assert isinstance(found, error_details_pb2.BadRequest)
    (violation,) = found.field_violations
    assert (violation.field, violation.reason) == ("query.question", reason.value)
    assert violation.description == SENTENCES[reason]


def test_bad_request_names_the_field() -> None:
    found = details_of(InvalidInput(Reason.FIELD_INVALID, field="query.history"))["BadRequest"]
    assert isinstance(found, error_details_pb2.BadRequest)
    assert [violation.field for violation in found.field_violations] == ["query.history"]
    assert "BadRequest" not in details_of(InvalidInput(Reason.IMAGE_CORRUPT))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unavailable(Reason.INFERENCE_UNAVAILABLE), 1.0),
        (Unavailable(Reason.INFERENCE_UNAVAILABLE, retry_seconds=2.5), 2.5),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=60), 60.0),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds="soon"), 1.0),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=-1), 1.0),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=float("nan")), 1.0),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=1e9), 1.0),
    ],
)
def test_when_to_come_back(error: GuardedVLMError, seconds: float) -> None:
    found = details_of(error)["RetryInfo"]
    assert isinstance(found, error_details_pb2.RetryInfo)
    assert found.retry_delay.ToMilliseconds() == 1000 * seconds


def test_no_retry_where_it_would_fail_again() -> None:
    assert "RetryInfo" not in details_of(Refused(Reason.RESIDUAL_FOUND))
    assert "RetryInfo" not in details_of(TimedOut(Reason.STAGE_TIMEOUT))
    for reason in NO_RETRY:
        assert "RetryInfo" not in details_of(Unavailable(reason))


def test_quota_failure() -> None:
    found = details_of(Overloaded(Reason.QUOTA_EXCEEDED, quota="concurrent"))["QuotaFailure"]
    assert isinstance(found, error_details_pb2.QuotaFailure)
    assert [(one.subject, one.quota_id) for one in found.violations] == [("tenant", "concurrent")]
    assert "QuotaFailure" not in details_of(Overloaded(Reason.MESSAGE_TOO_LARGE))


class TestFromGrpcItself:
    async def test_a_message_above_the_limit(self, line: Line) -> None:
        found = error_from_rpc(await line.failure(request=bytes(RECEIVE_LIMIT + 1)))
        assert (type(found), found.reason) == (Overloaded, Reason.MESSAGE_TOO_LARGE)

    async def test_nobody_answers(self) -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(channel)(b"", timeout=20)
        assert error_from_rpc(caught.value).reason is Reason.SERVICE_UNAVAILABLE
        found = error_from_rpc(caught.value, Reason.INFERENCE_UNAVAILABLE)
        assert (type(found), found.reason) == (Unavailable, Reason.INFERENCE_UNAVAILABLE)

    @pytest.mark.parametrize(
        ("code", "cls", "reason"),
        [
            (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOut, Reason.DEADLINE_EXCEEDED),
            (grpc.StatusCode.UNAUTHENTICATED, NotIdentified, Reason.UNAUTHENTICATED),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded, Reason.QUOTA_EXCEEDED),
            (grpc.StatusCode.CANCELLED, Unavailable, Reason.SERVICE_UNAVAILABLE),
            (grpc.StatusCode.FAILED_PRECONDITION, Internal, Reason.INTERNAL),
            (grpc.StatusCode.UNIMPLEMENTED, Internal, Reason.INTERNAL),
            (grpc.StatusCode.DATA_LOSS, Internal, Reason.INTERNAL),
        ],
    )
    async def test_a_bare_code(
        self, line: Line, code: grpc.StatusCode, cls: type[GuardedVLMError], reason: Reason
    ) -> None:
        line.handler.end = lambda context: context.abort(code, SECRET)
        found = error_from_rpc(await line.failure())
        assert (type(found), found.reason) == (cls, reason)
        assert "Jane" not in str(found)

    def test_an_error_without_a_call(self) -> None:
        assert error_from_rpc(grpc.RpcError(SECRET)).reason is Reason.INTERNAL

    async def test_a_synchronous_client(self, line: Line) -> None:
        line.handler.end = lambda context: abort(context, Refused(Reason.ANSWER_REFUSED, kind="PERSON"))

        def call() -> GuardedVLMError:
            with grpc.insecure_channel(f"127.0.0.1:{line.port}") as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    method(channel)(b"", timeout=20)
                return error_from_rpc(caught.value)

        found = await asyncio.to_thread(call)
        assert (type(found), found.reason, found.details) == (Refused, Reason.ANSWER_REFUSED, {"kind": "PERSON"})


def strange(code: int, metadata: list[tuple[str, bytes]]) -> grpc.aio.AioRpcError:
    status = next(one for one in grpc.StatusCode if one.value[0] == code)
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), SECRET, None)


def info_status(code: int = 9, **fields: object) -> list[tuple[str, bytes]]:
    status = status_pb2.Status(code=code, message="x")
    values: dict[str, object] = {"reason": "RESIDUAL_FOUND", "domain": "guardedvlm"} | fields
    status.details.add().Pack(error_details_pb2.ErrorInfo(**values))
    return [(DETAILS_KEY, status.SerializeToString())]


class TestFromAStranger:
    def test_the_wellformed_one_is_understood(self) -> None:
        sent = [("x-other-bin", b"x"), *info_status()]
        assert error_from_rpc(strange(9, sent)).reason is Reason.RESIDUAL_FOUND

    @pytest.mark.parametrize(
        "metadata",
        [
            [],
            [(DETAILS_KEY, b"\xff\xff\xff")],
            info_status(code=5),
            info_status(domain="googleapis.com"),
            info_status(reason="NO_SUCH_REASON"),
            [(DETAILS_KEY, status_pb2.Status(code=9).SerializeToString())],
        ],
    )
    def test_what_is_not_ours_is_not_believed(self, metadata: list[tuple[str, bytes]]) -> None:
        found = error_from_rpc(strange(9, metadata))
        assert (type(found), found.reason, found.details) == (Internal, Reason.INTERNAL, {})

    def test_unsafe_details_are_dropped(self) -> None:
        sent = {
            "kind": "FACE",
            "text": SECRET,
            "Bad-Name": "x",
            "self": "x",
            "count": "3",
            "long": "x" * 65,
            "share": "0.5",
        }
        found = error_from_rpc(strange(9, info_status(metadata=sent)))
        assert found.details == {"kind": "FACE", "count": 3, "share": 0.5, "self": "x"}
        assert "Jane" not in str(found)

    @given(
        st.sampled_from([one.value[0] for one in grpc.StatusCode if one is not grpc.StatusCode.OK]),
        st.text(max_size=20) | st.sampled_from(list(Reason)),
        st.dictionaries(st.text(max_size=10), st.text(max_size=70), max_size=20),
        st.binary(max_size=20),
    )
    def test_whatever_comes_becomes_one_of_our_errors(
        self, code: int, reason: str, metadata: dict[str, str], noise: bytes
    ) -> None:
        for sent in (info_status(code=code, reason=reason, metadata=metadata), [(DETAILS_KEY, noise)]):
            found = error_from_rpc(strange(code, sent))
            assert isinstance(found, GuardedVLMError)
            assert str(found)


def test_the_synchronous_form() -> None:
    status = rich_status(Refused(Reason.POLICY_MISSING))
    assert status.code is grpc.StatusCode.FAILED_PRECONDITION
    assert status.details == str(Refused(Reason.POLICY_MISSING))
