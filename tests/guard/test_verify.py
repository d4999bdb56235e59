"""Verification: nothing that another detector still sees is cleared, and a failure to look is a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box, Fit, Geometry, Quad, Raster, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import GuardedVLMError, Reason, Refused, TimedOut, Unavailable
from guardedvlm.guard.detect.quads import box_quad
from guardedvlm.guard.redact import Labels, RedactedImage, redact
from guardedvlm.guard.verify import WIDER_PASSES, Verdict, Verifiers, VerifyReport, verify
from guardedvlm.guard.verify.verifiers import FillMap, phrases
from guardedvlm.policy.model import Mode, Policy, TextRules

PAGE = Size(600, 300)
PAPER = np.random.default_rng(0).integers(1, 256, (PAGE.height, PAGE.width, 3), dtype=np.uint8)
"""Ink everywhere and black nowhere: what is not filled can be seen."""


@cache
def policy(mode: Mode = Mode.BALANCED, keep: frozenset[Kind] = frozenset()) -> Policy:
    return Policy(
        name="test",
        version="2025-01-01",
        description="for tests",
        hide=dict.fromkeys(set(Kind) - RESERVED_KINDS - keep, Action.LABEL),
        keep=keep,
        text=TextRules(mode=mode),
    )


def line(text: str, box: Box, confidence: float = 0.95) -> TextLine:
    return TextLine(box, box_quad(box), text, confidence, (Word(text, box),) if text else ())


def unread(box: Box) -> TextLine:
    return line("", box, 0.0)


class Eyes:
    """Verifiers that know what stands where and see it only as long as it is not filled."""

    def __init__(
        self,
        texts: Sequence[TextLine] = (),
        faces: Sequence[Finding] = (),
        codes: Sequence[Finding] = (),
        personal: Callable[[tuple[TextLine, ...]], Sequence[Finding]] = lambda _: (),
    ) -> None:
        self.texts, self.things = texts, {"faces": faces, "codes": codes}
        self.judge = personal
        self.read: list[tuple[Quad, ...]] = []
        self.context: list[tuple[TextLine, ...]] = []
        self.places: list[tuple[Box, ...]] = []

    async def text_regions(self, raster: Raster, fills: FillMap, places: Sequence[Box]) -> tuple[TextLine, ...]:
        assert fills.shape == raster.shape[:2]
        self.places.append(tuple(places))
        return tuple(unread(text.box) for text in self.texts if self._is_seen(raster, text.box))

    async def read_regions(self, raster: Raster, quads: tuple[Quad, ...]) -> tuple[TextLine, ...]:
        self.read.append(quads)
        known = {box_quad(text.box): text for text in self.texts}
        return tuple(known[quad] for quad in quads)

    async def faces(self, raster: Raster) -> tuple[Finding, ...]:
        return tuple(item for item in self.things["faces"] if self._is_seen(raster, item.box))

    async def codes(self, raster: Raster) -> tuple[Finding, ...]:
        return tuple(item for item in self.things["codes"] if self._is_seen(raster, item.box))

    async def personal(self, lines: tuple[TextLine, ...], size: Size) -> tuple[Finding, ...]:
        self.context.append(lines)
        return tuple(self.judge(lines))

    def verifiers(self, **other: Any) -> Verifiers:
        parts = {name: getattr(self, name) for name in ("text_regions", "read_regions", "faces", "codes", "personal")}
        return Verifiers(**(parts | other))

    @staticmethod
    def _is_seen(raster: Raster, box: Box) -> bool:
        return bool(raster[box.y0 : box.y1, box.x0 : box.x1].all(axis=2).mean() > 0.3)


def page(findings: Sequence[Finding] = (), visible: Sequence[Word] = (), rules: Policy | None = None) -> RedactedImage:
    rules = rules or policy()
    return redact(PAPER, findings, visible, rules, None, Labels(findings, rules))


def face(box: Box, kind: Kind = Kind.FACE) -> Finding:
    return Finding(kind, box, 0.9, "test")


HERE, THERE = Box(100, 100, 200, 120), Box(300, 200, 380, 220)


async def refusal(call: Awaitable[object]) -> GuardedVLMError:
    with pytest.raises(GuardedVLMError) as raised:
        await call
    return raised.value


# ---------------------------------------------------------------- what passes


async def test_a_page_without_residuals_is_cleared() -> None:
    words = (Word("Total", HERE),)
    redacted = page(visible=words)
    eyes = Eyes([line("Total", HERE)])
    cleared = await verify(redacted, eyes.verifiers(), policy())
    assert cleared.image.raster is redacted.raster
    assert cleared.image.digest == raster_digest(redacted.raster)
    assert cleared.words == words
    assert cleared.report == VerifyReport(1, (), Verdict.CLEAN)
    assert eyes.read == []  # explained by the cleared word: nothing had to be read


async def test_text_on_a_label_is_explained() -> None:
    redacted = page([Finding(Kind.PERSON, Box(100, 100, 300, 130), 0.9, "test", secret="Ann")])
    eyes = Eyes([line("PERSON-A", redacted.labels[0].box)])
    assert (await verify(redacted, eyes.verifiers(), policy())).report.verdict is Verdict.CLEAN
    assert eyes.read == []


async def test_text_that_reads_as_clear_may_stay() -> None:
    eyes = Eyes([line("Thank", HERE)])
    cleared = await verify(page(), eyes.verifiers(), policy())
    assert cleared.report.passes == 1
    assert len(eyes.read) == 1


async def test_a_face_or_code_inside_a_fill_is_none() -> None:
    redacted = page([face(HERE.grown(20))])

    async def sees(raster: Raster) -> tuple[Finding, ...]:
        return (face(HERE),)

    cleared = await verify(redacted, Eyes().verifiers(faces=sees, codes=sees), policy())
    assert cleared.report.verdict is Verdict.CLEAN


@pytest.mark.parametrize("kind", [Kind.FACE, Kind.CODE])
async def test_a_kind_that_the_policy_keeps_is_no_residual(kind: Kind) -> None:
    rules = policy(keep=frozenset({kind}))
    eyes = Eyes(faces=[face(HERE, kind)])
    assert (await verify(page(rules=rules), eyes.verifiers(), rules)).report.passes == 1


# ---------------------------------------------------------------- what does not


@pytest.mark.parametrize("kind", [Kind.FACE, Kind.CODE])
async def test_a_face_or_code_is_hidden_in_the_wider_pass(kind: Kind) -> None:
    eyes = Eyes(faces=[face(HERE)]) if kind is Kind.FACE else Eyes(codes=[face(HERE, kind)])
    cleared = await verify(page(), eyes.verifiers(), policy())
    assert cleared.report == VerifyReport(2, ((kind, 1),), Verdict.WIDENED)
    assert not cleared.image.raster[HERE.y0 : HERE.y1, HERE.x0 : HERE.x1].any()
    assert cleared.redacted.raster is cleared.image.raster
    assert [finding.kind for finding in cleared.residuals] == [kind]


async def test_a_face_half_under_a_fill_is_a_residual() -> None:
    left = Box(HERE.x0, HERE.y0, (HERE.x0 + HERE.x1) // 2, HERE.y1)
    eyes = Eyes(faces=[face(HERE)])
    cleared = await verify(page([face(left)]), eyes.verifiers(), policy())
    assert cleared.report.verdict is Verdict.WIDENED


@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.749])
@pytest.mark.parametrize("text", ["", "Total", "Иван"])
async def test_text_that_cannot_be_read_is_a_residual(text: str, confidence: float) -> None:
    eyes = Eyes([line(text, HERE, confidence)])
    cleared = await verify(page(), eyes.verifiers(), policy())
    assert cleared.report.residuals == ((Kind.UNREADABLE, 1),)
    assert not cleared.image.raster[HERE.y0 : HERE.y1, HERE.x0 : HERE.x1].any()


async def test_personal_text_is_a_residual_and_its_string_is_kept_for_the_screen() -> None:
    eyes = Eyes(
        [line("Kowalczyk", HERE)],
        personal=lambda lines: [
            Finding(Kind.PERSON, item.box, 0.9, "test") for item in lines if item.text == "Kowalczyk"
        ],
    )
    cleared = await verify(page(), eyes.verifiers(), policy())
    assert cleared.report.residuals == ((Kind.PERSON, 1),)
    assert [finding.secret for finding in cleared.residuals] == ["Kowalczyk"]
    assert "Kowalczyk" not in repr(cleared)


async def test_text_that_a_strict_policy_does_not_name_is_a_residual() -> None:
    eyes = Eyes([line("Kowalczyk", HERE)])
    strict = policy(Mode.STRICT)
    cleared = await verify(page(rules=strict), eyes.verifiers(), strict)
    assert cleared.report.residuals == ((Kind.UNCLEARED, 1),)


async def test_the_recognisers_see_the_labels_beside_what_is_left() -> None:
    words = (Word("Mother's", Box(20, 100, 100, 120)), Word("name", Box(110, 100, 150, 120)), Word("x", THERE))
    eyes = Eyes([line("Rose", Box(160, 100, 200, 120))])
    await verify(page(visible=words), eyes.verifiers(), policy())
    assert [item.text for item in eyes.context[0]] == ["Rose", "Mother's name", "x"]


async def test_a_finding_on_cleared_words_alone_is_no_residual() -> None:
    """They were cleared on the whole page; out of their context the recognisers may be wrong about them."""
    words = (Word("May", THERE),)
    eyes = Eyes([line("Roses", HERE)], personal=lambda _: [Finding(Kind.PERSON, THERE, 0.5, "test")])
    assert (await verify(page(visible=words), eyes.verifiers(), policy())).report.passes == 1


async def test_a_region_that_a_word_explains_in_part_only_is_read() -> None:
    """One character more than the cleared word: "Total" against "Total Ann"."""
    eyes = Eyes([line("Total Ann", Box(100, 100, 300, 120), 0.3)])
    cleared = await verify(page(visible=[Word("Total", HERE)]), eyes.verifiers(), policy())
    assert cleared.report.verdict is Verdict.WIDENED
    assert cleared.words == ()


async def test_what_wider_passes_do_not_remove_is_refused() -> None:
    looks = 0

    async def always(raster: Raster) -> tuple[Finding, ...]:
        nonlocal looks
        looks += 1
        return face(Box(0, 60 * looks, 30, 60 * looks + 20)), face(Box(0, 60 * looks, 30, 60 * looks + 20), Kind.CODE)

    failed = await refusal(verify(page(), Eyes().verifiers(faces=always), policy()))
    assert isinstance(failed, Refused)
    assert failed.reason is Reason.RESIDUAL_FOUND
    assert failed.details == {"count": 2, "kinds": "CODE+FACE"}
    assert looks == WIDER_PASSES + 1


async def test_what_the_last_wider_pass_removes_is_cleared() -> None:
    looks = 0

    async def thrice(raster: Raster) -> tuple[Finding, ...]:
        nonlocal looks
        looks += 1
        return (face(Box(0, 60 * looks, 30, 60 * looks + 20)),) if looks <= WIDER_PASSES else ()

    cleared = await verify(page(), Eyes().verifiers(faces=thrice), policy())
    assert cleared.report.passes == WIDER_PASSES + 1
    assert len(cleared.residuals) == WIDER_PASSES


async def test_all_kinds_at_once_still_make_a_safe_detail() -> None:
    looks = 0

    async def always(raster: Raster) -> tuple[Finding, ...]:
        nonlocal looks
        looks += 1
        return tuple(face(Box(60 * looks, at * 8, 60 * looks + 20, at * 8 + 4), kind) for at, kind in enumerate(Kind))

    failed = await refusal(verify(page(), Eyes().verifiers(codes=always), policy()))
    assert failed.reason is Reason.RESIDUAL_FOUND


# ---------------------------------------------------------------- failures to look


async def _never(*_: object) -> Any:
    raise RuntimeError("Kowalczyk")


async def _timed_out(*_: object) -> Any:
    raise TimedOut(Reason.STAGE_TIMEOUT, stage="faces")


async def _fewer(*_: object) -> tuple[TextLine, ...]:
    return ()


PARTS = ["text_regions", "read_regions", "faces", "codes", "personal"]


@pytest.mark.parametrize("part", PARTS)
async def test_a_verifier_that_fails_refuses(part: str) -> None:
    eyes = Eyes([line("Thank", HERE)])
    failed = await refusal(verify(page(), eyes.verifiers(**{part: _never}), policy()))
    assert failed.reason is Reason.DETECTOR_FAILED
    assert failed.__cause__ is None
    assert failed.__suppress_context__
    assert "Kowalczyk" not in str(failed)


@pytest.mark.parametrize("part", PARTS)
async def test_a_verifier_s_own_error_is_passed_on(part: str) -> None:
    eyes = Eyes([line("Thank", HERE)])
    failed = await refusal(verify(page(), eyes.verifiers(**{part: _timed_out}), policy()))
    assert isinstance(failed, TimedOut)
    assert failed.reason is Reason.STAGE_TIMEOUT


async def test_a_reader_that_leaves_regions_out_refuses() -> None:
    eyes = Eyes([line("Thank", HERE)])
    failed = await refusal(verify(page(), eyes.verifiers(read_regions=_fewer), policy()))
    assert failed.reason is Reason.DETECTOR_FAILED


async def test_a_region_outside_the_picture_is_never_explained() -> None:
    async def astray(raster: Raster, fills: FillMap, places: Sequence[Box]) -> tuple[TextLine, ...]:
        return (unread(Box(900, 900, 950, 920)),)

    async def read(raster: Raster, quads: tuple[Quad, ...]) -> tuple[TextLine, ...]:
        return (line("Thank", Box(900, 900, 950, 920)),)

    failed = await refusal(verify(page(), Eyes().verifiers(text_regions=astray, read_regions=read), policy()))
    assert failed.reason is Reason.DETECTOR_FAILED


@pytest.mark.parametrize("part", PARTS)
def test_an_absent_verifier_is_an_error(part: str) -> None:
    with pytest.raises(Unavailable) as missing:
        Eyes().verifiers(**{part: None})
    assert missing.value.reason is Reason.DETECTOR_MISSING


async def test_cancelling_stops_every_verifier() -> None:
    stopped = []

    async def waits(raster: Raster) -> tuple[Finding, ...]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(True)
            raise
        return ()

    task = asyncio.create_task(verify(page(), Eyes().verifiers(faces=waits, codes=waits), policy()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == [True, True]


async def test_one_failure_stops_the_others() -> None:
    stopped = []

    async def waits(raster: Raster) -> tuple[Finding, ...]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(True)
            raise
        return ()

    await refusal(verify(page(), Eyes().verifiers(faces=waits, codes=_never), policy()))
    assert stopped == [True]


# ---------------------------------------------------------------- invariants


BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.integers(0, 560),
    st.integers(0, 270),
    st.integers(20, 40),
    st.integers(8, 30),
)


@settings(max_examples=60)
@given(st.lists(BOXES, max_size=5), st.lists(BOXES, max_size=3), st.lists(BOXES, max_size=3), st.booleans())
def test_nothing_that_the_verifiers_see_is_ever_cleared(
    texts: list[Box], faces: list[Box], hidden: list[Box], squash: bool
) -> None:
    """Whatever is on the page: it is cleared only when the eyes that looked last see nothing."""
    findings = [face(box) for box in hidden]
    geometry = Geometry(Fit.SQUASH, PAGE.width, PAGE.height) if squash else None
    redacted = redact(PAPER, findings, (), policy(), geometry, Labels(findings, policy()))
    eyes = Eyes([unread(box) for box in texts], [face(box) for box in faces])
    try:
        cleared = asyncio.run(verify(redacted, eyes.verifiers(), policy()))
    except Refused:
        return  # the fills of the wider pass may leave more than they take of an overlapping region
    for box in (*texts, *faces):
        assert not cleared.image.raster[box.y0 : box.y1, box.x0 : box.x1].all(axis=2).mean() > 0.3
    for box in hidden:
        assert not cleared.redacted.page[box.y0 : box.y1, box.x0 : box.x1].any()


def test_phrases_are_words_that_follow_closely() -> None:
    words = [Word("Date", Box(0, 0, 40, 20)), Word("of", Box(50, 0, 70, 20)), Word("Total", Box(300, 0, 350, 20))]
    assert [item.text for item in phrases(words)] == ["Date of", "Total"]
    assert next(iter(phrases(words))).words == tuple(words[:2])
    assert list(phrases([])) == []
