"""A policy's signature: Ed25519 over the canonical bytes of the effective policy.

    policies/<name>/policy.yaml.sig       ed25519:<key id>:<moment of signing>:<base64>
    policies/<name>/candidate.yaml.sig    the same, for the candidate, and good for nothing else

What is signed is what takes effect, with everything that is inherited: a base that was altered breaks the signature of
every policy that extends it. Defaults are part of it, so a new version of the schema asks for a new signature. With a
key in the settings neither the service nor `ask`, `redact` and `extract` take an unsigned policy: a signature that was
taken away is one that is wrong. The moment is a part of what is signed: a service does not go back (`policy.issued`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.model import Policy

SUFFIX = ".sig"
KEY_ID_HEX = 16
"""64 bits: a site has a handful of keys."""
MAX_BYTES = 256
"""A signature's line has 134 characters."""
MOMENT = "%Y%m%dT%H%M%SZ"
AHEAD = timedelta(days=1)
"""How far in the future a signature may be from: clocks differ, and one from next year would stop every later one."""

_CONTEXT = b"guardedvlm.v2.policy-signature\x00"
_LINE = re.compile(rf"ed25519:([0-9a-f]{{{KEY_ID_HEX}}}):([0-9]{{8}}T[0-9]{{6}}Z):([A-Za-z0-9+/]{{86}}==)\n?\Z")


class Use(StrEnum):
    """What a policy was signed for: a candidate's signature does not make it the policy in force."""

    POLICY = "policy"
    CANDIDATE = "candidate"


def key_id(key: Ed25519PublicKey) -> str:
    """What a signature calls the key: 16 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_HEX]


def sign(policy: Policy, use: Use, key: Ed25519PrivateKey, issued: datetime | None = None) -> str:
    """The signature's line, of this moment if not of `issued`."""
    moment = (issued or datetime.now(UTC)).astimezone(UTC).strftime(MOMENT)
    signature = base64.b64encode(key.sign(_message(policy, use, moment))).decode("ascii")
    return f"ed25519:{key_id(key.public_key())}:{moment}:{signature}\n"


def signature_file(policy_file: Path) -> Path:
    """Where the signature of the policy in `policy_file` lies."""
    return policy_file.with_name(policy_file.name + SUFFIX)


def check_signature(policy: Policy, use: Use, policy_file: Path, key: Ed25519PublicKey) -> datetime:
    """When the signature beside `policy_file`, by `key` and of `policy`, was made.

    Raises ConfigurationError(POLICY_UNSIGNED) for one that is absent, malformed, by another key, for another use, of
    other contents or from the future.
    """
    path = signature_file(policy_file)
    place = f"{path.absolute().parent.name}/{path.name}"

    def refused(explanation: str) -> ConfigurationError:
        return ConfigurationError(Reason.POLICY_UNSIGNED, place=place, explanation=explanation)

    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("ascii", "replace")
    except OSError:
        raise refused("there is no signature, and the service takes signed policies only") from None
    found = _LINE.match(text)
    if found is None:
        raise refused("is not a signature (ed25519:<key id>:<moment>:<base64>)")
    if found[1] != key_id(key):
        raise refused(f"is by the key {found[1]}, and the service knows {key_id(key)}")
    signature = base64.b64decode(found[3])
    try:
        if base64.b64encode(signature).decode("ascii") != found[3]:
            raise InvalidSignature  # two spellings of one signature
        key.verify(signature, _message(policy, use, found[2]))
        issued = datetime.strptime(found[2], MOMENT).replace(tzinfo=UTC)
    except (InvalidSignature, ValueError):
        raise refused(f"is not of this {use}: it, or a base that it extends, was changed after it was signed") from None
    if issued > datetime.now(UTC) + AHEAD:
        raise refused("is from the future")
    return issued


def _message(policy: Policy, use: Use, moment: str) -> bytes:
    return _CONTEXT + f"{use}\x00{moment}\x00{policy.canonical()}".encode()
