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
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from guardedvlm.core.finding import Finding
from guardedvlm.core.ports import Detector
from guardedvlm.core.region import Box
from guardedvlm.evaluation.conditions import CONDITIONS, Photo
from guardedvlm.evaluation.faces import photo_of
from guardedvlm.evaluation.samples import samples
from guardedvlm.evaluation.share import Share, wilson

DATA = Path(__file__).parents[3] / "shared" / "data"
COVER = 0.9
"""Part of a labelled face that must be hidden before it counts as covered."""


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
    originals = [photo_of(sample) for sample in samples(DATA / "faces")]
    for name, detector in detectors(chosen.detector):
        print(f"{name}\n{'case':18} {'recall':>32} {'covered':>32} {'precision':>32} {'ms':>6}")
        for case, change in CONDITIONS.items():
            if re.search(chosen.cases, case):
                recall, covered, precision, ms = measured(detector, [p for o in originals for p in change(o)]).row()
                print(f"{case:18} {recall!s:>32} {covered!s:>32} {precision!s:>32} {ms:6.0f}", flush=True)
        share, finds, ms = on_paper(detector, chosen.receipts)
        print(f"receipts with a false face {share}, false faces {finds}, {ms:.0f} ms a receipt")
        print(f"peak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
