"""What the fuzzers begin with: sound inputs of every kind, made here."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fuzz_edges import AUDIENCE, KEY_ID, NOW, PAGE
from fuzz_policy import KEY, SHIPPED, SIGNED
from fuzz_targets import PREAMBLE
from sound_documents import SOUND

from guardedvlm.audit.facts import Method
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.receipt import Closed, Outcome, Position, Receipts, Recorded
from guardedvlm.core.clearance import Clearance, ClearedPrompt, raster_digest
from guardedvlm.errors import Reason
from guardedvlm.policy.signature import Use, sign
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1 import inference_pb2

TENANTS = b"""tenants:
  clinic: {policy: healthcare}
callers:
  - {name: gateway, tenant: clinic, roles: [caller], token_hmac: "%s", san: ["dns:teller.bank.example"]}
""" % (b"0" * 64)
FIELDS = {
    "type": "object",
    "properties": {
        "total": {"type": ["number", "null"]},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "lines": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 3},
    },
    "required": ["total"],
    "additionalProperties": False,
}
QUERY = pb.Query(
    question="What is the total?", history=[pb.Turn(question="a", answer="b")], max_tokens=9, temperature=0.5, seed=7
)


def seeds(target: str) -> Iterator[bytes]:
    """Sound inputs of a target."""
    return {"decode": _documents, "dicom": _dicom, "policy": _policies, "proto": _messages}[target]()


def _documents() -> Iterator[bytes]:
    yield from SOUND.values()


def _dicom() -> Iterator[bytes]:
    for kind, content in SOUND.items():
        if kind.startswith("dicom"):
            yield content[len(PREAMBLE) :]


def _policies() -> Iterator[bytes]:
    for name in ("finance", "healthcare"):
        yield b"\x00" + (SHIPPED / name / "policy.yaml").read_bytes()
        for path in sorted((SHIPPED / name / "cases").glob("*.yaml")):
            yield b"\x02" + path.read_bytes()
    yield b"\x01" + TENANTS
    yield b"\x03" + sign(SIGNED, Use.POLICY, KEY).encode()


def _messages() -> Iterator[bytes]:
    document = pb.Document(media_type="image/png", content=SOUND["png"][:64])
    yield b"\x00" + pb.AnalyzeImageRequest(request_id="r-1", document=document, query=QUERY).SerializeToString()
    yield b"\x01" + b"".join(
        struct.pack(">H", len(part)) + part for part in (one.SerializeToString() for one in _uploaded(b"0123456789"))
    )
    yield b"\x02" + pb.ExtractFieldsRequest(request_id="r-1", schema=json.dumps(FIELDS)).SerializeToString()
    yield b"\x03" + _generate().SerializeToString()
    yield b"\x04" + _clearance().encode()
    yield b"\x05" + _receipt()
    for text in (b"Bearer abcdef", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"x25519:" + b"A" * 43 + b"="):
        yield b"\x06" + text
    page = {"secrets": [], "dpi": [], "header": {"codes": [["Modality", "CT"]], "numbers": [], "is_pdf": False}}
    yield b"\x07" + json.dumps({"value": page, "shapes": []}).encode()
    yield b"\x07" + json.dumps({"error": ["InvalidInput", "IMAGE_CORRUPT", {"page": 3}], "shapes": []}).encode()


def _uploaded(content: bytes) -> Iterator[pb.UploadAnalyzeImageRequest]:
    header = pb.UploadHeader(request_id="r-1", media_type="image/png", content_bytes=len(content), query=QUERY)
    yield pb.UploadAnalyzeImageRequest(header=header)
    for at in range(0, len(content), 4):
        yield pb.UploadAnalyzeImageRequest(chunk=content[at : at + 4])


def _clearance() -> Clearance:
    digest = ClearedPrompt("").digest()
    return Clearance(raster_digest(PAGE), digest, AUDIENCE, "0" * 32, "1" * 64, KEY_ID, NOW + 1_000)


def _generate() -> inference_pb2.GenerateTextRequest:
    raster = inference_pb2.ClearedRaster(width=2, height=2, pixels=PAGE.tobytes())
    encoded = replace(_clearance(), audience="another").encode()
    prompt = inference_pb2.ClearedPrompt(history=[inference_pb2.ClearedTurn(question="a", answer="b")], quoted=["c"])
    return inference_pb2.GenerateTextRequest(
        clearance=encoded, signature=KEY.sign(encoded), raster=raster, prompt=prompt, max_tokens=3
    )


def _receipt() -> bytes:
    moment = "2026-11-23T00:00:00.000Z"
    recorded = Recorded(
        audit_id="0" * 32,
        method=Method.REDACT_IMAGE,
        outcome=Outcome.REFUSED,
        reason=Reason.IMAGE_CORRUPT,
        began=moment,
        ended=moment,
        position=Position(origin="a0" * 16, log="years-6", sequence=3, record_hash="0" * 64),
    )
    with tempfile.TemporaryDirectory() as folder:
        ring = create_keys(Path(folder) / "keys")
        return Receipts(ring).issue(Closed(recorded), b"document", b"").encode()
