"""The verifier's reader: looks at 0 and 90 degrees, reads what it is asked to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import TextLine
from guardedvlm.reading.ppocr_v4 import IndependentReader
from guardedvlm.worker import Worker, WorkerSpec

Draw = Callable[..., Any]


def quads(lines: tuple[TextLine, ...]) -> tuple[Quad, ...]:
    return tuple(line.quad for line in lines)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_regions_are_found_unread_and_then_read(independent_reader: IndependentReader, draw: Draw, turns: int) -> None:
    raster = np.ascontiguousarray(np.rot90(draw()[0], turns))
    regions = independent_reader.regions(raster)
    assert {(line.text, line.confidence, line.words) for line in regions} == {("", 0.0, ())}
    lines = independent_reader.read_regions(raster, quads(regions))
    assert len(lines) == len(regions)
    read = {"".join(line.text.split()) for line in lines}
    assert {"MRN4471-0093", "Dateofbirth1962-03-04"} <= read


def test_a_region_is_reported_once(independent_reader: IndependentReader, draw: Draw) -> None:
    assert len(independent_reader.regions(draw()[0])) == 4


def test_order_is_kept_and_blank_regions_stay_empty(independent_reader: IndependentReader, draw: Draw) -> None:
    raster, boxes = draw(("First 111", "Second 222"))
    corners = [((b.x0 - 3, b.y0 - 3), (b.x1 + 3, b.y0 - 3), (b.x1 + 3, b.y1 + 3), (b.x0 - 3, b.y1 + 3)) for b in boxes]
    blank: Quad = ((300, 250), (400, 250), (400, 280), (300, 280))
    second, empty, first = independent_reader.read_regions(raster, (corners[1], blank, corners[0]))
    assert "222" in second.text
    assert "111" in first.text
    assert (empty.text, empty.words, empty.confidence) == ("", (), 0.0)
    assert independent_reader.read_regions(raster, ()) == ()


@pytest.mark.parametrize(("paper", "ink"), [(255, 243), (128, 140)])
def test_faint_print_is_found(independent_reader: IndependentReader, draw: Draw, paper: int, ink: int) -> None:
    raster, boxes = draw(paper=paper, ink=ink)
    regions = independent_reader.regions(raster)
    for box in boxes:
        assert sum(line.box.overlap(box) for line in regions) > 0.8 * box.area


def test_fills_are_not_text_when_they_are_known(independent_reader: IndependentReader, draw: Draw) -> None:
    raster, boxes = draw(tuple(f"Line number {n} of a page {n * 7919}" for n in range(12)), size=(640, 660))
    filled, hidden = raster.copy(), np.zeros(raster.shape[:2], np.uint8)
    for box in boxes[:-1]:
        area = box.grown(6)
        filled[area.y0 : area.y1, area.x0 : area.x1] = 0
        hidden[area.y0 : area.y1, area.x0 : area.x1] = 1
    (left,) = independent_reader.regions(filled, hidden)
    assert left.box.overlap(boxes[-1]) > 0.8 * boxes[-1].area
    last = boxes[-1].grown(6)
    filled[last.y0 : last.y1, last.x0 : last.x1] = 0
    hidden[last.y0 : last.y1, last.x0 : last.x1] = 1
    assert independent_reader.regions(filled, hidden) == ()


@pytest.mark.parametrize("turns", [0, 1])
def test_only_the_places_named_are_looked_at(independent_reader: IndependentReader, draw: Draw, turns: int) -> None:
    upright, boxes = draw(("First 111", "Second 222"))
    if turns:
        boxes = [Box(b.y0, upright.shape[1] - b.x1, b.y1, upright.shape[1] - b.x0) for b in boxes]
    raster = np.ascontiguousarray(np.rot90(upright, turns))
    around = boxes[1].grown(20).clipped(Size.of(raster))
    assert around is not None
    (there,) = independent_reader.regions(raster, within=[astuple(around)])
    assert there.box.overlap(boxes[1]) > 0.8 * boxes[1].area
    assert there.box.overlap(boxes[0]) == 0
    assert independent_reader.regions(raster, within=[]) == ()


def test_through_a_worker(draw: Draw) -> None:
    raster, _ = draw()
    worker = Worker(WorkerSpec("text_verifier", "guardedvlm.reading.ppocr_v4:IndependentReader"))
    try:
        regions, _ = worker.call_sync("regions", tuple[TextLine, ...], raster)
        lines, _ = worker.call_sync("read_regions", tuple[TextLine, ...], raster, quads=quads(regions))
    finally:
        worker.stop()
    assert any("4471-0093" in "".join(line.text.split()) for line in lines)
    assert all(line.box.clipped(Size.of(raster)) == line.box for line in lines)
