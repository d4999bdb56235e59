"""Sign what verification and the screen passed, so that inference can tell cleared pixels from any others."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardedvlm.core.clearance import Clearance, ClearedImage, ClearedPrompt, SignedClearance, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import Internal, Reason

NONCE_BYTES = 16
"""128 random bits: inference refuses a nonce that it has seen."""
SCOPE_CONTEXT = b"guardedvlm.v1.scope\x00"
LEAST_EPOCH_KEY_BYTES = 32
"""The length of SHA-256's output, the least that RFC 2104 advises for an HMAC key."""


class ClearanceSigner:
    """The guard's signing key. `key_id` tells inference which public key to use; `epoch_key` keys the scopes."""

    def __init__(self, private_key: Ed25519PrivateKey, key_id: str, epoch_key: bytes) -> None:
        if len(epoch_key) < LEAST_EPOCH_KEY_BYTES:
            raise ValueError("epoch key too short")
        self._private_key = private_key
        self._epoch_key = epoch_key
        self.key_id = key_id

    def scope(self, tenant: str, caller_group: str, policy_digest: str) -> str:
        """HMAC-SHA256 over tenant, caller group and policy, as hex: bounds every cache and names nobody."""
        state = hmac.new(self._epoch_key, SCOPE_CONTEXT, hashlib.sha256)
        for part in (tenant, caller_group, policy_digest):
            encoded = part.encode()
            # With its length, so that ("ab", "c") and ("a", "bc") differ.
            state.update(len(encoded).to_bytes(4, "big") + encoded)
        return state.hexdigest()

    def sign(
        self, image: ClearedImage, prompt: ClearedPrompt, *, audience: str, scope: str, deadline: Deadline
    ) -> SignedClearance:
        """Sign one use of these pixels with this prompt by `audience`, until the deadline and no later.

        Raises TimedOut when the deadline has passed, and Internal when the image's digest is not its raster's.
        """
        if raster_digest(image.raster) != image.digest:
            raise Internal(Reason.INTERNAL)
        clearance = Clearance(
            raster_digest=image.digest,
            prompt_digest=prompt.digest(),
            audience=audience,
            nonce=secrets.token_hex(NONCE_BYTES),
            scope=scope,
            key_id=self.key_id,
            expires_at=int((time.time() + deadline.remaining()) * 1000),
        )
        encoded = clearance.encode()
        return SignedClearance(encoded, self._private_key.sign(encoded))
