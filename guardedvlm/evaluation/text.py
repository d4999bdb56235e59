"""`eval text` and `eval docs`: what of the labelled text is hidden, and what of the harmless text stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Action
from guardedvlm.core.region import Box, Raster
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evaluation.coverage import Mask, covered_ink, filled_mask, ink_of, share_of
from guardedvlm.evaluation.report import Report, Worst, marked
from guardedvlm.evaluation.samples import Label, Sample
from guardedvlm.evaluation.session import measured_guard, request_of
from guardedvlm.evaluation.share import wilson
from guardedvlm.guard.admit import admit
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Policy

WORD_FILLED = 0.5
"""Share of a word's box from which it counts as hidden: where in a line a word stands is an estimate."""
INK_FILLED = 0.95
"""Share of a field's ink that must be filled."""
FIELD_SHOWN = 0.05
"""Share of a field's ink below which it counts as visible."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one labelled word or field. `right`: hidden where it must be, visible where it may."""

    label: Label
    personal: bool
    hidden: bool


@dataclass(slots=True)
class Measured:
    """One picture. `verdicts` is empty where the guard refused."""

    sample: Sample
    verdicts: list[Verdict] = field(default_factory=list)


Judge = Callable[[Raster, Mask, Label], Iterator[bool]]
"""(source, filled, label) -> whether each part of the label is hidden."""


def by_word(_: Raster, filled: Mask, label: Label) -> Iterator[bool]:
    """Each word of a line."""
    for box in label.words():
        yield share_of(filled, box) >= WORD_FILLED


def by_ink(source: Raster, filled: Mask, label: Label) -> Iterator[bool]:
    """The field as a whole: all of its ink, or for one that may stay visible any of it."""
    share = covered_ink(filled, ink_of(source, label.box), label.box)
    yield share >= (INK_FILLED if label.kind is not None else FIELD_SHOWN)


async def measure(
    title: str,
    unit: str,
    judge: Judge,
    found: Sequence[Sample],
    policy: Policy,
    jobs: int,
    command: str,
    progress: Callable[[], None],
) -> Report:
    """Redact every sample under the policy and judge its labels. Raises GuardedVLMError when the guard cannot start."""
    report = Report(
        f"{title} under {policy.name} ({policy.text.mode})", policy.name, policy.digest(), command, len(found)
    )
    gate = asyncio.Semaphore(jobs)
    async with measured_guard(jobs) as guard:

        async def one(sample: Sample) -> Measured:
            async with gate:
                try:
                    return await _measured(guard, sample, policy, judge, report)
                except GuardedVLMError as refusal:
                    report.refusals[refusal.reason.value] += 1
                    return Measured(sample)
                finally:
                    progress()

        done = await asyncio.gather(*map(one, found))
    _tell(report, unit, done)
    return report


async def _measured(guard: Guard, sample: Sample, policy: Policy, judge: Judge, report: Report) -> Measured:
    content = await asyncio.to_thread(sample.path.read_bytes)
    redaction = await guard.pipeline.redact(request_of(content, policy, Method.REDACT_IMAGE, want_image=True))
    report.count_times(redaction.times)
    page = redaction.pages[0]
    assert page.file is not None  # asked for
    before, after = await pixels(guard, content, policy), await pixels(guard, page.file.content, policy)
    filled = filled_mask(before, after, [region.box for region in page.regions])
    report.area_hidden.append(float(filled.mean()))
    done = Measured(sample)
    for label in sample.labels:
        personal = label.kind is not None and policy.action(label.kind) is not Action.KEEP
        done.verdicts += [Verdict(label, personal, hidden) for hidden in judge(before, filled, label)]
    missed = [verdict.label.box for verdict in done.verdicts if verdict.personal and not verdict.hidden]
    if missed:
        names = sorted({verdict.label.name for verdict in done.verdicts if verdict.personal and not verdict.hidden})
        report.show(Worst(sample.path.name, len(missed), marked(after, list(map(_corners, missed))), ", ".join(names)))
    return done


def _tell(report: Report, unit: str, done: Sequence[Measured]) -> None:
    """Fill the tables."""
    every = [verdict for one in done for verdict in one.verdicts]
    conditions: dict[str, list[Verdict]] = {}
    for one in done:
        for name, value in one.sample.conditions.items():
            conditions.setdefault(f"{name}: {value}", []).extend(one.verdicts)
    hidden, shown = report.shares[f"Personal {unit}: hidden"], report.shares[f"Other {unit}: hidden (over-redaction)"]
    for personal, shares in ((True, hidden), (False, shown)):
        rows = [verdict for verdict in every if verdict.personal is personal]
        shares["all"] = wilson(sum(verdict.hidden for verdict in rows), len(rows))
        for name in sorted({verdict.label.name for verdict in rows}):
            of_name = [verdict.hidden for verdict in rows if verdict.label.name == name]
            shares[name] = wilson(sum(of_name), len(of_name))
        for name, verdicts in sorted(conditions.items()):
            of_condition = [verdict.hidden for verdict in verdicts if verdict.personal is personal]
            shares[name] = wilson(sum(of_condition), len(of_condition))


async def pixels(guard: Guard, content: bytes, policy: Policy) -> Raster:
    """The picture of a one-page document as the guard decodes it. Raises GuardedVLMError."""
    admitted = admit(RawImage(content), policy.limits)
    decoded = await guard.roles.decode(admitted, policy.limits, Deadline.after(policy.limits.max_seconds))
    return decoded.pages[0].raster


def _corners(box: Box) -> list[tuple[float, float]]:
    return [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]
