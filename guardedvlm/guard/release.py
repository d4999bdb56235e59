"""From drafts to released text: nothing leaves before the screen let it go and RELEASE_OPEN is on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence

from guardedvlm.audit.component import component_name
from guardedvlm.audit.digest import Purpose
from guardedvlm.audit.facts import Stage, Verdict
from guardedvlm.core.finding import RESERVED_KINDS
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import Capacity, Draft, Evidence
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.answers import Piece
from guardedvlm.guard.outcome import Answer, Redaction
from guardedvlm.guard.pages import ClearedDocument, Found
from guardedvlm.guard.run import Run
from guardedvlm.guard.screen import AnswerScreen, Deed, DenySet, ScreenReport

Event = Redaction | str | Answer
"""What `analyze` yields: one Redaction, then released pieces of the answer, last one Answer."""

_ACTIONS = {Deed.NONE: Verdict.ALLOW, Deed.LABEL: Verdict.MODIFY, Deed.MASK: Verdict.MODIFY, Deed.REFUSE: Verdict.DENY}


def hidden_strings(run: Run, found: Found, cleared: ClearedDocument) -> DenySet:
    """What must not come back: every hidden string of every page and of the document's header."""
    findings = (*found.findings, *cleared.residuals)
    strings = [(finding.kind, finding.secret) for finding in findings if finding.secret]
    strings += [(secret.kind, secret.text) for secret in run.secrets]
    policy = run.policy
    return DenySet(pair for pair in strings if pair[0] in RESERVED_KINDS or policy.hides(pair[0]))


def screening(report: ScreenReport) -> dict[str, object]:
    """A screen's report as a record tells it."""
    return {
        "verdict": Verdict(report.verdict.value),
        "action": _ACTIONS[report.deed],
        "found": dict(report.edits),
        "topics": report.topics,
    }


class AnswerRelease:
    """One answer on its way out."""

    def __init__(self, run: Run, redaction: Redaction, screen: AnswerScreen, capacity: Capacity) -> None:
        self._run = run
        self._redaction = redaction
        self._screen = screen
        self._capacity = capacity
        self._released: list[str] = []
        self._open = False
        self._left: dict[str, object] = {}  # facts of the redaction, once it may have left

    async def events(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[Event]:
        """Screen `pieces` and yield what may leave. Raises Refused(ANSWER_REFUSED) and what the engine raises."""
        evidence: list[Evidence] = []
        last: Draft | None = None
        async for piece in pieces:
            draft = piece.draft
            evidence += draft.evidence
            async for event in self._let_go(
                await self._screened(self._screen.push(draft.text, piece.lead, piece.pages))
            ):
                yield event
            if draft.finish is not None:
                last = draft
                break
        if last is None or last.finish is None:
            raise Unavailable(Reason.INFERENCE_FAILED)  # the engine stopped without saying why
        async for event in self._let_go(await self._screened(self._screen.close()), end=True):
            yield event
        yield await self._close(last, tuple(evidence))

    async def screened(self, texts: Iterable[tuple[str, str, Sequence[int]]]) -> str:
        """What the screen leaves of whole texts, each with the guard's words before it and its pages; nothing of it has
        left yet. Raises Refused(ANSWER_REFUSED)."""
        kept = [await self._screened(self._screen.push(*text)) for text in texts]
        return "".join([*kept, await self._screened(self._screen.close())])

    async def released(self, text: str, last: Draft) -> Answer:
        """Open the release of a text that was made of what the screen left, and close it: all of it leaves."""
        async for _ in self._let_go(text, end=True):
            pass
        return await self._close(last, last.evidence)

    async def _screened(self, work: Awaitable[str]) -> str:
        with self._run.timed(Stage.SCREEN):
            try:
                return await work
            finally:
                # Should the request end now, its closing record says what the screen saw and what has left.
                self._run.refusal = self._facts()

    async def _let_go(self, text: str, *, end: bool = False) -> AsyncIterator[Event]:
        """RELEASE_OPEN and the Redaction before the first text (or the end), then the text."""
        if not self._open and (text or end):
            await self._run.advance(State.RELEASE_OPEN)
            self._open = True
            self._left = self._run.left(self._redaction)
            self._run.refusal = self._facts()
            yield self._redaction
        if text:
            self._released.append(text)
            self._run.refusal = self._facts()
            yield text

    async def _close(self, last: Draft, evidence: tuple[Evidence, ...]) -> Answer:
        assert last.finish is not None
        times = self._run.take_time()
        await self._run.advance(
            State.RELEASED,
            **self._facts(),
            input_tokens=last.input_tokens,
            output_tokens=last.output_tokens,
            finish=last.finish,
            timings=times,
        )
        return Answer(
            text="".join(self._released),
            finish=last.finish,
            redaction=self._redaction,
            evidence=evidence,
            edits=dict(self._screen.report.edits),
            grounding=self._screen.grounding,
            instructions=self._run.instructions,
            input_tokens=last.input_tokens,
            output_tokens=last.output_tokens,
            model=self._capacity.model,
            times=times,
        )

    def _facts(self) -> dict[str, object]:
        """What has left so far, of text and redaction, as lengths and keyed digests, and what the screen did."""
        text = "".join(self._released)
        return {
            "answer_screen": screening(self._screen.report),
            "grounding": dict(self._screen.report.grounds),
            "answer_digest": self._run.digest(Purpose.ANSWER, text),
            "answer_chars": len(text),
            **self._left,
        }


def engine_facts(capacity: Capacity) -> dict[str, object]:
    """The engine and model as a record names them."""
    return {
        "engine": component_name(capacity.engine, capacity.model_digest),
        "model": {"name": component_name(capacity.model, capacity.model_digest), "digest": capacity.model_digest},
    }
