"""Rectangles -> text lines with words: straighten, find which way is up, read, and place each word.

Guarantee: one line for each rectangle, in the same order, read or not. What cannot be read has text "" and
confidence 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.reading.recognition import NOTHING, LineRecogniser, Reading, TurnClassifier
from guardedvlm.reading.regions import FloatQuad
from guardedvlm.reading.unread import with_unread

UPRIGHT_ASPECT = 1.5
"""Height over width from which a rectangle is a line that runs up or down the picture (PP-OCR's own value)."""
SHORT_ASPECT = 4.0
"""Up to this height over width a standing rectangle may also be one or two upright characters."""
SURE = 0.9
"""Confidence from which the first direction that was tried is believed. Right lines of receipts: median 0.99."""
PRIOR_LIMIT = 3.0
"""Log odds by which the page's other lines may move the decision which way is up."""


class LineReader:
    """Reads rectangles of a picture."""

    def __init__(self, classifier: TurnClassifier, recogniser: LineRecogniser, *, marks_unread: bool = True) -> None:
        self._classifier = classifier
        self._recogniser = recogniser
        self._marks_unread = marks_unread

    def read(
        self, raster: Raster, quads: Sequence[FloatQuad], places: Sequence[FloatQuad] | None = None
    ) -> tuple[TextLine, ...]:
        """One line for each quad (corners as on the picture), in the same order.

        `places` are the quads that the lines get where those to read from reach too far.
        """
        if not quads:
            return ()
        crops = [straightened(raster, quad) for quad in quads]
        turns = self._turns(crops)
        readings = self._recogniser.read([turned(crop, turn) for crop, turn in zip(crops, turns, strict=True)])
        self._try_other_turns(crops, turns, readings)
        if self._marks_unread:
            readings = [
                with_unread(turned(crop, turn), reading)
                for crop, turn, reading in zip(crops, turns, readings, strict=True)
            ]
        size = Size.of(raster)
        return tuple(
            text_line(np.roll(place, -corner_shift(turn), axis=0), reading, size)
            for place, turn, reading in zip(places or quads, turns, readings, strict=True)
        )

    def _turns(self, crops: Sequence[Raster]) -> list[int]:
        """Quarter turns (counterclockwise) that set each crop upright, judged by the crop and by the whole page."""
        standing = [crop.shape[0] >= UPRIGHT_ASPECT * crop.shape[1] for crop in crops]
        laid = [turned(crop, int(stands)) for crop, stands in zip(crops, standing, strict=True)]
        odds = self._classifier.upside_down(laid)
        widths = [crop.shape[1] for crop in laid]
        priors = {stands: _prior(odds, widths, [s == stands for s in standing]) for stands in (False, True)}
        return [int(stands) + 2 * int(odd + priors[stands] > 0) for odd, stands in zip(odds, standing, strict=True)]

    def _try_other_turns(self, crops: Sequence[Raster], turns: list[int], readings: list[Reading]) -> None:
        """Where the first reading is doubtful, read the other directions too and keep the surest."""
        trials = [
            (index, turn)
            for index, crop in enumerate(crops)
            if readings[index].confidence < SURE
            for turn in _plausible_turns(crop)
            if turn != turns[index]
        ]
        others = self._recogniser.read([turned(crops[index], turn) for index, turn in trials])
        for (index, turn), reading in zip(trials, others, strict=True):
            if reading.confidence > readings[index].confidence:
                readings[index], turns[index] = reading, turn


def _plausible_turns(crop: Raster) -> tuple[int, ...]:
    aspect = crop.shape[0] / crop.shape[1]
    if aspect < 1 / UPRIGHT_ASPECT:
        return (0, 2)
    return (0, 1, 2, 3) if aspect <= SHORT_ASPECT else (1, 3)


def _prior(odds: Sequence[float], widths: Sequence[int], chosen: Sequence[bool]) -> float:
    """Mean log odds of the chosen lines, long ones counting more; 0 where there are none."""
    weights = np.asarray(widths, np.float64) * np.asarray(chosen)
    if not weights.any():
        return 0.0
    return float(np.clip(np.average(odds, weights=weights), -PRIOR_LIMIT, PRIOR_LIMIT))


def straightened(raster: Raster, quad: FloatQuad) -> Raster:
    """The quad's content as an upright rectangle, at least 1 x 1 pixels."""
    across = max(np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[3]))
    down = max(np.linalg.norm(quad[3] - quad[0]), np.linalg.norm(quad[2] - quad[1]))
    width, height = max(1, round(float(across))), max(1, round(float(down)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    crop = cv2.warpPerspective(raster, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def turned(crop: Raster, quarter_turns: int) -> Raster:
    """The crop turned counterclockwise."""
    return np.ascontiguousarray(np.rot90(crop, quarter_turns))


def corner_shift(quarter_turns: int) -> int:
    """Index of the picture's corner that is the text's top left one, after the crop was turned that often."""
    # One counterclockwise turn brings the top right corner to the top left.
    return quarter_turns % 4


def text_line(quad: FloatQuad, reading: Reading, size: Size) -> TextLine:
    """A line from its corners in reading order; words share the quad among them without a gap."""
    words = tuple(Word(text, _box(part, size), _quad(part)) for text, part in _words(reading, quad))
    text = " ".join(word.text for word in words)
    return TextLine(_box(quad, size), _quad(quad), text, reading.confidence if text else 0.0, words)


def unread(quad: FloatQuad, size: Size) -> TextLine:
    """A region that nobody tried to read."""
    return text_line(quad, NOTHING, size)


def _words(reading: Reading, quad: FloatQuad) -> Iterator[tuple[str, FloatQuad]]:
    """Each word and its part of the quad. Borders lie midway between the characters beside the space."""
    runs = [
        list(run)
        for blank, run in itertools.groupby(range(len(reading.text)), lambda at: reading.text[at].isspace())
        if not blank
    ]
    if not runs:
        return
    inner = [
        (reading.centres[before[-1]] + reading.centres[after[0]]) / 2 for before, after in itertools.pairwise(runs)
    ]
    borders = [0.0, *inner, 1.0] if runs else [0.0]
    for run, start, end in zip(runs, borders[:-1], borders[1:], strict=True):
        yield reading.text[run[0] : run[-1] + 1], along(quad, start, end)


def along(quad: FloatQuad, start: float, end: float) -> FloatQuad:
    """The part of a quad between two shares of its length, in reading direction."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    return np.stack([quad[0] + top * start, quad[0] + top * end, quad[3] + bottom * end, quad[3] + bottom * start])


def _box(quad: FloatQuad, size: Size) -> Box:
    """Integer box around the quad, inside the picture; a quad on the very rim gets the last pixel."""
    box = Box.around((float(x), float(y)) for x, y in quad).clipped(size)
    if box is not None:
        return box
    x, y = (min(max(int(value), 0), limit - 1) for value, limit in zip(quad[0], (size.width, size.height), strict=True))
    return Box(x, y, x + 1, y + 1)


def _quad(quad: FloatQuad) -> Quad:
    corners = tuple((round(float(x)), round(float(y))) for x, y in quad)
    return corners[0], corners[1], corners[2], corners[3]
