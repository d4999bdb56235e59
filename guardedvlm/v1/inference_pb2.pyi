from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIT_UNSPECIFIED: _ClassVar[Fit]
    FIT_SQUASH: _ClassVar[Fit]
    FIT_WITHIN: _ClassVar[Fit]
FIT_UNSPECIFIED: Fit
FIT_SQUASH: Fit
FIT_WITHIN: Fit

class GenerateTextRequest(_message.Message):
    __slots__ = ("clearance", "signature", "raster", "prompt", "max_tokens", "temperature", "top_p", "seed")
    CLEARANCE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RASTER_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    clearance: bytes
    signature: bytes
    raster: ClearedRaster
    prompt: ClearedPrompt
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    def __init__(self, clearance: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., raster: _Optional[_Union[ClearedRaster, _Mapping]] = ..., prompt: _Optional[_Union[ClearedPrompt, _Mapping]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class ClearedRaster(_message.Message):
    __slots__ = ("width", "height", "pixels")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    pixels: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., pixels: _Optional[bytes] = ...) -> None: ...

class ClearedPrompt(_message.Message):
    __slots__ = ("question", "history", "answer_schema", "quoted")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ANSWER_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    QUOTED_FIELD_NUMBER: _ClassVar[int]
    question: str
    history: _containers.RepeatedCompositeFieldContainer[ClearedTurn]
    answer_schema: str
    quoted: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, question: _Optional[str] = ..., history: _Optional[_Iterable[_Union[ClearedTurn, _Mapping]]] = ..., answer_schema: _Optional[str] = ..., quoted: _Optional[_Iterable[str]] = ...) -> None: ...

class ClearedTurn(_message.Message):
    __slots__ = ("question", "answer")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    question: str
    answer: str
    def __init__(self, question: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class GenerateTextResponse(_message.Message):
    __slots__ = ("text", "finish_reason", "input_tokens", "output_tokens", "evidence", "readings")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    evidence: _containers.RepeatedCompositeFieldContainer[DraftEvidence]
    readings: _containers.RepeatedCompositeFieldContainer[DraftReading]
    def __init__(self, text: _Optional[str] = ..., finish_reason: _Optional[str] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., evidence: _Optional[_Iterable[_Union[DraftEvidence, _Mapping]]] = ..., readings: _Optional[_Iterable[_Union[DraftReading, _Mapping]]] = ...) -> None: ...

class DraftReading(_message.Message):
    __slots__ = ("pointer", "confidence", "places")
    POINTER_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    pointer: str
    confidence: float
    places: _containers.RepeatedCompositeFieldContainer[DraftEvidence]
    def __init__(self, pointer: _Optional[str] = ..., confidence: _Optional[float] = ..., places: _Optional[_Iterable[_Union[DraftEvidence, _Mapping]]] = ...) -> None: ...

class DraftEvidence(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1", "score")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    def __init__(self, x0: _Optional[int] = ..., y0: _Optional[int] = ..., x1: _Optional[int] = ..., y1: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class GetCapacityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapacityResponse(_message.Message):
    __slots__ = ("engine", "model", "model_digest", "audience", "geometry", "max_prompt_chars", "max_output_tokens", "max_concurrent")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    GEOMETRY_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPT_CHARS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    engine: str
    model: str
    model_digest: str
    audience: str
    geometry: InputGeometry
    max_prompt_chars: int
    max_output_tokens: int
    max_concurrent: int
    def __init__(self, engine: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., audience: _Optional[str] = ..., geometry: _Optional[_Union[InputGeometry, _Mapping]] = ..., max_prompt_chars: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., max_concurrent: _Optional[int] = ...) -> None: ...

class InputGeometry(_message.Message):
    __slots__ = ("fit", "width", "height")
    FIT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    fit: Fit
    width: int
    height: int
    def __init__(self, fit: _Optional[_Union[Fit, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...
