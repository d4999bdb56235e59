"""Every error the product raises: a gRPC code, a stable reason, a fixed sentence; never content.

    GuardedVLMError
    ├── InvalidInput        INVALID_ARGUMENT      the request itself cannot be served
    ├── NotIdentified       UNAUTHENTICATED       no tenant stands behind the call
    ├── NotPermitted        PERMISSION_DENIED     the caller is known and may not do this
    ├── Conflict            ALREADY_EXISTS        the request_id was used for another payload
    ├── Refused             FAILED_PRECONDITION   the promise or the policy forbids to go on
    ├── Overloaded          RESOURCE_EXHAUSTED    a limit or a quota is reached
    ├── TimedOut            DEADLINE_EXCEEDED     the caller's deadline, or a stage's own limit
    ├── Unavailable         UNAVAILABLE           a part that is needed does not answer
    ├── ConfigurationError  FAILED_PRECONDITION   settings, policy files, keys, tenants
    └── Internal            INTERNAL              a defect of ours; the request is refused all the same

`str(error)` is the reason's fixed sentence plus numeric or enumerated details, so it is safe to print, to log and to
send. An error must never be built from an exception's text, a file name or anything a caller wrote.

At a client an error has `retry_after`, `request_id` and `audit_id` as well; they stay there, `str` does not show them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

DOMAIN = "guardedvlm"
"""`google.rpc.ErrorInfo.domain` of every error."""

_SAFE_WORD = re.compile(r"[A-Za-z0-9_.:/%+-]{1,64}\Z")


class Reason(StrEnum):
    """Stable machine-readable reasons (`google.rpc.ErrorInfo.reason`)."""

    # the picture
    EMPTY_INPUT = "EMPTY_INPUT"
    FORMAT_UNSUPPORTED = "FORMAT_UNSUPPORTED"
    FORMAT_MISMATCH = "FORMAT_MISMATCH"
    IMAGE_CORRUPT = "IMAGE_CORRUPT"
    IMAGE_TOO_SMALL = "IMAGE_TOO_SMALL"
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    BYTES_TOO_LARGE = "BYTES_TOO_LARGE"
    TOO_MANY_PAGES = "TOO_MANY_PAGES"
    DOCUMENT_ENCRYPTED = "DOCUMENT_ENCRYPTED"
    NO_PIXELS = "NO_PIXELS"
    # the request
    QUESTION_EMPTY = "QUESTION_EMPTY"
    QUESTION_TOO_LONG = "QUESTION_TOO_LONG"
    QUESTION_LANGUAGE = "QUESTION_LANGUAGE"
    QUESTION_FORBIDDEN = "QUESTION_FORBIDDEN"
    QUESTION_PERSONAL = "QUESTION_PERSONAL"
    FIELD_INVALID = "FIELD_INVALID"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    # who calls
    UNAUTHENTICATED = "UNAUTHENTICATED"
    ROLE_MISSING = "ROLE_MISSING"
    TENANT_UNKNOWN = "TENANT_UNKNOWN"
    IDENTITY_UNAVAILABLE = "IDENTITY_UNAVAILABLE"
    # the policy
    POLICY_MISSING = "POLICY_MISSING"
    POLICY_INVALID = "POLICY_INVALID"
    POLICY_UNSIGNED = "POLICY_UNSIGNED"
    POLICY_EXPIRED = "POLICY_EXPIRED"
    POLICY_FORBIDS = "POLICY_FORBIDS"
    # the guard
    KIND_REFUSED = "KIND_REFUSED"
    RESIDUAL_FOUND = "RESIDUAL_FOUND"
    INSTRUCTIONS_FOUND = "INSTRUCTIONS_FOUND"
    ANSWER_REFUSED = "ANSWER_REFUSED"
    EXTRACTION_INVALID = "EXTRACTION_INVALID"
    DETECTOR_FAILED = "DETECTOR_FAILED"
    DETECTOR_MISSING = "DETECTOR_MISSING"
    CANARY_MISSED = "CANARY_MISSED"
    WEIGHTS_CHANGED = "WEIGHTS_CHANGED"
    WORKER_DIED = "WORKER_DIED"
    SANDBOX_MISSING = "SANDBOX_MISSING"
    STAGE_TIMEOUT = "STAGE_TIMEOUT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    # the way to the model
    CLEARANCE_INVALID = "CLEARANCE_INVALID"
    CLEARANCE_EXPIRED = "CLEARANCE_EXPIRED"
    CLEARANCE_REPLAYED = "CLEARANCE_REPLAYED"
    INFERENCE_UNAVAILABLE = "INFERENCE_UNAVAILABLE"
    INFERENCE_FAILED = "INFERENCE_FAILED"
    # the model
    CHECKPOINT_MISSING = "CHECKPOINT_MISSING"
    CHECKPOINT_CONFIG = "CHECKPOINT_CONFIG"
    CHECKPOINT_INDEX = "CHECKPOINT_INDEX"
    CHECKPOINT_CORRUPT = "CHECKPOINT_CORRUPT"
    CHECKPOINT_TRUNCATED = "CHECKPOINT_TRUNCATED"
    CHECKPOINT_CODE = "CHECKPOINT_CODE"
    CHECKPOINT_LICENSE = "CHECKPOINT_LICENSE"
    CHECKPOINT_UNPINNED = "CHECKPOINT_UNPINNED"
    CHECKPOINT_CHANGED = "CHECKPOINT_CHANGED"
    TENSOR_MISSING = "TENSOR_MISSING"
    TENSOR_UNEXPECTED = "TENSOR_UNEXPECTED"
    TENSOR_SHAPE = "TENSOR_SHAPE"
    TENSOR_DTYPE = "TENSOR_DTYPE"
    TOKENIZER_INVALID = "TOKENIZER_INVALID"
    PROMPT_TOO_LONG = "PROMPT_TOO_LONG"
    PIXELS_SIZE = "PIXELS_SIZE"
    IMAGE_TOKENS = "IMAGE_TOKENS"
    POSITIONS_UNKNOWN = "POSITIONS_UNKNOWN"
    # evidence
    LEDGER_UNWRITABLE = "LEDGER_UNWRITABLE"
    LEDGER_BROKEN = "LEDGER_BROKEN"
    EVIDENCE_UNSIGNED = "EVIDENCE_UNSIGNED"
    RECEIPT_MISSING = "RECEIPT_MISSING"
    RECEIPT_BROKEN = "RECEIPT_BROKEN"
    COLLECTOR_UNAVAILABLE = "COLLECTOR_UNAVAILABLE"
    SAMPLE_GONE = "SAMPLE_GONE"
    SAMPLE_UNSEEN = "SAMPLE_UNSEEN"
    # running it
    SETTINGS_INVALID = "SETTINGS_INVALID"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    PORT_TAKEN = "PORT_TAKEN"
    OUTPUT_UNWRITABLE = "OUTPUT_UNWRITABLE"
    INPUT_UNREADABLE = "INPUT_UNREADABLE"
    INPUT_CHANGED = "INPUT_CHANGED"
    SEAL_UNOPENED = "SEAL_UNOPENED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    QUEUE_FULL = "QUEUE_FULL"
    INTERNAL = "INTERNAL"


SENTENCES: Mapping[Reason, str] = {
    Reason.EMPTY_INPUT: "the document has no bytes",
    Reason.FORMAT_UNSUPPORTED: "the document's format is not one that this service decodes",
    Reason.FORMAT_MISMATCH: "the document is not of the media type that the request declares",
    Reason.IMAGE_CORRUPT: "the document is damaged and cannot be decoded completely",
    Reason.IMAGE_TOO_SMALL: "the picture is too small to be examined",
    Reason.IMAGE_TOO_LARGE: "the picture has more pixels than the policy allows",
    Reason.BYTES_TOO_LARGE: "the document has more bytes than the policy allows",
    Reason.TOO_MANY_PAGES: "the document has more pages or frames than the policy allows",
    Reason.DOCUMENT_ENCRYPTED: "the document is encrypted; send it without a password",
    Reason.NO_PIXELS: "the document holds no picture",
    Reason.QUESTION_EMPTY: "the question is empty",
    Reason.QUESTION_TOO_LONG: "the question, its history or its schema is longer than the policy allows",
    Reason.QUESTION_LANGUAGE: "the question is in a script outside the policy's languages, so it cannot be examined",
    Reason.QUESTION_FORBIDDEN: "the policy forbids this kind of question",
    Reason.QUESTION_PERSONAL: "the question contains personal data, which the policy refuses",
    Reason.FIELD_INVALID: "a field of the request is invalid",
    Reason.REQUEST_ID_REUSED: "this request_id was used for another payload",
    Reason.UPLOAD_INCOMPLETE: "the upload ended before the announced number of bytes",
    Reason.UNAUTHENTICATED: "no client certificate or bearer token that this service knows",
    Reason.ROLE_MISSING: "the caller's roles do not include the one that this call needs",
    Reason.TENANT_UNKNOWN: "the caller's tenant is not configured",
    Reason.IDENTITY_UNAVAILABLE: "the identity provider's keys are absent or too old, so no token of it can be checked",
    Reason.POLICY_MISSING: "the tenant has no policy, so nothing can be cleared",
    Reason.POLICY_INVALID: "the policy is invalid",
    Reason.POLICY_UNSIGNED: "the policy is not signed by the key that this service was given",
    Reason.POLICY_EXPIRED: "the determination that the policy stands on has expired, so nothing can be cleared",
    Reason.POLICY_FORBIDS: "the policy does not allow this call",
    Reason.KIND_REFUSED: "the document holds something of a kind for which the policy refuses it",
    Reason.INSTRUCTIONS_FOUND: "the picture holds text that instructs the model, which the policy refuses",
    Reason.RESIDUAL_FOUND: "verification found something on the redacted picture that may be personal",
    Reason.ANSWER_REFUSED: "the answer broke the policy and was withheld",
    Reason.EXTRACTION_INVALID: "what was read, or what the policy leaves of it, does not fit the schema",
    Reason.DETECTOR_FAILED: "a detector failed, so the picture could not be cleared",
    Reason.DETECTOR_MISSING: "a detector that the policy needs is not installed",
    Reason.CANARY_MISSED: "a detector did not find what is on the canary picture, so nothing can be cleared",
    Reason.WEIGHTS_CHANGED: "a detector's weights are not the pinned ones",
    Reason.WORKER_DIED: "the worker process died on this request and was replaced",
    Reason.SANDBOX_MISSING: "the kernel lacks what confines the worker processes (seccomp filters, Landlock)",
    Reason.STAGE_TIMEOUT: "a stage took longer than its limit",
    Reason.DEADLINE_EXCEEDED: "the request's deadline passed",
    Reason.CANCELLED: "the caller went away before the end",
    Reason.CLEARANCE_INVALID: "the clearance is missing, forged or for other pixels",
    Reason.CLEARANCE_EXPIRED: "the clearance has expired",
    Reason.CLEARANCE_REPLAYED: "the clearance was used before",
    Reason.INFERENCE_UNAVAILABLE: "the inference service does not answer",
    Reason.INFERENCE_FAILED: "inference failed",
    Reason.CHECKPOINT_MISSING: "a file of the checkpoint is missing",
    Reason.CHECKPOINT_CONFIG: "the checkpoint's configuration is damaged or contradicts itself",
    Reason.CHECKPOINT_INDEX: "the checkpoint's index of shards is damaged or does not fit the shards",
    Reason.CHECKPOINT_CORRUPT: "a tensor file of the checkpoint is damaged",
    Reason.CHECKPOINT_TRUNCATED: "a tensor file of the checkpoint is shorter than its header says",
    Reason.CHECKPOINT_CODE: "the checkpoint holds files that can carry code; nothing here runs them, so delete them",
    Reason.CHECKPOINT_LICENSE: "the checkpoint has no licence file",
    Reason.CHECKPOINT_UNPINNED: "the checkpoint has no manifest, or one that cannot be read",
    Reason.CHECKPOINT_CHANGED: "the checkpoint's files are not the pinned ones",
    Reason.TENSOR_MISSING: "the checkpoint lacks a tensor of the model",
    Reason.TENSOR_UNEXPECTED: "the checkpoint holds a tensor that the model does not have",
    Reason.TENSOR_SHAPE: "a tensor of the checkpoint has another shape than its configuration says",
    Reason.TENSOR_DTYPE: "a tensor of the checkpoint has a type that does not fit",
    Reason.TOKENIZER_INVALID: "the tokenizer is damaged or lacks the special tokens of the configuration",
    Reason.PROMPT_TOO_LONG: "the prompt is longer than the model's context",
    Reason.PIXELS_SIZE: "the pixels do not have the shape that the model declares",
    Reason.IMAGE_TOKENS: "the prompt's image tokens do not fit the images that came with it",
    Reason.POSITIONS_UNKNOWN: "positions cannot be derived for a cache that another model or call has filled",
    Reason.LEDGER_UNWRITABLE: "the audit ledger cannot be written, so nothing may be released",
    Reason.LEDGER_BROKEN: "the audit ledger does not verify",
    Reason.RECEIPT_MISSING: "the response came without a receipt, or with one that cannot be read",
    Reason.RECEIPT_BROKEN: "this is no receipt, or one that was changed",
    Reason.EVIDENCE_UNSIGNED: "the evidence cannot be signed, so nothing may be released",
    Reason.COLLECTOR_UNAVAILABLE: "the telemetry collector does not take the records; they stay in the ledger",
    Reason.SAMPLE_GONE: "there is no such sample: it has expired, was destroyed or never was",
    Reason.SAMPLE_UNSEEN: "a sample is marked by a reviewer who was shown it",
    Reason.SETTINGS_INVALID: "a setting is invalid",
    Reason.SERVICE_UNAVAILABLE: "the service does not answer",
    Reason.SHUTTING_DOWN: "the service is stopping; another replica, or the next one, takes the call",
    Reason.PORT_TAKEN: "the address is in use or cannot be bound",
    Reason.OUTPUT_UNWRITABLE: "the output folder cannot be written",
    Reason.INPUT_UNREADABLE: "an input file cannot be read",
    Reason.INPUT_CHANGED: "an input file was changed after it was listed; run the batch again",
    Reason.SEAL_UNOPENED: "this key does not open it: it was sealed for another one, or changed since",
    Reason.MESSAGE_TOO_LARGE: "the message is larger than the receive limit of 32 MiB; use the streamed upload",
    Reason.QUOTA_EXCEEDED: "a limit of the tenant is reached",
    Reason.QUEUE_FULL: "too many requests wait, or this one could not have ended in time; come back later",
    Reason.INTERNAL: "an internal error; the request was refused",
}


class GuardedVLMError(Exception):
    """Root of the tree. `details` hold numbers and words of a closed vocabulary only."""

    code: ClassVar[str] = "INTERNAL"
    retry_after: float | None = None
    """At a client: seconds after which the service says that the call may be made again."""
    request_id: str = ""
    """At a client: the request_id under which it was called."""
    audit_id: str = ""
    """At a client: the service's own id of the request, where the refusal is on record."""

    def __init__(self, reason: Reason, /, **details: int | float | str) -> None:
        for name, value in details.items():
            # A detail is a number or one short word: free text is where content would slip in.
            if isinstance(value, str) and not _SAFE_WORD.match(value):
                raise ValueError(f"detail {name} is not a safe word")
        self.reason = reason
        self.details: dict[str, int | float | str] = dict(details)
        super().__init__(reason)

    @property
    def sentence(self) -> str:
        """The reason's fixed sentence."""
        return SENTENCES[self.reason]

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.details.items())
        return f"{self.reason}: {self.sentence}" + (f" ({shown})" if shown else "")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self).__name__, self.reason.value, self.details))


class InvalidInput(GuardedVLMError):
    """The request itself cannot be served."""

    code = "INVALID_ARGUMENT"


class NotIdentified(GuardedVLMError):
    """No tenant stands behind the call."""

    code = "UNAUTHENTICATED"


class NotPermitted(GuardedVLMError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class Conflict(GuardedVLMError):
    """The request_id was used for another payload."""

    code = "ALREADY_EXISTS"


class Refused(GuardedVLMError):
    """The promise or the policy forbids to go on."""

    code = "FAILED_PRECONDITION"


class Overloaded(GuardedVLMError):
    """A limit or a quota is reached."""

    code = "RESOURCE_EXHAUSTED"


class TimedOut(GuardedVLMError):
    """The caller's deadline or a stage's own limit passed."""

    code = "DEADLINE_EXCEEDED"


class Unavailable(GuardedVLMError):
    """A part that is needed does not answer."""

    code = "UNAVAILABLE"


class ConfigurationError(GuardedVLMError):
    """Settings, policy files, keys or tenants are wrong.

    `place` says where ("healthcare/policy.yaml:12"): the operator's own file, never a caller's.
    `explanation` is written by us about the operator's own file; it is shown to the operator, never to a caller.
    """

    code = "FAILED_PRECONDITION"

    def __init__(
        self, reason: Reason, /, *, place: str = "", explanation: str = "", **details: int | float | str
    ) -> None:
        super().__init__(reason, **details)
        self.place = place
        self.explanation = explanation

    def for_operator(self) -> str:
        """One line for the person who wrote the file."""
        parts = [p for p in (self.place, self.explanation or self.sentence) if p]
        return f"{self.reason}: " + ": ".join(parts)


class Internal(GuardedVLMError):
    """A defect of ours; the request is refused all the same."""

    code = "INTERNAL"


def reason_of(failure: BaseException) -> Reason:
    """Why something ended: an error's own reason; of a task that was cancelled the reason it was cancelled with
    (`task.cancel(reason)`), by default CANCELLED; INTERNAL for a defect of ours."""
    if isinstance(failure, GuardedVLMError):
        return failure.reason
    if isinstance(failure, Exception):
        return Reason.INTERNAL
    given = next(iter(failure.args), None)
    return given if isinstance(given, Reason) else Reason.CANCELLED


def _tree() -> dict[str, type[GuardedVLMError]]:
    found: dict[str, type[GuardedVLMError]] = {GuardedVLMError.__name__: GuardedVLMError}
    for cls in GuardedVLMError.__subclasses__():
        found[cls.__name__] = cls
    return found


def _rebuild(name: str, reason: str, details: Mapping[str, int | float | str]) -> GuardedVLMError:
    return from_wire(name, reason, details)


def from_wire(name: str, reason: str, details: Mapping[str, int | float | str]) -> GuardedVLMError:
    """Rebuild an error that crossed a process boundary; anything unknown becomes Internal."""
    cls = _tree().get(name)
    if cls is None or reason not in Reason.__members__:
        return Internal(Reason.INTERNAL)
    return cls(Reason[reason], **details)
