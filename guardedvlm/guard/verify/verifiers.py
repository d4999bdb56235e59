"""What other detectors still see on the final pixels: faces, codes, and text that nothing explains.

Text is explained where cleared words, fills and labels cover it; recognition, which is the costly part, runs only on
the rest.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import GuardedVLMError, Reason, Refused, Unavailable
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.detect.quads import grown, midline, runs_down, shape, text_height, touches
from guardedvlm.guard.redact import RedactedImage
from guardedvlm.guard.redact.fills import Mask, paint, polygon
from guardedvlm.guard.verify.ink import shows_writing
from guardedvlm.policy.model import Policy

T = TypeVar("T")
FillMap = npt.NDArray[np.uint8]
"""(H, W) uint8: 1 where a pixel shows nothing but the guard's own fill or label, 0 elsewhere."""

EXPLAINED_SHARE = 0.85
"""Part of a region that must be explained where ink is left in the rest: rims of letters that reach out of their words'
boxes are up to a tenth of a region; one character of a five-character word is a fifth."""
LONGEST_BARE = 0.5
"""Text heights that may be bare in a row: about one narrow character. Of a long line even two words are less than the
share above."""
WORD_GROWTH = 3
"""Pixels by which a cleared word is grown on every side: OCR boxes cut off edges. Not more, and not in proportion to
the word: a missed line of small print under a headline would be taken for its border. Blank borders need no
explanation."""
CONTEXT_GAP = 3.0
"""Text heights between two visible words up to which they are one phrase for the recognisers of personal data."""


@dataclass(frozen=True, slots=True)
class Verifiers:
    """The detectors that look at the final pixels; none of them is one that redacted. Each returns findings or raises.

    Raises Unavailable(DETECTOR_MISSING) when one is absent: a picture that nobody looked at is not verified.
    """

    text_regions: Callable[[Raster, FillMap, tuple[Box, ...]], Awaitable[tuple[TextLine, ...]]]
    """Every text region, upright and at 90 degrees, unread, in the boxes named. Takes the raster and its fills: to a
    text detector a page full of black bars is one giant letter, in which it misses what was left beside them."""
    read_regions: Callable[[Raster, tuple[Quad, ...]], Awaitable[tuple[TextLine, ...]]]
    """One line for each quad, in the same order; text "" where nothing was read."""
    faces: Callable[[Raster], Awaitable[tuple[Finding, ...]]]
    codes: Callable[[Raster], Awaitable[tuple[Finding, ...]]]
    personal: Callable[[tuple[TextLine, ...], Size], Awaitable[tuple[Finding, ...]]]
    """Personal data in the lines of a page of that size."""

    def __post_init__(self) -> None:
        for part in fields(self):
            if not callable(getattr(self, part.name)):
                raise Unavailable(Reason.DETECTOR_MISSING, stage="verify", detector=part.name)


async def residuals(
    redacted: RedactedImage, verifiers: Verifiers, policy: Policy, places: tuple[Box, ...]
) -> tuple[Finding, ...]:
    """Everything in `places` that may not be on the raster and is, in its pixels; codes everywhere.

    Raises what a verifier raised, or Refused.
    """
    raster, fills = redacted.raster, redacted.hidden.astype(np.uint8)
    try:
        async with asyncio.TaskGroup() as group:
            faces = group.create_task(_looked(_faces(raster, verifiers, places)))
            codes = group.create_task(_looked(verifiers.codes(raster)))
            regions = group.create_task(_looked(verifiers.text_regions(raster, fills, places)))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    things = [
        finding
        for finding in (*faces.result(), *codes.result())
        if policy.hides(finding.kind) and _share(redacted.hidden, shape(finding)) < EXPLAINED_SHARE
    ]
    texts = await _unexplained_text(redacted, regions.result(), verifiers, policy)
    return (*things, *texts)


async def _faces(raster: Raster, verifiers: Verifiers, places: Sequence[Box]) -> tuple[Finding, ...]:
    """The faces in each of `places`, in pixels of `raster`."""
    found: list[Finding] = []
    for place in places:
        part = np.ascontiguousarray(raster[place.y0 : place.y1, place.x0 : place.x1])
        for face in await verifiers.faces(part):
            box = Box(face.box.x0 + place.x0, face.box.y0 + place.y0, face.box.x1 + place.x0, face.box.y1 + place.y0)
            found.append(replace(face, box=box, quad=None))
    return tuple(found)


async def _unexplained_text(
    redacted: RedactedImage, regions: Sequence[TextLine], verifiers: Verifiers, policy: Policy
) -> tuple[Finding, ...]:
    """Regions that nothing explains and that do not read as text which the policy clears."""
    words = _cleared_words(redacted)
    unexplained = tuple(
        quad for quad in map(shape, regions) if not _is_explained(redacted.hidden, words, quad, redacted.raster)
    )
    if not unexplained:
        return ()
    lines = await _looked(verifiers.read_regions(redacted.raster, unexplained))
    if len(lines) != len(unexplained):
        raise Refused(Reason.DETECTOR_FAILED, stage="verify")
    # A value says little without its label, so the recognisers see the cleared words of the page as well.
    page = (*lines, *phrases(redacted.visible))
    found = await _looked(verifiers.personal(page, redacted.size))
    hidden = [finding for finding in found if policy.hides(finding.kind)]
    cleared = await asyncio.to_thread(clear_text, lines, found, policy, redacted.size)
    return tuple(
        Finding(kind, line.box, 1.0, "verify", quad=line.quad, secret=line.text)
        for line in lines
        if (kind := _worst(line, hidden, cleared.findings)) is not None
    )


def _worst(line: TextLine, personal: Sequence[Finding], own: Sequence[Finding]) -> Kind | None:
    """Why a line may not stay: the personal data in it first, then the guard's own reasons; None when it may."""
    for finding in (*personal, *own):
        if touches(shape(finding), shape(line)) or any(touches(shape(finding), shape(word)) for word in line.words):
            return finding.kind
    return None


async def _looked(call: Awaitable[T]) -> T:
    """The verifier's result; any failure to look is a refusal, and its text stays here."""
    try:
        return await call
    except GuardedVLMError:
        raise
    except Exception:
        raise Refused(Reason.DETECTOR_FAILED, stage="verify") from None


def _cleared_words(redacted: RedactedImage) -> Mask:
    """Pixels of cleared words with their surroundings."""
    mask = np.zeros_like(redacted.hidden)
    paint(mask, (grown(shape(word), WORD_GROWTH, WORD_GROWTH) for word in redacted.visible))
    return mask


def _is_explained(hidden: Mask, cleared: Mask, quad: Quad, raster: Raster) -> bool:
    """True where a region is covered by fills, labels and cleared words, but for its borders and what is no writing."""
    window = Box.around(quad).clipped(Size.of(raster))
    if window is None:
        return False
    inside, here = polygon(quad, window), (slice(window.y0, window.y1), slice(window.x0, window.x1))
    rest = inside & ~(hidden[here] | cleared[here])
    if not shows_writing(raster, window, rest, quad):
        return True
    few = np.count_nonzero(rest) <= (1 - EXPLAINED_SHARE) * np.count_nonzero(inside)
    return bool(few) and _longest_run(rest, inside, quad) < LONGEST_BARE * text_height(quad)


def _longest_run(rest: Mask, inside: Mask, quad: Quad) -> int:
    """Longest row of columns, along the text, of which at least half is bare: a missed word at the end of a long
    line."""
    if runs_down(quad):
        rest, inside = rest.T, inside.T
    bare = 2 * np.count_nonzero(rest, axis=0) > np.count_nonzero(inside, axis=0)
    edges = np.flatnonzero(np.diff(bare.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _share(mask: Mask, quad: Quad) -> float:
    """Part of `quad` (as far as it lies in the picture) where `mask` is set; 0 for a quad outside."""
    window = Box.around(quad).clipped(Size(mask.shape[1], mask.shape[0]))
    if window is None:
        return 0.0
    inside = polygon(quad, window)
    total = int(np.count_nonzero(inside))
    return int(np.count_nonzero(mask[window.y0 : window.y1, window.x0 : window.x1] & inside)) / total if total else 0.0


def phrases(words: Sequence[Word]) -> Iterator[TextLine]:
    """Cleared words as lines again: consecutive words that follow each other closely."""
    run: list[Word] = []
    for word in words:
        if run and not _follows(run[-1], word):
            yield _line(run)
            run = []
        run.append(word)
    if run:
        yield _line(run)


def _follows(before: Word, after: Word) -> bool:
    (_, end), (start, _) = midline(shape(before)), midline(shape(after))
    return math.dist(end, start) <= CONTEXT_GAP * min(text_height(shape(before)), text_height(shape(after)))


def _line(words: Sequence[Word]) -> TextLine:
    box = words[0].box
    for word in words[1:]:
        box = box.union(word.box)
    first, last = shape(words[0]), shape(words[-1])
    quad = (first[0], last[1], last[2], first[3])
    return TextLine(box, quad, " ".join(word.text for word in words), 1.0, tuple(words))
