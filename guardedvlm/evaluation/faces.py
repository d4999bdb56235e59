"""`eval faces`: are labelled faces covered, whatever happened to the picture?"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method, Stage
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.region import Raster
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason
from guardedvlm.evaluation.conditions import CONDITIONS, Photo
from guardedvlm.evaluation.coverage import filled_mask, share_of
from guardedvlm.evaluation.report import Report, Worst, corners, marked
from guardedvlm.evaluation.samples import Sample
from guardedvlm.evaluation.session import measured_guard, request_of
from guardedvlm.evaluation.share import wilson
from guardedvlm.evaluation.text import pages
from guardedvlm.policy.model import Policy

COVERED = 0.9
"""Share of a labelled face's box that must be filled."""
TOUCHED = 0.25
"""Share of a labelled face that a region must hold so as to be none too many."""


@dataclass(slots=True)
class Seen:
    """What was measured of one condition."""

    faces: list[bool] = field(default_factory=list)  # covered?
    regions: list[bool] = field(default_factory=list)  # on a labelled face?


async def measure(
    found: Sequence[Sample],
    policy: Policy,
    conditions: Sequence[str],
    jobs: int,
    command: str,
    progress: Callable[[], None],
) -> Report:
    """Redact every picture under every condition. Raises ConfigurationError where the policy keeps faces, and
    GuardedVLMError when the guard cannot start."""
    if policy.action(Kind.FACE) is Action.KEEP:
        raise ConfigurationError(Reason.POLICY_INVALID, place="hide.FACE", explanation="this policy keeps faces")
    photos = [photo_of(sample) for sample in found]
    made = [(name, photo) for name in conditions for original in photos for photo in CONDITIONS[name](original)]
    report = Report(f"Faces under {policy.name}", policy.name, policy.digest(), command, len(made))
    seen = {name: Seen() for name in conditions}
    gate = asyncio.Semaphore(jobs)
    async with measured_guard(jobs) as guard:

        async def one(name: str, photo: Photo) -> None:
            async with gate:
                try:
                    await _measured(guard, name, photo, policy, seen[name], report)
                except GuardedVLMError as refusal:
                    report.refusals[refusal.reason.value] += 1

        for start in range(0, len(made), len(photos)):
            await asyncio.gather(*(one(name, photo) for name, photo in made[start : start + len(photos)]))
            progress()
    _tell(report, seen)
    return report


def photo_of(sample: Sample) -> Photo:
    """A picture and the boxes of its faces."""
    with Image.open(sample.path) as picture:
        raster = np.array(picture.convert("RGB"))
    return Photo(raster, tuple(label.box for label in sample.labels if label.kind is Kind.FACE))


async def _measured(guard: Guard, name: str, photo: Photo, policy: Policy, seen: Seen, report: Report) -> None:
    began = time.perf_counter()
    request = request_of(_png(photo.raster), policy, Method.REDACT_IMAGE, want_image=True)
    redaction = await guard.pipeline.redact(request)
    report.count_times({**redaction.times, Stage.TOTAL: round((time.perf_counter() - began) * 1000)})
    assert redaction.file is not None  # asked for
    page, (after,) = redaction.pages[0], await pages(guard, redaction.file.content, policy)
    filled = filled_mask(photo.raster, after, [region.box for region in page.regions])
    report.area_hidden.append(float(filled.mean()))
    covered = [share_of(filled, face) >= COVERED for face in photo.faces]
    seen.faces += covered
    known = photo.faces + photo.others
    boxes = [region.box for region in page.regions if region.kind is Kind.FACE]
    seen.regions += [any(box.overlap(face) >= TOUCHED * face.area for face in known) for box in boxes]
    missed = [corners(face) for face, hidden in zip(photo.faces, covered, strict=True) if not hidden]
    if missed:
        report.show(Worst(name, len(missed), marked(after, missed)))


def _tell(report: Report, seen: dict[str, Seen]) -> None:
    covered, false = report.shares["Labelled faces: covered"], report.shares["Regions of kind FACE on no labelled face"]
    every = [hit for one in seen.values() for hit in one.faces]
    covered["all"] = wilson(sum(every), len(every))
    for name, one in seen.items():
        covered[name] = wilson(sum(one.faces), len(one.faces))
        false[name] = wilson(one.regions.count(False), len(one.regions))


def _png(raster: Raster) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(raster).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
