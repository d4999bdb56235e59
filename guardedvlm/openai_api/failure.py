"""GuardedVLMError -> HTTP status and OpenAI's error object: `code` is our reason, `type` OpenAI's nearest word.

The message is the reason's fixed sentence, and what this front says of a field; nothing of it is a caller's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from guardedvlm.errors import GuardedVLMError, Internal, InvalidInput, Reason

STATUS: Mapping[str, tuple[int, str]] = {
    "INVALID_ARGUMENT": (400, "invalid_request_error"),
    "UNAUTHENTICATED": (401, "authentication_error"),
    "PERMISSION_DENIED": (403, "permission_error"),
    "ALREADY_EXISTS": (409, "invalid_request_error"),
    "FAILED_PRECONDITION": (422, "refused"),
    "RESOURCE_EXHAUSTED": (429, "rate_limit_error"),
    "INTERNAL": (500, "server_error"),
    "UNAVAILABLE": (503, "server_error"),
    "DEADLINE_EXCEEDED": (504, "server_error"),
}
"""By gRPC code. 422 for what the guard or the policy refuses: a client library has a class for it, and retries none."""
TOO_LARGE = 413
NOT_FOUND = 404
_SIZES = frozenset({Reason.MESSAGE_TOO_LARGE, Reason.BYTES_TOO_LARGE})


class Unsupported(InvalidInput):
    """Something that OpenAI's API has and this service has not. `told` is a sentence of this front's own."""

    def __init__(self, param: str, told: str) -> None:
        super().__init__(Reason.FIELD_INVALID, field=param)
        self.told = told


class ModelUnknown(Unsupported):
    """A model that is not the caller's policy."""


def error_object(error: GuardedVLMError) -> dict[str, Any]:
    """OpenAI's error object."""
    told = f"{error}; {error.told}" if isinstance(error, Unsupported) else str(error)
    param = error.details.get("field")
    return {
        "error": {"message": told, "type": STATUS[error.code][1], "param": param, "code": error.reason.value},
    }


def status_of(error: GuardedVLMError) -> int:
    """The HTTP status."""
    if isinstance(error, ModelUnknown):
        return NOT_FOUND
    return TOO_LARGE if error.reason in _SIZES else STATUS[error.code][0]


def failed(error: Exception) -> JSONResponse:
    """The response for an error; of one that is not ours, 500 and nothing of its own words.

    `x-should-retry` is what OpenAI's libraries obey: only what the service says may help is tried again.
    """
    known = error if isinstance(error, GuardedVLMError) else Internal(Reason.INTERNAL)
    headers = {"x-should-retry": "false" if known.retry_after is None else "true"}
    if known.retry_after is not None:
        headers["retry-after"] = str(math.ceil(known.retry_after))
    if known.audit_id:
        headers["x-request-id"] = known.audit_id
    if known.code == "UNAUTHENTICATED":
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_object(known), status_of(known), headers)
