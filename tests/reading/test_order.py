"""Reading order: rows from top to bottom, left to right in them, on turned and skewed pages too."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from guardedvlm.core.region import Size
from guardedvlm.core.word import TextLine
from guardedvlm.reading.lines import text_line
from guardedvlm.reading.order import in_reading_order
from guardedvlm.reading.recognition import Reading

PAGE = [["Name:", "Smith", "A"], ["Total"], ["12.00", "EUR"], ["x", "Signature"]]


def page(degrees: float) -> list[TextLine]:
    """The rows of PAGE as lines, turned by `degrees` about the middle of the picture."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn, middle = np.array([[c, -s], [s, c]]), np.array([300.0, 300.0])
    lines = []
    for row, texts in enumerate(PAGE):
        for column, text in enumerate(texts):
            # Baselines differ a little, as printers' and detectors' do.
            x, y, width, height = 100 + 150 * column, 100 + 40 * row + 4 * (column % 2), 20 * len(text), 24
            corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)
            quad = (corners - middle) @ turn.T + middle
            lines.append(text_line(quad, Reading(text, 1.0, (0.5,) * len(text)), Size(600, 600)))
    return lines


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, 4, -4, 93, 177])
def test_rows_and_columns(degrees: float) -> None:
    lines = page(degrees)
    random.Random(1).shuffle(lines)
    assert [line.text for line in in_reading_order(lines)] == [text for row in PAGE for text in row]


def test_nothing_is_lost_and_nothing_is_added() -> None:
    lines = page(0) + page(90)
    assert sorted(map(id, in_reading_order(lines))) == sorted(map(id, lines))
    assert in_reading_order([]) == ()
