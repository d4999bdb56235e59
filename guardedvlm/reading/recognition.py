"""What a straightened line says: the 0/180 degree classifier and the CTC recogniser of PP-OCR.

A crop is a picture of one line, (h, w, 3) RGB uint8, text from left to right or upside down. Nothing is filtered: a
line that reads as nothing gives an empty reading with confidence 0, never no reading.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Raster
from guardedvlm.reading.session import open_session, side_by_side

LINE_HEIGHT = 48
"""Pixels; height on which both networks were trained."""
CLASSIFIER_WIDTH = 192
RECOGNISER_WIDTH = 96
"""Pixels to which a shorter line is padded. PP-OCR pads to 320; of 124 short lines of 22 receipts 115 are read right
then, 114 with 160 and with 96 (in 36 % of the time), 112 with 64."""
BATCH_PIXELS = 1024
"""Summed width of one batch. Larger batches are slower: the recogniser's output is 18,710 characters x 4 bytes for each
8 pixels."""
BATCH_SPREAD = 1.15
"""Longest line of a batch over its shortest one: what a line is padded by is paid for like its own pixels. With the
batch's size 6 % of the time of 190 lines of receipts, which read the same but for one space."""
CLASSIFIER_BATCH = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """A line's characters, each with the place of its centre as a share of the crop's width, 0..1."""

    text: str = field(repr=False)
    confidence: float
    centres: tuple[float, ...] = field(default=(), repr=False)


NOTHING = Reading("", 0.0)


class TurnClassifier:
    """Tells whether a line stands on its head."""

    def __init__(self, weights: Path) -> None:
        self._session = open_session(weights)
        self._input = self._session.get_inputs()[0].name

    def upside_down(self, crops: Sequence[Raster]) -> list[float]:
        """Log odds of each crop to be turned by 180 degrees."""
        odds: list[float] = []
        for start in range(0, len(crops), CLASSIFIER_BATCH):
            batch = crops[start : start + CLASSIFIER_BATCH]
            chances = self._session.run(None, {self._input: _batch(batch, CLASSIFIER_WIDTH)})[0]
            chances = np.clip(chances.astype(np.float64), 1e-6, 1.0)
            odds += np.log(chances[:, 1] / chances[:, 0]).tolist()
        return odds


class LineRecogniser:
    """Reads straightened lines. The alphabet stands in the network's own metadata."""

    def __init__(self, weights: Path) -> None:
        self._session = open_session(weights)
        self._input = self._session.get_inputs()[0].name
        characters = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        # CTC: class 0 is the blank, the last one the space.
        self._alphabet = ("", *characters, " ")

    def read(self, crops: Sequence[Raster]) -> list[Reading]:
        """One reading for each crop, in the same order."""
        widths = [line_width(crop) for crop in crops]
        readings = [NOTHING] * len(crops)

        def read(chosen: list[int]) -> None:
            padded = max(RECOGNISER_WIDTH, *(widths[index] for index in chosen))
            chances = self._session.run(None, {self._input: _batch([crops[index] for index in chosen], padded)})[0]
            best, score = chances.argmax(axis=2), chances.max(axis=2)
            for row, index in enumerate(chosen):
                readings[index] = self._decode(best[row], score[row], padded / widths[index])

        side_by_side(*(functools.partial(read, chosen) for chosen in _by_width(widths)))
        return readings

    def _decode(self, best: npt.NDArray[Any], score: npt.NDArray[Any], padding: float) -> Reading:
        """CTC: a run of one class is one character, blanks separate. `padding`: padded width over the line's own."""
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = np.append(starts[1:], len(best))
        text, centres, chances = "", [], []
        for start, end in zip(starts, ends, strict=True):
            if best[start] == 0:
                continue
            character = self._alphabet[best[start]]
            place = min(1.0, (start + end) / 2 / len(best) * padding)
            text += character
            # A class of the alphabet may be more than one code point; each gets the same place.
            centres += [place] * len(character)
            chances.append(float(score[start:end].max()))
        return Reading(text, min(1.0, float(np.mean(chances))), tuple(centres)) if text.strip() else NOTHING


def line_width(crop: Raster) -> int:
    """Width of a crop at LINE_HEIGHT."""
    return max(8, math.ceil(LINE_HEIGHT * int(crop.shape[1]) / int(crop.shape[0])))


def _by_width(widths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar width, the widest first; each batch within BATCH_PIXELS or one line."""
    batch: list[int] = []
    widest = 0
    for index in sorted(range(len(widths)), key=widths.__getitem__, reverse=True):
        width = max(RECOGNISER_WIDTH, widths[index])
        if batch and ((len(batch) + 1) * widest > BATCH_PIXELS or widest > BATCH_SPREAD * width):
            yield batch
            batch = []
        if not batch:
            widest = width
        batch.append(index)
    if batch:
        yield batch


def _batch(crops: Sequence[Raster], width: int) -> npt.NDArray[np.float32]:
    """Crops at LINE_HEIGHT, scaled to -1..1, BGR, padded with 0 (grey) to `width`; longer ones are squeezed."""
    planes = np.zeros((len(crops), 3, LINE_HEIGHT, width), np.float32)
    for row, crop in enumerate(crops):
        own = min(width, line_width(crop))
        shrunk = crop.shape[0] > 2 * LINE_HEIGHT
        line = cv2.resize(crop, (own, LINE_HEIGHT), interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR)
        planes[row, :, :, :own] = line[:, :, ::-1].transpose(2, 0, 1) / np.float32(127.5) - np.float32(1.0)
    return planes
