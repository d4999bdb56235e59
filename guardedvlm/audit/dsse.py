"""DSSE, the Dead Simple Signing Envelope (github.com/secure-systems-lab/dsse, protocol 1.0.2), with one signature.

    {"payload":"<base64>","payloadType":"<type>","signatures":[{"keyid":"<key id>","sig":"<base64>"}]}

What is signed is the payload with its type and both lengths before it, so a signature of one type is none of another.
The specification leaves a reader many spellings; here one envelope has one, sorted, on one line with its end, and every
other is refused: a byte that was changed is a receipt that does not hold.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from guardedvlm.audit.facts import CLOSED
from guardedvlm.audit.keys import KeyId, Signature

MAX_BYTES = 64 * 2**10
"""Of an encoded envelope; a receipt has some 4 KB."""

_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class Envelope(NamedTuple):
    """A payload and its signature, which nobody has checked yet."""

    payload_type: str
    payload: bytes
    signature: Signature

    @property
    def message(self) -> bytes:
        """What is signed."""
        return message(self.payload_type, self.payload)

    def encode(self) -> bytes:
        """The envelope as one line of JSON."""
        envelope = {
            "payload": _encoded(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.signature.key_id, "sig": _encoded(self.signature.value)}],
        }
        return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Envelope:
        """Inverse of `encode`. Raises ValueError, which says nothing of the content, when a byte differs from it."""
        if len(content) > MAX_BYTES:
            raise ValueError("not an envelope")
        try:
            found = _Envelope.model_validate_json(content)
            (signed,) = found.signatures
            value = base64.b64decode(signed.sig, validate=True)
            envelope = cls(
                found.payloadType, base64.b64decode(found.payload, validate=True), Signature(signed.keyid, value)
            )
        except (ValidationError, binascii.Error):
            raise ValueError("not an envelope") from None
        if envelope.encode() != content:
            raise ValueError("not in canonical form")
        return envelope


def message(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what a signer of `payload` signs."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


class _Signed(BaseModel):
    model_config = CLOSED

    keyid: KeyId
    sig: _Base64


class _Envelope(BaseModel):
    model_config = CLOSED

    payload: _Base64
    payloadType: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+/-]{1,100}$")]  # noqa: N815  # DSSE's name
    signatures: Annotated[tuple[_Signed, ...], Field(min_length=1, max_length=1)]


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
