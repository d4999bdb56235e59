"""The guard's reader on drawn pages and on labelled receipts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.reading.ppocr import PageReader
from guardedvlm.worker import Worker, WorkerSpec

Draw = Callable[..., Any]


def packed(lines: tuple[TextLine, ...]) -> list[str]:
    return ["".join(line.text.split()) for line in lines]


def covered(boxes: tuple[Box, ...], lines: tuple[TextLine, ...], size: Size) -> list[float]:
    """Share of each box inside the lines' quads."""
    mask = np.zeros((size.height, size.width), np.uint8)
    for line in lines:
        cv2.fillConvexPoly(mask, np.array(line.quad, np.int32), 1)
    return [float(mask[box.y0 : box.y1, box.x0 : box.x1].mean()) for box in boxes]


EXPECTED = ["Patient:JohnQ.Smith", "MRN4471-0093", "Dateofbirth1962-03-04", "Totalamount118.40USD"]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_page_is_read_whichever_way_it_lies(page_reader: PageReader, draw: Draw, turns: int) -> None:
    raster, _ = draw()
    lines = page_reader.read(np.ascontiguousarray(np.rot90(raster, turns)))
    assert packed(lines) == EXPECTED
    assert all(line.confidence > 0.9 for line in lines)


def test_words_stand_where_their_ink_is(page_reader: PageReader, draw: Draw) -> None:
    raster, boxes = draw(("Alpha beta gamma delta",))
    (line,) = page_reader.read(raster)
    assert [word.text for word in line.words] == ["Alpha", "beta", "gamma", "delta"]
    ink = raster[boxes[0].y0 : boxes[0].y1].min(axis=(0, 2)) < 128
    columns = np.flatnonzero(ink)
    gaps = np.flatnonzero(np.diff(columns) > 5)
    starts = [columns[0], *columns[gaps + 1]]
    ends = [*columns[gaps], columns[-1]]
    for word, start, end in zip(line.words, starts, ends, strict=True):
        assert word.box.x0 <= start
        assert word.box.x1 > end


def test_reading_is_the_same_twice(page_reader: PageReader, draw: Draw) -> None:
    raster, _ = draw()
    assert page_reader.read(raster) == page_reader.read(raster)


@pytest.mark.parametrize(("paper", "ink"), [(255, 243), (128, 140), (30, 42)])
def test_faint_print_is_found(page_reader: PageReader, draw: Draw, paper: int, ink: int) -> None:
    raster, boxes = draw(paper=paper, ink=ink)
    assert min(covered(boxes, page_reader.read(raster), Size.of(raster))) > 0.8


def test_a_few_small_lines_on_a_large_blank_page_are_found(page_reader: PageReader, draw: Draw) -> None:
    raster, boxes = draw(height=10, size=(1632, 1632), at=(700, 900))
    assert min(covered(boxes, page_reader.read(raster), Size.of(raster))) > 0.8


def test_small_print_is_found(page_reader: PageReader, draw: Draw) -> None:
    raster, boxes = draw(height=9, size=(900, 700))
    assert min(covered(boxes, page_reader.read(raster), Size.of(raster))) > 0.8


@pytest.mark.parametrize("seed", [1, 2])
def test_a_picture_without_text_is_not_text(page_reader: PageReader, seed: int) -> None:
    # Without the reference line the network calls each of these one region of text.
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:500, 0:450]
    shape = 60 + 120 * np.exp(-((x - 220) ** 2 / 20000 + (y - 250) ** 2 / 30000)) + 20 * np.sin(y / 25)
    picture = np.clip(shape[:, :, None] + rng.normal(0, 4, (500, 450, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
    assert page_reader.read(picture) == ()


def test_what_cannot_be_read_comes_back_unread_or_doubtful(page_reader: PageReader) -> None:
    rng = np.random.default_rng(3)
    page = np.full((300, 600, 3), 255, np.uint8)
    for x in range(60, 500, 14):  # strokes in a line, no letters
        points = rng.integers(0, 22, (5, 2)) + np.array([x, 120])
        cv2.polylines(page, [points.astype(np.int32)], False, (0, 0, 0), 2)
    lines = page_reader.read(page)
    assert lines
    assert min(line.confidence for line in lines) < 0.8


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (7, 3)])
def test_slivers_are_looked_at(page_reader: PageReader, shape: tuple[int, int]) -> None:
    raster = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for line in page_reader.read(raster):
        assert line.box.clipped(Size.of(raster)) == line.box


def test_text_cut_off_by_the_rim_is_found_inside_the_picture(page_reader: PageReader, draw: Draw) -> None:
    raster, _ = draw(at=(-30, -6))
    lines = page_reader.read(raster)
    assert any("Smith" in line.text for line in lines)
    for line in lines:
        for box in (line.box, *(word.box for word in line.words)):
            assert box.clipped(Size.of(raster)) == box


@pytest.mark.slow
def test_small_print_of_a_large_page_is_found_in_tiles(page_reader: PageReader, draw: Draw) -> None:
    raster, boxes = draw(size=(5200, 3600), height=16, at=(2000, 2500))  # 6 px high in the overview
    lines = page_reader.read(raster)
    assert min(covered(boxes, lines, Size.of(raster))) > 0.8
    assert packed(lines) == EXPECTED


def test_through_a_worker(draw: Draw) -> None:
    raster, _ = draw()
    worker = Worker(WorkerSpec("reader", "guardedvlm.reading.ppocr:PageReader"))
    try:
        lines, _ = worker.call_sync("read", tuple[TextLine, ...], raster)
        weights, _ = worker.call_sync("weights", dict[str, str])
    finally:
        worker.stop()
    assert packed(lines) == EXPECTED
    assert lines[0].words[0].quad is not None
    assert len(weights) == 3


@pytest.mark.slow
def test_lines_of_receipts_are_found(page_reader: PageReader, receipts: Path) -> None:
    found = total = 0
    for path in sorted((receipts / "img").glob("*.jpg"))[:6]:
        raster: Raster = np.asarray(Image.open(path).convert("RGB"))
        labels = [
            np.array(row.split(",", 8)[:8], float).reshape(4, 2)
            for row in (receipts / "box" / f"{path.stem}.csv").read_text(errors="replace").splitlines()
            if row.count(",") >= 8
        ]
        boxes = tuple(Box.around((float(x), float(y)) for x, y in label) for label in labels)
        shares = covered(boxes, page_reader.read(raster), Size.of(raster))
        found += sum(share >= 0.5 for share in shares)
        total += len(shares)
    assert total > 250
    assert found / total >= 0.98
