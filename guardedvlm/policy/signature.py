"""A policy's signature: Ed25519 over the canonical bytes of the effective policy.

    policies/<name>/policy.yaml.sig       ed25519:<key id>:<base64>
    policies/<name>/candidate.yaml.sig    the same, for the candidate, and good for nothing else

What is signed is what takes effect, with everything that is inherited: a base that was altered breaks the signature of
every policy that extends it. Defaults are part of it, so a new version of the schema asks for a new signature. With a
key in the settings neither the service nor `ask`, `redact` and `extract` take an unsigned policy: a signature that was
taken away is one that is wrong. A signature has no date: an older policy with its own signature is accepted again.
"""

from __future__ import annotations

import base64
import hashlib
import re
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
"""A signature's line has 117 characters."""

_CONTEXT = b"guardedvlm.v1.policy-signature\x00"
_LINE = re.compile(rf"ed25519:([0-9a-f]{{{KEY_ID_HEX}}}):([A-Za-z0-9+/]{{86}}==)\n?\Z")


class Use(StrEnum):
    """What a policy was signed for: a candidate's signature does not make it the policy in force."""

    POLICY = "policy"
    CANDIDATE = "candidate"


def key_id(key: Ed25519PublicKey) -> str:
    """What a signature calls the key: 16 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_HEX]


def sign(policy: Policy, use: Use, key: Ed25519PrivateKey) -> str:
    """The signature's line."""
    signature = base64.b64encode(key.sign(_message(policy, use))).decode("ascii")
    return f"ed25519:{key_id(key.public_key())}:{signature}\n"


def signature_file(policy_file: Path) -> Path:
    """Where the signature of the policy in `policy_file` lies."""
    return policy_file.with_name(policy_file.name + SUFFIX)


def check_signature(policy: Policy, use: Use, policy_file: Path, key: Ed25519PublicKey) -> None:
    """Return when the signature beside `policy_file` is by `key` and of `policy`.

    Raises ConfigurationError(POLICY_UNSIGNED) for one that is absent, malformed, by another key, for another use or of
    other contents.
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
        raise refused("is not a signature (ed25519:<key id>:<base64>)")
    if found[1] != key_id(key):
        raise refused(f"is by the key {found[1]}, and the service knows {key_id(key)}")
    signature = base64.b64decode(found[2])
    try:
        if base64.b64encode(signature).decode("ascii") != found[2]:
            raise InvalidSignature  # two spellings of one signature
        key.verify(signature, _message(policy, use))
    except InvalidSignature:
        raise refused(f"is not of this {use}: it, or a base that it extends, was changed after it was signed") from None


def _message(policy: Policy, use: Use) -> bytes:
    return _CONTEXT + use.value.encode("ascii") + b"\x00" + policy.canonical().encode()
