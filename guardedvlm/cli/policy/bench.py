"""Cases of a policy, run by the parts that serve requests: recognisers, clearing, screens, decoder, the whole path."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from guardedvlm.audit.facts import Method
from guardedvlm.cli.local import local_pipeline, local_request, read_document
from guardedvlm.config import load_settings
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.grounding import Ground
from guardedvlm.core.region import Box, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode_in_worker, decode_worker_spec
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.detect.quads import box_quad
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.roles import SPECS
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding, PromptScreen, Spans, instructions_in
from guardedvlm.policy.cases import Case, DocumentCase, Outcome, Seen, found_outcome
from guardedvlm.policy.model import Instructions, Policy
from guardedvlm.worker import WorkerPool

SECONDS = 240.0
"""For one case; a picture goes the whole way."""
ADVANCE, HEIGHT, SPACING, MARGIN = 12, 20, 34, 40
"""Pixels a character, a line's height and distance, and around the text: a page as a reader would report it."""


class GuardBench:
    """Every part is started when the first case needs it."""

    def __init__(self, parts: AsyncExitStack) -> None:
        self._parts = parts
        self._personal: WorkerPool | None = None
        self._decoder: WorkerPool | None = None
        self._pipeline: Pipeline | None = None

    async def run(self, policy: Policy, case: Case, folder: Path) -> Outcome:
        """What a case comes to under `policy`. Raises what breaks, never a refusal."""
        try:
            if case.text is not None:
                return await self._text(policy, case.text, case.confidence)
            if case.question is not None:
                return await self._question(policy, case.question * case.times)
            if case.answer is not None:
                return await self._answer(policy, case)
            if case.document is not None:
                return await self._document(policy, case.document)
            if case.picture is not None:
                return await self._picture(policy, folder / case.picture)
            return found_outcome(policy, case.found or frozenset())
        except GuardedVLMError as error:
            if error.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION") and error.reason is not Reason.DETECTOR_FAILED:
                return Outcome(refused=error.reason)
            raise

    async def _text(self, policy: Policy, text: str, confidence: float) -> Outcome:
        lines, size = _laid_out(text, confidence)
        findings, _ = await self._recognisers().call(
            "page",
            tuple[Finding, ...],
            deadline=Deadline.after(SECONDS),
            lines=[asdict(line) for line in lines],
            width=size.width,
            height=size.height,
            languages=list(policy.text.languages),
        )
        if met := policy.refused & {finding.kind for finding in findings}:
            raise Refused(Reason.KIND_REFUSED, kind=min(met).value)
        cleared = clear_text(lines, findings, policy, size)
        instructs = bool(instructions_in((cleared.visible,)))
        if instructs and policy.text.instructions is Instructions.REFUSE:
            raise Refused(Reason.INSTRUCTIONS_FOUND)
        return Outcome(
            instructs=instructs,
            seen=tuple(Seen(finding.kind, finding.secret) for finding in findings),
            visible=tuple(word.text for word in cleared.visible),
            unread=any(finding.kind is Kind.UNREADABLE for finding in cleared.findings),
        )

    async def _question(self, policy: Policy, question: str) -> Outcome:
        screen = PromptScreen(policy, self._spans(policy), {})
        try:
            return Outcome(text=(await screen.clear(question)).question)
        except GuardedVLMError as error:
            return Outcome(refused=error.reason, topics=frozenset(screen.report.topics))

    async def _answer(self, policy: Policy, case: Case) -> Outcome:
        secrets = DenySet((kind, text) for kind, texts in case.secrets.items() for text in texts)
        answer = (case.answer or "") * case.times
        lines, _ = _laid_out(answer if case.page is None else case.page, 1.0)
        shown = Grounding({0: [word for line in lines for word in line.words]})
        screen = AnswerScreen(policy, self._spans(policy), secrets, {}, grounding=shown)

        try:
            released = await screen.push(answer)
            text = released + await screen.close()
            ungrounded = any(ground is not Ground.GROUNDED for ground, _ in screen.report.grounds)
            return Outcome(text=text, ungrounded=ungrounded)
        except Refused as error:
            topics = frozenset(screen.report.topics)
            return Outcome(refused=error.reason, topics=topics, ungrounded=error.details.get("rule") == "grounding")
        finally:
            secrets.wipe()

    async def _document(self, policy: Policy, document: DocumentCase) -> Outcome:
        if self._decoder is None:
            self._decoder = self._started(WorkerPool(decode_worker_spec()))
        admitted = admit(RawImage(_blank(document)), policy.limits)
        await decode_in_worker(self._decoder, admitted, policy.limits, Deadline.after(SECONDS))
        return Outcome()

    async def _picture(self, policy: Policy, path: Path) -> Outcome:
        if self._pipeline is None:
            state = Path(self._parts.enter_context(tempfile.TemporaryDirectory(prefix="guardedvlm-")))
            settings = load_settings(None, keys=str(state / "keys"), ledger=str(state / "ledger"))
            self._pipeline = await self._parts.enter_async_context(local_pipeline(settings))
        request = local_request(read_document(path, policy), policy, Method.REDACT_IMAGE, want_image=False)
        redaction = await self._pipeline.redact(request)
        regions = [region for page in redaction.pages for region in page.regions]
        return Outcome(actions={region.kind: region.action for region in regions})

    def _spans(self, policy: Policy) -> Spans:
        async def spans(text: str) -> tuple[Span, ...]:
            found, _ = await self._recognisers().call(
                "spans",
                tuple[Span, ...],
                deadline=Deadline.after(SECONDS),
                text=text,
                languages=list(policy.text.languages),
            )
            return found

        return spans

    def _recognisers(self) -> WorkerPool:
        if self._personal is None:
            self._personal = self._started(WorkerPool(SPECS["personal"]))
        return self._personal

    def _started(self, pool: WorkerPool) -> WorkerPool:
        self._parts.callback(pool.stop)
        pool.start()
        return pool


@asynccontextmanager
async def guard_bench() -> AsyncIterator[GuardBench]:
    """A bench whose parts end with the block."""
    async with AsyncExitStack() as parts:
        yield GuardBench(parts)


def _laid_out(text: str, confidence: float) -> tuple[list[TextLine], Size]:
    """`text` as a reader would report it, line by line, and the size of its page."""
    lines: list[TextLine] = []
    rows = text.splitlines()
    for row, content in enumerate(rows):
        top, words, at = MARGIN + row * SPACING, [], 0
        for word in content.split():
            at = content.index(word, at)
            left = MARGIN + at * ADVANCE
            words.append(Word(word, Box(left, top, left + len(word) * ADVANCE, top + HEIGHT)))
            at += len(word)
        if words:
            box = Box(words[0].box.x0, top, words[-1].box.x1, top + HEIGHT)
            lines.append(TextLine(box, box_quad(box), " ".join(content.split()), confidence, tuple(words)))
    longest = max(map(len, rows), default=0)
    return lines, Size(2 * MARGIN + longest * ADVANCE, 2 * MARGIN + len(rows) * SPACING)


def _blank(document: DocumentCase) -> bytes:
    page = Image.new("1", (document.width, document.height), 1)
    stream = io.BytesIO()
    if document.pages > 1:
        page.save(stream, "TIFF", save_all=True, append_images=[page] * (document.pages - 1))
    else:
        page.save(stream, "PNG")
    return stream.getvalue() + b"\0" * max(0, document.bytes - stream.tell())
