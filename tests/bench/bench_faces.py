"""How well faces are found: recall, cover and precision by rotation, size, light and blur; false finds on paper; time.

    python tests/bench/bench_faces.py [--detector faces|verifier|both] [--cases REGEX] [--receipts N]

Recall: share of labelled faces whose centre part is in a found box of comparable size. Covered: share of labelled faces
of which found boxes hide at least 90 %. Precision: share of found boxes that touch a labelled face; faces in the
photographs that nobody labelled count against it. Intervals: Wilson, 95 %.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from guardedvlm.core.finding import Finding
from guardedvlm.core.ports import Detector
from guardedvlm.core.region import Box, Raster

sys.path.insert(0, str(Path(__file__).parent))
from wilson import Share, wilson

DATA = Path(__file__).parents[3] / "shared" / "data"
COVER = 0.9
"""Part of a labelled face that must be hidden before it counts as covered."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A picture, the boxes of its faces that count, and of other faces, which are no false finds."""

    raster: Raster
    faces: tuple[Box, ...]
    others: tuple[Box, ...] = ()


Change = Callable[[Photo], list[Photo]]


@dataclass(slots=True)
class Tally:
    """Counts of one case."""

    faces: int = 0
    found: int = 0
    covered: int = 0
    boxes: int = 0
    right: int = 0
    seconds: float = 0.0
    pictures: int = 0

    def add(self, photo: Photo, findings: Sequence[Finding], seconds: float) -> None:
        """Count one picture."""
        boxes = [finding.box for finding in findings]
        self.faces += len(photo.faces)
        self.found += sum(any(matches(box, face) for box in boxes) for face in photo.faces)
        self.covered += sum(hidden(face, boxes) >= COVER for face in photo.faces)
        self.boxes += len(boxes)
        known = photo.faces + photo.others
        self.right += sum(any(box.overlap(face) * 4 >= face.area for face in known) for box in boxes)
        self.seconds += seconds
        self.pictures += 1

    def row(self) -> tuple[Share, Share, Share, float]:
        """Recall, covered, precision, CPU milliseconds a picture."""
        per_picture = 1000 * self.seconds / max(1, self.pictures)
        return (
            wilson(self.found, self.faces),
            wilson(self.covered, self.faces),
            wilson(self.right, self.boxes),
            per_picture,
        )


def matches(box: Box, face: Box) -> bool:
    """True where `box` holds the middle half of `face` and is no more than eight times as large."""
    middle = face.grown(-(face.width // 4), -(face.height // 4))
    return box.overlap(middle) == middle.area and box.area <= 8 * face.area


def hidden(face: Box, boxes: Sequence[Box]) -> float:
    """Part of `face` that `boxes` hide together."""
    mask = np.zeros((face.height, face.width), bool)
    for box in boxes:
        if (common := box.intersection(face)) is not None:
            mask[common.y0 - face.y0 : common.y1 - face.y0, common.x0 - face.x0 : common.x1 - face.x0] = True
    return float(mask.mean())


def photos() -> Iterator[Photo]:
    """The labelled photographs."""
    for image in ElementTree.parse(DATA / "faces" / "boxes.xml").iter("image"):
        raster = cv2.cvtColor(cv2.imread(str(DATA / "faces" / image.attrib["file"])), cv2.COLOR_BGR2RGB)
        sides = ({name: int(value) for name, value in box.attrib.items()} for box in image.iter("box"))
        yield Photo(
            raster,
            tuple(Box(s["left"], s["top"], s["left"] + s["width"], s["top"] + s["height"]) for s in sides),
        )


def moved(photo: Photo, matrix: np.ndarray, width: int, height: int) -> Photo:
    """The photo under a 2 x 3 affine map, with the boxes around its faces' corners."""
    raster = cv2.warpAffine(
        photo.raster, matrix, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )

    def there(face: Box) -> Box:
        corners = [(x, y, 1.0) for x in (face.x0, face.x1) for y in (face.y0, face.y1)]
        around = Box.around([tuple(matrix @ corner) for corner in corners])
        if not matrix[0, 1]:
            return around
        # The box around a turned square is larger than the face: keep its middle, of the face's own area.
        side = round((face.area * abs(np.linalg.det(matrix[:, :2]))) ** 0.5)
        return around.grown(-max(0, (around.width - side) // 2))

    return Photo(np.ascontiguousarray(raster), tuple(map(there, photo.faces)), tuple(map(there, photo.others)))


def turned(degrees: float) -> Change:
    """Turned about its centre; nothing is cut off."""

    def change(photo: Photo) -> list[Photo]:
        height, width = photo.raster.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        c, s = abs(matrix[0, 0]), abs(matrix[0, 1])
        w, h = round(width * c + height * s), round(width * s + height * c)
        matrix[:, 2] += ((w - width) / 2, (h - height) / 2)
        return [moved(photo, matrix, w, h)]

    return change


def face_side(pixels: int, on_page: bool = False) -> Change:
    """Scaled so that one face after the other has this side; only faces of about that size count.

    `on_page`: the photo lies on a white page of 1654 x 2339 px (A4 at 200 dpi).
    """

    def change(photo: Photo) -> list[Photo]:
        made = []
        height, width = photo.raster.shape[:2]
        for side in sorted({face.width for face in photo.faces}):
            scale = pixels / side
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            raster = cv2.resize(photo.raster, small, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            left, top = 0, 0
            if on_page:
                left, top = 200, 300
                page = np.full((2339, 1654, 3), 255, np.uint8)
                raster = raster[: 2339 - top, : 1654 - left]
                page[top : top + raster.shape[0], left : left + raster.shape[1]] = raster
                raster = page

            def placed(face: Box, scale: float = scale, dx: int = left, dy: int = top) -> Box:
                return Box.around(
                    [(face.x0 * scale + dx, face.y0 * scale + dy), (face.x1 * scale + dx, face.y1 * scale + dy)]
                )

            faces = tuple(placed(face) for face in photo.faces if face.width == side)
            others = tuple(placed(face) for face in photo.faces if face.width != side)
            made.append(Photo(np.ascontiguousarray(raster), faces, others))
        return made

    return change


def in_turn(first: Change, second: Change) -> Change:
    """One change after the other."""
    return lambda photo: [made for between in first(photo) for made in second(between)]


def toned(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Pixel values changed, geometry kept."""
    return lambda photo: [Photo(np.asarray(change(photo.raster), np.uint8), photo.faces)]


def cut_out(margin: float) -> Change:
    """One picture a face that shows little else: a portrait, with `margin` face sides around."""

    def change(photo: Photo) -> list[Photo]:
        made = []
        whole = Box(0, 0, photo.raster.shape[1], photo.raster.shape[0])
        for face in photo.faces:
            grow = round(margin * face.width)
            part = face.grown(grow).intersection(whole)
            assert part is not None
            at = Box(face.x0 - part.x0, face.y0 - part.y0, face.x1 - part.x0, face.y1 - part.y0)
            raster = np.ascontiguousarray(photo.raster[part.y0 : part.y1, part.x0 : part.x1])
            made.append(Photo(raster, (at,)))
        return made

    return change


def enlarged(factor: float) -> Change:
    """Scaled up: large pages with large faces."""

    def change(photo: Photo) -> list[Photo]:
        height, width = photo.raster.shape[:2]
        matrix = np.array([[factor, 0, 0], [0, factor, 0]], float)
        return [moved(photo, matrix, round(width * factor), round(height * factor))]

    return change


def squashed(photo: Photo) -> list[Photo]:
    """1344 x 1344 px, aspect ratio not kept: what CogVLM2 sees."""
    height, width = photo.raster.shape[:2]
    return [moved(photo, np.array([[1344 / width, 0, 0], [0, 1344 / height, 0]]), 1344, 1344)]


CASES: dict[str, Change] = {
    "upright": lambda photo: [photo],
    **{f"turned {degrees}": turned(degrees) for degrees in (90, 180, 270, 20, 45)},
    **{f"face {pixels} px": face_side(pixels) for pixels in (12, 16, 20, 24)},
    **{f"face {pixels} px on A4": face_side(pixels, on_page=True) for pixels in (12, 24, 64)},
    **{
        f"face {pixels} px on A4, {degrees}": in_turn(face_side(pixels, on_page=True), turned(degrees))
        for pixels in (40, 64)
        for degrees in (90, 180)
    },
    "dark": toned(lambda pixels: pixels * 0.25),
    "blur": toned(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2.5)),
    "grey": toned(lambda pixels: cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)),
    "noise": toned(lambda p: np.clip(p + np.random.default_rng(1).normal(0, 25, p.shape), 0, 255)),
    "portrait, wide": cut_out(0.5),
    "portrait, tight": cut_out(0.05),
    "4x larger": enlarged(4),
    "1344 squash": squashed,
}


def measured(detector: Detector, made: Sequence[Photo]) -> Tally:
    """Run `detector` over pictures."""
    tally = Tally()
    for photo in made:
        start = time.process_time()
        findings = detector.detect(photo.raster)
        tally.add(photo, findings, time.process_time() - start)
    return tally


def on_paper(detector: Detector, count: int) -> tuple[Share, int, float]:
    """Receipts with at least one false face, all false faces, and the mean CPU milliseconds a receipt."""
    paths = sorted((DATA / "receipts" / "img").glob("*.jpg"))[:count]
    finds, seconds = [], 0.0
    for path in paths:
        raster = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        start = time.process_time()
        finds.append(len(detector.detect(raster)))
        seconds += time.process_time() - start
    return wilson(sum(map(bool, finds)), len(finds)), sum(finds), 1000 * seconds / max(1, len(finds))


def detectors(which: str) -> Iterator[tuple[str, Detector]]:
    """The detectors to measure, loaded when their turn comes."""
    if which in ("faces", "both"):
        from guardedvlm.guard.detect.faces import Faces

        yield "faces", Faces()
    if which in ("verifier", "both"):
        from guardedvlm.guard.verify_faces import FaceVerifier

        yield "verifier", FaceVerifier()


def main() -> None:
    """Print one row a case."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--detector", choices=("faces", "verifier", "both"), default="both")
    arguments.add_argument("--cases", default="", help="regular expression of case names; default: all")
    arguments.add_argument("--receipts", type=int, default=48, help="receipts to look for false faces on")
    chosen = arguments.parse_args()
    if not DATA.is_dir():
        raise SystemExit("the labelled data is not beside this checkout")
    originals = list(photos())
    for name, detector in detectors(chosen.detector):
        print(f"{name}\n{'case':18} {'recall':>32} {'covered':>32} {'precision':>32} {'ms':>6}")
        for case, change in CASES.items():
            if re.search(chosen.cases, case):
                recall, covered, precision, ms = measured(detector, [p for o in originals for p in change(o)]).row()
                print(f"{case:18} {recall!s:>32} {covered!s:>32} {precision!s:>32} {ms:6.0f}", flush=True)
        share, finds, ms = on_paper(detector, chosen.receipts)
        print(f"receipts with a false face {share}, false faces {finds}, {ms:.0f} ms a receipt")
        print(f"peak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
