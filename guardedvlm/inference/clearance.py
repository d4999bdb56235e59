"""Check a clearance, and only then let pixels and a prompt in. Read `admit` as a proof, one step a line.

This is the one place outside `guard.verify` and `guard.screen` that makes a `ClearedImage` or a `ClearedPrompt`.
It trusts public keys and its own clock, and nothing that a caller says.

The nonces that were seen live in memory: after a restart a clearance that has not expired could be used once more. An
audience that names the running process (a random part, fresh at each start) closes that gap.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardedvlm.core.clearance import (
    Clearance,
    ClearedImage,
    ClearedPrompt,
    SignedClearance,
    Turn,
    raster_digest,
)
from guardedvlm.core.region import Raster
from guardedvlm.errors import Reason, Refused, Unavailable

CLOCK_SKEW_MS = 5_000
"""How far the guard's clock and ours may differ; machines under NTP differ by far less."""
MAX_LIFETIME_MS = 600_000
"""The longest request that a policy can allow (`Limits.max_seconds`); a clearance that lives longer is not ours."""
MAX_NONCES = 100_000
"""Nonces kept until they expire, about 20 MB; at ten minutes each that is 166 requests a second."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a valid clearance lets in. `scope` bounds every cache."""

    image: ClearedImage
    prompt: ClearedPrompt
    scope: str


class ClearanceChecker:
    """Holds public keys by key id, the audience that clearances must name, and the nonces that were seen."""

    def __init__(
        self,
        public_keys: Mapping[str, Ed25519PublicKey],
        audience: str,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        max_nonces: int = MAX_NONCES,
    ) -> None:
        if not public_keys or not audience:
            raise ValueError("a checker needs at least one key and an audience")
        self._keys = dict(public_keys)
        self._audience = audience
        self._clock_ms = clock_ms
        self._seen = NonceSet(max_nonces)

    def admit(
        self,
        raster: Raster,
        question: str,
        history: tuple[Turn, ...],
        schema: str,
        signed: SignedClearance,
        quoted: tuple[str, ...] = (),
    ) -> Admitted:
        """The cleared values behind `signed`. May be called from several threads.

        Raises Refused(CLEARANCE_INVALID | CLEARANCE_EXPIRED | CLEARANCE_REPLAYED), and Unavailable when no further
        nonce can be remembered. A nonce is used up only by a clearance that is valid in all other respects, so that
        nobody without the guard's key can fill the set.
        """
        clearance = _decoded(signed)
        self._check_signature(clearance, signed)
        self._check_audience(clearance)
        now = self._clock_ms()
        _check_expiry(clearance, now)
        image = _image(raster, clearance)
        prompt = _prompt(ClearedPrompt(question, history, schema, quoted), clearance)
        self._seen.use(clearance.nonce, clearance.expires_at + CLOCK_SKEW_MS, now)
        return Admitted(image, prompt, clearance.scope)

    def _check_signature(self, clearance: Clearance, signed: SignedClearance) -> None:
        key = self._keys.get(clearance.key_id)
        if key is None:
            raise Refused(Reason.CLEARANCE_INVALID, check="key_id")
        try:
            key.verify(signed.signature, signed.encoded)
        except InvalidSignature:
            raise Refused(Reason.CLEARANCE_INVALID, check="signature") from None

    def _check_audience(self, clearance: Clearance) -> None:
        if clearance.audience != self._audience:
            raise Refused(Reason.CLEARANCE_INVALID, check="audience")


class NonceSet:
    """Nonces with the time at which each may be forgotten. Bounded; a full one refuses instead of forgetting."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._order: list[tuple[int, str]] = []  # heap: the one that may go first is on top
        self._lock = threading.Lock()

    def use(self, nonce: str, until_ms: int, now_ms: int) -> None:
        """Remember `nonce` until `until_ms`. Raises Refused(CLEARANCE_REPLAYED) when it is known."""
        with self._lock:
            while self._order and self._order[0][0] < now_ms:
                self._known.remove(heapq.heappop(self._order)[1])
            if nonce in self._known:
                raise Refused(Reason.CLEARANCE_REPLAYED)
            if len(self._known) >= self._limit:
                raise Unavailable(Reason.INFERENCE_UNAVAILABLE, limit="nonces")
            self._known.add(nonce)
            heapq.heappush(self._order, (until_ms, nonce))

    def check_integrity(self) -> None:
        """Raise AssertionError when set and heap differ or the bound is broken."""
        with self._lock:
            assert len(self._order) == len(self._known) <= self._limit
            assert {nonce for _, nonce in self._order} == self._known


def _decoded(signed: SignedClearance) -> Clearance:
    try:
        clearance = Clearance.decode(signed.encoded)
    except (ValueError, RecursionError):
        raise Refused(Reason.CLEARANCE_INVALID, check="encoding") from None
    texts = (
        clearance.raster_digest,
        clearance.prompt_digest,
        clearance.audience,
        clearance.nonce,
        clearance.scope,
        clearance.key_id,
    )
    # JSON decodes to whatever was signed: types are checked before anything is compared. bool is an int in Python.
    if not all(isinstance(text, str) and text for text in texts) or type(clearance.expires_at) is not int:
        raise Refused(Reason.CLEARANCE_INVALID, check="types")
    if type(clearance.version) is not int or clearance.version != 1:
        raise Refused(Reason.CLEARANCE_INVALID, check="version")
    return clearance


def _check_expiry(clearance: Clearance, now_ms: int) -> None:
    if now_ms > clearance.expires_at + CLOCK_SKEW_MS:
        raise Refused(Reason.CLEARANCE_EXPIRED)
    if clearance.expires_at > now_ms + MAX_LIFETIME_MS + CLOCK_SKEW_MS:
        raise Refused(Reason.CLEARANCE_INVALID, check="lifetime")


def _image(raster: Raster, clearance: Clearance) -> ClearedImage:
    if raster.dtype != np.uint8 or raster.ndim != 3 or raster.shape[2] != 3 or raster.size == 0:
        raise Refused(Reason.CLEARANCE_INVALID, check="raster")
    # A private copy: what was checked is what is used, whoever still holds the caller's array.
    held = np.array(raster, order="C")
    held.flags.writeable = False
    digest = raster_digest(held)
    if digest != clearance.raster_digest:
        raise Refused(Reason.CLEARANCE_INVALID, check="raster_digest")
    return ClearedImage(held, digest)


def _prompt(prompt: ClearedPrompt, clearance: Clearance) -> ClearedPrompt:
    try:
        digest = prompt.digest()
    except UnicodeEncodeError:
        # A lone surrogate has no bytes, so no guard can have signed it.
        raise Refused(Reason.CLEARANCE_INVALID, check="prompt_digest") from None
    if digest != clearance.prompt_digest:
        raise Refused(Reason.CLEARANCE_INVALID, check="prompt_digest")
    return prompt
