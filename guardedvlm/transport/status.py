"""GuardedVLMError <-> google.rpc.Status, the one way in which errors cross gRPC.

What leaves: the code, the reason, its fixed sentence, and details that are numbers or words of a closed vocabulary. An
operator's explanation and place stay here; an exception that is not ours becomes INTERNAL without its own words.
What arrives is checked as if a stranger had sent it: an unknown reason or an unsafe detail is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from guardedvlm.errors import (
    DOMAIN,
    Conflict,
    GuardedVLMError,
    Internal,
    InvalidInput,
    NotIdentified,
    NotPermitted,
    Overloaded,
    Reason,
    Refused,
    TimedOut,
    Unavailable,
)

RETRY_SECONDS = 1.0
"""When to come back unless the error knows better (detail `retry_seconds`): a worker is replaced in 1-2 s."""
MAX_RETRY_SECONDS = 3_600
"""No client should be told to sleep longer."""
NO_RETRY = frozenset(
    {
        Reason.MESSAGE_TOO_LARGE,
        Reason.BYTES_TOO_LARGE,
        Reason.DETECTOR_MISSING,
        Reason.WEIGHTS_CHANGED,
        Reason.SANDBOX_MISSING,
    }
)
"""Reasons that the same call would meet again."""
FIELDS: Mapping[Reason, str] = {
    Reason.QUESTION_EMPTY: "query.question",
    Reason.QUESTION_TOO_LONG: "query.question",
    Reason.QUESTION_LANGUAGE: "query.question",
    Reason.QUESTION_FORBIDDEN: "query.question",
    Reason.QUESTION_PERSONAL: "query.question",
    Reason.FIELD_INVALID: "",
}
"""The request's field that a reason is about; the detail `field` says it more exactly."""
DETAILS_KEY = "grpc-status-details-bin"
D = TypeVar("D", bound=Message)

_CLASSES: Mapping[str, type[GuardedVLMError]] = {
    cls.code: cls
    for cls in (
        InvalidInput,
        NotIdentified,
        NotPermitted,
        Conflict,
        Refused,  # and not ConfigurationError: a caller learns that it was refused, not what an operator mistyped
        Overloaded,
        TimedOut,
        Unavailable,
        Internal,
    )
}
_BARE: Mapping[str, Reason] = {
    "UNAUTHENTICATED": Reason.UNAUTHENTICATED,
    "PERMISSION_DENIED": Reason.ROLE_MISSING,
    "RESOURCE_EXHAUSTED": Reason.QUOTA_EXCEEDED,
    "DEADLINE_EXCEEDED": Reason.DEADLINE_EXCEEDED,
}
"""What a code means that gRPC itself gave, without our details."""
_DETAIL_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")
_DECIMAL = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}\Z")
_MAX_DETAILS = 16


def status_proto(error: BaseException) -> status_pb2.Status:
    """The google.rpc.Status of `error`; of an exception that is not ours, INTERNAL and nothing else."""
    known = error if isinstance(error, GuardedVLMError) else Internal(Reason.INTERNAL)
    status = status_pb2.Status(code=grpc.StatusCode[known.code].value[0], message=str(known))
    for detail in _details(known):
        status.details.add().Pack(detail)
    return status


def rich_status(error: BaseException) -> grpc.Status:
    """`status_proto` in the form that `context.abort_with_status` of a synchronous server takes."""
    return rpc_status.to_status(status_proto(error))


async def abort(
    context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    error: BaseException,
    metadata: tuple[tuple[str, bytes], ...] = (),
) -> NoReturn:
    """End the call of a grpc.aio servicer with `error`, and `metadata` after the error's own."""
    status = rich_status(error)
    await context.abort(status.code, status.details, (*status.trailing_metadata, *metadata))


def error_from_rpc(
    failure: grpc.RpcError | grpc.aio.AioRpcError, silent: Reason = Reason.SERVICE_UNAVAILABLE
) -> GuardedVLMError:
    """The error that the peer raised, or what gRPC's own code means; `silent` when the peer does not answer."""
    if not isinstance(failure, grpc.aio.AioRpcError | grpc.Call):
        return Internal(Reason.INTERNAL)
    code = failure.code()
    name = code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
    status = _status(failure.trailing_metadata() or (), code)
    info = _detail(status, error_details_pb2.ErrorInfo())
    if info is not None and info.domain == DOMAIN and info.reason in Reason.__members__:
        error = _CLASSES.get(name, Internal)(Reason[info.reason], **_safe_details(info.metadata))
        error.retry_after = _retry_after(status)
        return error
    if name in {"UNAVAILABLE", "CANCELLED"}:
        return Unavailable(silent)
    if name == "RESOURCE_EXHAUSTED" and "message larger than max" in (failure.details() or ""):
        return Overloaded(Reason.MESSAGE_TOO_LARGE)
    return _CLASSES[name](_BARE[name]) if name in _BARE else Internal(Reason.INTERNAL)


def _details(error: GuardedVLMError) -> Iterable[Message]:
    metadata = {name: str(value) for name, value in error.details.items()}
    yield error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    if error.reason in FIELDS:
        field = str(error.details.get("field", FIELDS[error.reason]))
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=error.sentence, reason=error.reason.value
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if error.reason is Reason.QUOTA_EXCEEDED:
        quota = error_details_pb2.QuotaFailure.Violation(
            subject="tenant", description=error.sentence, quota_id=str(error.details.get("quota", ""))
        )
        yield error_details_pb2.QuotaFailure(violations=[quota])
    if isinstance(error, Unavailable | Overloaded) and error.reason not in NO_RETRY:
        delay = Duration()
        delay.FromMilliseconds(round(1000 * _retry_seconds(error)))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _retry_seconds(error: GuardedVLMError) -> float:
    asked = error.details.get("retry_seconds")
    return asked if isinstance(asked, int | float) and 0 <= asked <= MAX_RETRY_SECONDS else RETRY_SECONDS


def _status(metadata: Iterable[Any], code: grpc.StatusCode) -> status_pb2.Status | None:
    """The google.rpc.Status in a call's trailing metadata (pairs of key and value), if one belongs to `code`."""
    for key, value in metadata:
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            return None
        return status if status.code == code.value[0] else None
    return None


def _detail(status: status_pb2.Status | None, kind: D) -> D | None:
    """The first detail of the type of `kind`, which is filled with it."""
    try:
        return next((kind for detail in status.details if detail.Unpack(kind)), None) if status is not None else None
    except DecodeError:
        return None


def _retry_after(status: status_pb2.Status | None) -> float | None:
    """Seconds; of a peer that asks for more than any of ours would, that bound."""
    found = _detail(status, error_details_pb2.RetryInfo())
    if found is None:
        return None
    seconds = float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9)
    return min(max(seconds, 0.0), float(MAX_RETRY_SECONDS))


def _safe_details(metadata: Mapping[str, str]) -> dict[str, int | float | str]:
    """The peer's details as numbers and safe words; all that is anything else is dropped."""
    found: dict[str, int | float | str] = {}
    for name, text in list(metadata.items())[:_MAX_DETAILS]:
        value = int(text) if _WHOLE.match(text) else float(text) if _DECIMAL.match(text) else text
        try:
            GuardedVLMError(Reason.INTERNAL, **{name: value})  # the one place that knows what a safe word is
        except ValueError:
            continue
        if _DETAIL_NAME.match(name):
            found[name] = value
    return found
