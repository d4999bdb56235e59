import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ground(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUND_UNSPECIFIED: _ClassVar[Ground]
    GROUND_GROUNDED: _ClassVar[Ground]
    GROUND_UNGROUNDED: _ClassVar[Ground]
    GROUND_MASKED: _ClassVar[Ground]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_CANNOT_TELL: _ClassVar[FinishReason]
GROUND_UNSPECIFIED: Ground
GROUND_GROUNDED: Ground
GROUND_UNGROUNDED: Ground
GROUND_MASKED: Ground
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_CANNOT_TELL: FinishReason

class Document(_message.Message):
    __slots__ = ("media_type", "content")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    content: bytes
    def __init__(self, media_type: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("question", "answer")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    question: str
    answer: str
    def __init__(self, question: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("question", "history", "answer_schema", "max_tokens", "temperature", "top_p", "seed")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ANSWER_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    question: str
    history: _containers.RepeatedCompositeFieldContainer[Turn]
    answer_schema: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    def __init__(self, question: _Optional[str] = ..., history: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., answer_schema: _Optional[str] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class AnalyzeImageRequest(_message.Message):
    __slots__ = ("request_id", "document", "query", "include_redacted_image", "include_reidentification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REDACTED_IMAGE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    document: Document
    query: Query
    include_redacted_image: bool
    include_reidentification: bool
    def __init__(self, request_id: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., include_redacted_image: _Optional[bool] = ..., include_reidentification: _Optional[bool] = ...) -> None: ...

class AnalyzeImageResponse(_message.Message):
    __slots__ = ("analysis",)
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    analysis: Analysis
    def __init__(self, analysis: _Optional[_Union[Analysis, _Mapping]] = ...) -> None: ...

class StreamAnalyzeImageRequest(_message.Message):
    __slots__ = ("request_id", "document", "query", "include_redacted_image", "include_reidentification", "include_progress")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REDACTED_IMAGE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    document: Document
    query: Query
    include_redacted_image: bool
    include_reidentification: bool
    include_progress: bool
    def __init__(self, request_id: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., include_redacted_image: _Optional[bool] = ..., include_reidentification: _Optional[bool] = ..., include_progress: _Optional[bool] = ...) -> None: ...

class StreamAnalyzeImageResponse(_message.Message):
    __slots__ = ("redaction", "text", "done", "progress")
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    redaction: Redaction
    text: str
    done: Analysis
    progress: Progress
    def __init__(self, redaction: _Optional[_Union[Redaction, _Mapping]] = ..., text: _Optional[str] = ..., done: _Optional[_Union[Analysis, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "page", "pages")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    stage: str
    page: int
    pages: int
    def __init__(self, stage: _Optional[str] = ..., page: _Optional[int] = ..., pages: _Optional[int] = ...) -> None: ...

class UploadAnalyzeImageRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("request_id", "media_type", "content_bytes", "query", "include_redacted_image", "include_reidentification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REDACTED_IMAGE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    media_type: str
    content_bytes: int
    query: Query
    include_redacted_image: bool
    include_reidentification: bool
    def __init__(self, request_id: _Optional[str] = ..., media_type: _Optional[str] = ..., content_bytes: _Optional[int] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., include_redacted_image: _Optional[bool] = ..., include_reidentification: _Optional[bool] = ...) -> None: ...

class UploadAnalyzeImageResponse(_message.Message):
    __slots__ = ("analysis",)
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    analysis: Analysis
    def __init__(self, analysis: _Optional[_Union[Analysis, _Mapping]] = ...) -> None: ...

class RedactImageRequest(_message.Message):
    __slots__ = ("request_id", "document", "include_reidentification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    document: Document
    include_reidentification: bool
    def __init__(self, request_id: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ..., include_reidentification: _Optional[bool] = ...) -> None: ...

class RedactImageResponse(_message.Message):
    __slots__ = ("redaction", "audit_id", "reidentification")
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    redaction: Redaction
    audit_id: str
    reidentification: Reidentification
    def __init__(self, redaction: _Optional[_Union[Redaction, _Mapping]] = ..., audit_id: _Optional[str] = ..., reidentification: _Optional[_Union[Reidentification, _Mapping]] = ...) -> None: ...

class StreamRedactImageRequest(_message.Message):
    __slots__ = ("request_id", "document", "include_reidentification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    document: Document
    include_reidentification: bool
    def __init__(self, request_id: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ..., include_reidentification: _Optional[bool] = ...) -> None: ...

class StreamRedactImageResponse(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    result: RedactImageResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., result: _Optional[_Union[RedactImageResponse, _Mapping]] = ...) -> None: ...

class ExtractFieldsRequest(_message.Message):
    __slots__ = ("request_id", "document", "schema", "include_redacted_image", "include_reidentification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REDACTED_IMAGE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    document: Document
    schema: str
    include_redacted_image: bool
    include_reidentification: bool
    def __init__(self, request_id: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ..., schema: _Optional[str] = ..., include_redacted_image: _Optional[bool] = ..., include_reidentification: _Optional[bool] = ...) -> None: ...

class ExtractFieldsResponse(_message.Message):
    __slots__ = ("json", "fields", "finish_reason", "redaction", "screening", "usage", "model", "audit_id", "stage_times", "reidentification")
    JSON_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    SCREENING_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    json: str
    fields: _containers.RepeatedCompositeFieldContainer[ExtractedField]
    finish_reason: FinishReason
    redaction: Redaction
    screening: Screening
    usage: Usage
    model: str
    audit_id: str
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    reidentification: Reidentification
    def __init__(self, json: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[ExtractedField, _Mapping]]] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., redaction: _Optional[_Union[Redaction, _Mapping]] = ..., screening: _Optional[_Union[Screening, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., model: _Optional[str] = ..., audit_id: _Optional[str] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., reidentification: _Optional[_Union[Reidentification, _Mapping]] = ...) -> None: ...

class ExtractedField(_message.Message):
    __slots__ = ("pointer", "places", "confidence", "grounded", "hidden")
    POINTER_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    GROUNDED_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    pointer: str
    places: _containers.RepeatedCompositeFieldContainer[Place]
    confidence: float
    grounded: bool
    hidden: bool
    def __init__(self, pointer: _Optional[str] = ..., places: _Optional[_Iterable[_Union[Place, _Mapping]]] = ..., confidence: _Optional[float] = ..., grounded: _Optional[bool] = ..., hidden: _Optional[bool] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("name", "version", "digest", "policy_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    policy_json: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., policy_json: _Optional[str] = ...) -> None: ...

class Analysis(_message.Message):
    __slots__ = ("answer", "finish_reason", "redaction", "evidence", "screening", "usage", "model", "audit_id", "stage_times", "reidentification", "grounding")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    SCREENING_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    REIDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    GROUNDING_FIELD_NUMBER: _ClassVar[int]
    answer: str
    finish_reason: FinishReason
    redaction: Redaction
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    screening: Screening
    usage: Usage
    model: str
    audit_id: str
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    reidentification: Reidentification
    grounding: _containers.RepeatedCompositeFieldContainer[GroundedSpan]
    def __init__(self, answer: _Optional[str] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., redaction: _Optional[_Union[Redaction, _Mapping]] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ..., screening: _Optional[_Union[Screening, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., model: _Optional[str] = ..., audit_id: _Optional[str] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., reidentification: _Optional[_Union[Reidentification, _Mapping]] = ..., grounding: _Optional[_Iterable[_Union[GroundedSpan, _Mapping]]] = ...) -> None: ...

class GroundedSpan(_message.Message):
    __slots__ = ("start", "end", "ground", "places")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    GROUND_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    ground: Ground
    places: _containers.RepeatedCompositeFieldContainer[Place]
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., ground: _Optional[_Union[Ground, str]] = ..., places: _Optional[_Iterable[_Union[Place, _Mapping]]] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("page_index", "box")
    PAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    page_index: int
    box: Box
    def __init__(self, page_index: _Optional[int] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

class Reidentification(_message.Message):
    __slots__ = ("key_id", "sealed")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    sealed: bytes
    def __init__(self, key_id: _Optional[str] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("pages", "policy_digest", "stage_times", "document")
    PAGES_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    pages: _containers.RepeatedCompositeFieldContainer[RedactedPage]
    policy_digest: str
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    document: Document
    def __init__(self, pages: _Optional[_Iterable[_Union[RedactedPage, _Mapping]]] = ..., policy_digest: _Optional[str] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class RedactedPage(_message.Message):
    __slots__ = ("page_index", "width", "height", "regions", "counts", "verification", "media_type", "content")
    PAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    page_index: int
    width: int
    height: int
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    counts: _containers.RepeatedCompositeFieldContainer[KindCount]
    verification: Verification
    media_type: str
    content: bytes
    def __init__(self, page_index: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ..., counts: _Optional[_Iterable[_Union[KindCount, _Mapping]]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., media_type: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("kind", "box", "score", "detector", "action", "page_index", "label")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    box: Box
    score: float
    detector: str
    action: str
    page_index: int
    label: str
    def __init__(self, kind: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ..., detector: _Optional[str] = ..., action: _Optional[str] = ..., page_index: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    x0: int
    y0: int
    x1: int
    y1: int
    def __init__(self, x0: _Optional[int] = ..., y0: _Optional[int] = ..., x1: _Optional[int] = ..., y1: _Optional[int] = ...) -> None: ...

class KindCount(_message.Message):
    __slots__ = ("kind", "count")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    count: int
    def __init__(self, kind: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("passes", "residuals", "width", "height")
    PASSES_FIELD_NUMBER: _ClassVar[int]
    RESIDUALS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    passes: int
    residuals: _containers.RepeatedCompositeFieldContainer[KindCount]
    width: int
    height: int
    def __init__(self, passes: _Optional[int] = ..., residuals: _Optional[_Iterable[_Union[KindCount, _Mapping]]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Screening(_message.Message):
    __slots__ = ("edits", "modified", "picture_instructions")
    EDITS_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    PICTURE_INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    edits: _containers.RepeatedCompositeFieldContainer[KindCount]
    modified: bool
    picture_instructions: int
    def __init__(self, edits: _Optional[_Iterable[_Union[KindCount, _Mapping]]] = ..., modified: _Optional[bool] = ..., picture_instructions: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("box", "score", "page_index")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    box: Box
    score: float
    page_index: int
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ..., page_index: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class StageTime(_message.Message):
    __slots__ = ("stage", "duration")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration: _duration_pb2.Duration
    def __init__(self, stage: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
