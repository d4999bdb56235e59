"""Check exactly the pixels that will be sent, with detectors other than those that redacted; then, and only then,
clear them.

    1. look: faces, codes and text regions on the final raster
    2. nothing left                        -> ClearedImage
    3. something left: hide it and what surrounds it on the source page, resize and label anew, look again at what
       changed, up to WIDER_PASSES times
    4. still something left                -> Refused(RESIDUAL_FOUND)

This module makes `ClearedImage`, and no other in the guard does (tests/guard/test_contract.py).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from guardedvlm.core.clearance import ClearedImage, raster_digest
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.quads import shape
from guardedvlm.guard.redact import RedactedImage, widen
from guardedvlm.guard.verify.places import places_to_look_again
from guardedvlm.guard.verify.signer import ClearanceSigner
from guardedvlm.guard.verify.verifiers import Verifiers, residuals
from guardedvlm.policy.model import Policy

__all__ = ["ClearanceSigner", "Cleared", "Verdict", "Verifiers", "VerifyReport", "verify"]


WIDER_PASSES = 3
"""How often what is left is hidden before the request is refused. More never clear what fewer would not: the last look
is always at the pixels that are sent. Of 32 redactions of 16 receipts 10 passed the first look, 28 the second and 32
the third: what is found then are specks and strokes that nobody can read."""


class Verdict(StrEnum):
    """How a picture passed. One that does not pass raises."""

    CLEAN = "clean"
    WIDENED = "widened"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verification did, for the audit: how often it looked, and what it still found and hid, by kind. No
    content."""

    passes: int
    residuals: tuple[tuple[Kind, int], ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Cleared:
    """A picture that may be sent, and the words on it that were cleared (grounding uses them in zone 1).

    `redacted` are the same pixels with their regions. `residuals` is what wider passes hid: their strings belong to
    what must not come back in an answer.
    """

    image: ClearedImage
    words: tuple[Word, ...] = field(repr=False)
    redacted: RedactedImage
    residuals: tuple[Finding, ...]
    report: VerifyReport


async def verify(redacted: RedactedImage, verifiers: Verifiers, policy: Policy) -> Cleared:
    """Clear `redacted` or refuse.

    Raises Refused(RESIDUAL_FOUND, count, kinds) when the wider passes did not suffice, what a verifier raised, and
    Refused(DETECTOR_FAILED) for any other failure to look.
    """
    found: tuple[Finding, ...] = ()
    places: tuple[Box, ...] = (redacted.size.box,)
    for wider in range(WIDER_PASSES + 1):
        left = await residuals(redacted, verifiers, policy, places)
        if not left:
            return _cleared(redacted, found, wider + 1)
        if wider < WIDER_PASSES:
            before, redacted = redacted, await asyncio.to_thread(widen, redacted, left)
            places = places_to_look_again(before.raster, redacted.raster, map(shape, left))
            found = (*found, *left)
    raise Refused(Reason.RESIDUAL_FOUND, count=len(left), kinds=_kinds(left))


def _cleared(redacted: RedactedImage, found: tuple[Finding, ...], passes: int) -> Cleared:
    image = ClearedImage(redacted.raster, raster_digest(redacted.raster))
    report = VerifyReport(passes, _counts(found), Verdict.WIDENED if found else Verdict.CLEAN)
    return Cleared(image, redacted.visible, redacted, found, report)


def _counts(found: Sequence[Finding]) -> tuple[tuple[Kind, int], ...]:
    return tuple(sorted(Counter(finding.kind for finding in found).items()))


def _kinds(found: Sequence[Finding]) -> str:
    """Kinds as one safe word of at most 64 characters ("FACE+PERSON")."""
    return "+".join(kind for kind, _ in _counts(found))[:64]
