"""`eval text` and `eval docs`: what of the labelled text is hidden, and what of the harmless text stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method, Stage
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.region import Raster
from guardedvlm.errors import GuardedVLMError, InvalidInput, Reason
from guardedvlm.evaluation.coverage import Mask, covered_ink, filled_mask, ink_of, share_of
from guardedvlm.evaluation.report import Report, Worst, corners, marked
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
    began = time.perf_counter()
    redaction = await guard.pipeline.redact(request_of(content, policy, Method.REDACT_IMAGE, want_image=True))
    report.count_times({**redaction.times, Stage.TOTAL: round((time.perf_counter() - began) * 1000)})
    assert redaction.file is not None  # asked for
    before = await pages(guard, content, policy)
    after = await pages(guard, redaction.file.content, policy)
    done = Measured(sample)
    for page, source, redacted in zip(redaction.pages, before, after, strict=True):
        if source.shape != redacted.shape:
            raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
        filled = filled_mask(source, redacted, [region.box for region in page.regions])
        report.area_hidden.append(float(filled.mean()))
        verdicts = [
            Verdict(label, _is_personal(label, policy), hidden)
            for label in sample.labels
            if label.page == page.index
            for hidden in judge(source, filled, label)
        ]
        done.verdicts += verdicts
        missed = [verdict.label for verdict in verdicts if verdict.personal and not verdict.hidden]
        if missed:
            picture = marked(redacted, [corners(label.box) for label in missed])
            names = ", ".join(sorted({label.name for label in missed}))
            report.show(Worst(f"{sample.path.name}, page {page.index + 1}", len(missed), picture, names))
    return done


def _is_personal(label: Label, policy: Policy) -> bool:
    return label.kind is not None and policy.hides(label.kind)


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


async def pages(guard: Guard, content: bytes, policy: Policy) -> list[Raster]:
    """The pages of a document as the guard decodes them. Raises GuardedVLMError."""
    admitted = admit(RawImage(content), policy.limits)
    decoded = await guard.roles.decode(admitted, policy.limits, Deadline.after(policy.limits.max_seconds))
    return [page.raster for page in decoded.pages]
