"""What a record may say about a request: enums, bounded numbers, digests. No field can hold free text.

Every string is a member of an enum, hex of a fixed length, or a name made of words that are known (`audit.component`);
every number has bounds; every set of keys is closed. Content (OCR text, questions, answers, file names, identifiers of
people) has no field to go in: it appears as a keyed digest (`audit.digest`) and a length. All values are checked
together when the record is built, so a dictionary that was put together elsewhere is never trusted.

The one name that a site chooses freely is the policy's, and it comes from the operator's file, never from a call.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NotRequired

from pydantic import AfterValidator, Field, StringConstraints
from typing_extensions import TypedDict

from guardedvlm.audit.component import is_component_name
from guardedvlm.audit.random_id import random_digits
from guardedvlm.audit.reviewed import Destroyed, Incident, Marked, Sampled, Viewed
from guardedvlm.audit.values import CLOSED as CLOSED  # these four are imported from here, too
from guardedvlm.audit.values import Digest as Digest
from guardedvlm.audit.values import Grid as Grid
from guardedvlm.audit.values import Pseudonym as Pseudonym
from guardedvlm.core.change import Why
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.grounding import Ground
from guardedvlm.core.ports import FinishReason
from guardedvlm.core.topic import Topic
from guardedvlm.errors import Reason

MAX_PAGES = 500  # policy.model.Limits.max_pages
MAX_SIDE = 60_000  # policy.model.Limits.max_side, pixels
MAX_BYTES = 2**30
MAX_COUNT = 1_000_000
MAX_MILLISECONDS = 24 * 3600 * 1000
MAX_DETECTORS = 64
MAX_POLICIES = 1_000
MAX_FOUND = 4_000
"""More than there are kinds, tenths, areas and actions of a kind: 30 x 11 x 4 x 3."""
POLICY_NAME = r"^[a-z][a-z0-9-]{0,63}$"
"""policy.model.Policy.name."""
MAX_POLICY_DIGITS = 8
"""In a policy's name: room for a date, one too few for an SSN, an account or a telephone number."""


class Method(StrEnum):
    """RPCs of GuardService that have a life cycle."""

    ANALYZE_IMAGE = "AnalyzeImage"
    STREAM_ANALYZE_IMAGE = "StreamAnalyzeImage"
    UPLOAD_ANALYZE_IMAGE = "UploadAnalyzeImage"
    REDACT_IMAGE = "RedactImage"
    STREAM_REDACT_IMAGE = "StreamRedactImage"
    EXTRACT_FIELDS = "ExtractFields"
    GET_POLICY = "GetPolicy"


class MediaFormat(StrEnum):
    """What the decoder found the document to be, whatever the caller declared."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    BMP = "bmp"
    GIF = "gif"
    DICOM = "dicom"
    PDF = "pdf"


class Stage(StrEnum):
    """Stages with a time of their own, in the order of the data. `TOTAL` is the whole request."""

    ADMIT = "admit"
    DECODE = "decode"
    READ = "read"
    PERSONAL = "personal"
    FACES = "faces"
    CODES = "codes"
    REDACT = "redact"
    VERIFY = "verify"
    PROMPT = "prompt"
    INFER = "infer"
    SCREEN = "screen"
    LEDGER = "ledger"
    TOTAL = "total"


class Area(StrEnum):
    """How much of its page a finding covers. Powers of ten: not the width of a name."""

    SPECK = "speck"  # less than a thousandth
    SMALL = "small"  # less than a hundredth
    MEDIUM = "medium"  # less than a tenth
    LARGE = "large"


class VerifyVerdict(StrEnum):
    """What verification said about the pixels that were to leave."""

    CLEARED = "cleared"
    RESIDUAL = "residual"


class Verdict(StrEnum):
    """What a check said, and what was done; the two differ where a check only watches."""

    ALLOW = "allow"
    MODIFY = "modify"
    WARN = "warn"
    ESCALATE = "escalate"
    DENY = "deny"


def _component(name: str) -> str:
    if not is_component_name(name):
        raise ValueError("not a component name")
    return name


def _few_digits(name: str) -> str:
    if sum(character.isdigit() for character in name) > MAX_POLICY_DIGITS:
        raise ValueError("too many digits for a name")
    return name


TraceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$"), AfterValidator(random_digits)]
SpanId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$"), AfterValidator(random_digits)]
"""A caller's ids, or keyed digests of them; neither reads as a number or as text (`audit.traceparent`)."""
ComponentName = Annotated[str, StringConstraints(max_length=64), AfterValidator(_component)]
PolicyName = Annotated[str, StringConstraints(pattern=POLICY_NAME), AfterValidator(_few_digits)]
LogName = Annotated[str, StringConstraints(pattern=r"^years-[1-9][0-9]{0,2}$")]
"""A log whose records are removed one day (`audit.retention`)."""
Moment = Annotated[
    str,
    StringConstraints(
        pattern=r"^20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
        r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$"
    ),
]
"""A time as a record has it (`audit.record.Time`); that the month has such a day is for its reader to check."""
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Milliseconds = Annotated[int, Field(ge=0, le=MAX_MILLISECONDS)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]


PolicyVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[0-9]{1,3})?$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""policy.signature.key_id."""


class Trace(TypedDict):
    """The caller's trace and span, under which the request's spans are told: as `audit.traceparent` lets them pass."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]  # pydantic's own hook, not a key
    id: TraceId
    parent: SpanId


class PolicyUsed(TypedDict):
    """The policy that the request ran under."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]  # pydantic's own hook, not a key
    name: PolicyName
    digest: Digest


class PolicyInForce(TypedDict):
    """A policy that is in force from now on: which version, by whose signature, and why it was changed."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    name: PolicyName
    digest: Digest
    version: NotRequired[PolicyVersion]
    signer: NotRequired[KeyId]  # absent where the service takes unsigned policies
    why: NotRequired[Why]  # what the policy's file says


class Component(TypedDict):
    """A detector or model and the digest of its weights."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    name: ComponentName
    digest: Digest


class Verification(TypedDict):
    """What verification found on the final pixels; `residual` counts what it still saw, by kind."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    verdict: VerifyVerdict
    passes: Annotated[int, Field(ge=1, le=10)]
    residual: dict[Kind, Count]


class Screening(TypedDict):
    """What a screen said of a question or an answer, what was done, the personal spans in it by kind, and the topics
    for which it was refused."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    verdict: Verdict
    action: Verdict
    found: dict[Kind, Count]
    topics: NotRequired[tuple[Topic, ...]]


class FoundAlike(TypedDict):
    """How many findings of a document are alike: kind, score in tenths, size, and what was done. No place at all, and
    so no finer one than the grid's."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    kind: Kind
    action: Action
    tenths: Annotated[int, Field(ge=0, le=10)]  # of the detector's own score, rounded down
    area: Area
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)]


class Judged(TypedDict):
    """What a policy said, or would have said, of one request. `complete` is false where it ended, or was given up,
    before everything was judged."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    verdict: Verdict
    complete: bool
    reason: NotRequired[Reason]
    hidden: dict[Kind, Count]  # findings
    question: NotRequired[Screening]
    answer: NotRequired[Screening]


class Shadow(TypedDict):
    """A candidate policy beside the one that was in force, on one request."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    of: Pseudonym  # the request's random id
    policy: PolicyUsed
    candidate: PolicyUsed
    said: Judged
    would_say: Judged
    failure: NotRequired[Reason]  # why the candidate was not judged
    milliseconds: Milliseconds


class PrunedRecords(TypedDict):
    """Records that were removed because their time was over: of which log, how many since its beginning, the root of
    the tree over them, and the time of the newest."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    log: LogName
    origin: Pseudonym  # of the log
    records: Annotated[int, Field(ge=1, lt=2**53)]
    root: Digest
    until: Moment


class Facts(TypedDict, total=False):
    """What one record says; each record states what its step learnt, and `REQUIRED` says what it must."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    # who asks for what
    method: Method
    trace: Trace  # where the caller stands in its own trace
    tenant: Pseudonym
    caller: Pseudonym
    caller_request: Digest  # keyed digest of the caller's own request_id
    policy: PolicyUsed
    reason: Reason  # why it was refused
    # the document
    media: MediaFormat
    pages: Annotated[int, Field(ge=1, le=MAX_PAGES)]
    width: Side  # source pixels of the first page
    height: Side
    input_bytes: Bytes
    input_digest: Digest
    # what was hidden
    regions: dict[Kind, Count]
    area_permille: dict[Kind, Permille]
    actions: dict[Action, Count]
    findings: Annotated[tuple[FoundAlike, ...], Field(max_length=MAX_FOUND)]  # also what was kept
    hidden: Annotated[tuple[Grid, ...], Field(max_length=MAX_PAGES)]  # one grid a page
    detectors: Annotated[tuple[Component, ...], Field(max_length=MAX_DETECTORS)]
    # what was checked
    verification: Verification
    image_digest: Digest  # keyed digest of the cleared raster, or of all pages' (guard.run.Run.record_cleared)
    instructions: Count  # texts of the picture that instruct the model
    prompt_screen: Screening
    answer_screen: Screening
    grounding: dict[Ground, Count]  # numbers, dates, amounts and identifiers of what was released
    # the model
    engine: ComponentName
    model: Component
    prompt_digest: Digest
    prompt_chars: Count
    answer_digest: Digest
    answer_chars: Count
    input_tokens: Count
    output_tokens: Count
    finish: FinishReason
    file_bytes: Bytes  # of the redacted document, where it left
    file_digest: Digest
    sealed_labels: Count  # labels whose strings left with the answer, sealed for the tenant's key
    # how long it took
    timings: dict[Stage, Milliseconds]
    # the policies of the process
    policies: Annotated[tuple[PolicyInForce, ...], Field(max_length=MAX_POLICIES)]  # in force from now on
    policies_kept: Annotated[tuple[PolicyName, ...], Field(max_length=MAX_POLICIES)]  # whose new file is broken
    policy_problems: Count  # in files that were not taken
    shadow: Shadow
    # blind review
    sampled: Sampled
    viewed: Viewed
    marked: Marked
    incident: Incident
    destroyed: Destroyed
    # the ledger itself
    pruned: PrunedRecords
    torn_bytes: Bytes  # bytes of an incomplete last line that were cut off at start
