"""The candidate policy of a name, tried on requests that are over: it sees what the policy in force saw and acts on
nothing.

After a request has ended, released or refused, the candidate is judged on the same findings, the same question and the
same draft, within a time box, and both verdicts go into one record of their own. Nothing else of a candidate is read:
not its retention, not what it would give out, not how it would ask a model. Whatever it raises is a fact of that record
and never of the request. Findings, question and draft are held until the record is written, SECONDS at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from guardedvlm.audit.facts import Verdict
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.audit.summary import summarize
from guardedvlm.core.clearance import Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import RESERVED_KINDS, Kind, Span
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.answers import Piece
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.pages import Found
from guardedvlm.guard.release import screening
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.run import Run
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding, PromptScreen, ScreenReport, Spans
from guardedvlm.policy.model import Instructions, Policy, Topic

SECONDS = 5.0
"""For one trial. The question and a page's text take the recognisers 0.1 s; what takes longer is a failure."""
MOST_WAITING = 8
"""Trials that run or wait at the same time; a busy service gives up trials before it holds more requests in memory."""
MOST_DRAFT_CHARS = 100_000
"""Of one draft; a longer one is not judged."""


@dataclass(slots=True)
class Trial:
    """What a candidate is judged on; filled in while the request runs."""

    run: Run | None = None
    question: str = field(default="", repr=False)
    history: tuple[Turn, ...] = field(default=(), repr=False)
    schema: str = field(default="", repr=False)
    found: Found | None = field(default=None, repr=False)
    grounding: Grounding | None = field(default=None, repr=False)
    draft: list[Piece] = field(default_factory=list, repr=False)
    drafted: bool = False  # whether the draft came to its end

    def let_go(self) -> None:
        """The request is over: neither the document nor a picture of it is held any longer."""
        assert self.run is not None
        self.run.request = replace(self.run.request, raw=RawImage(b""))
        for seen in self.found.sheets if self.found else ():
            seen.sheet.let_go()

    async def heard(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """`pieces` as they come, and a copy of what they say."""
        length = 0
        async with aclosing(pieces):
            async for piece in pieces:
                length += len(piece.draft.text)
                if self.run is None or self.run.request.candidate is None:
                    pass  # nobody will ask for it
                elif length <= MOST_DRAFT_CHARS:
                    self.draft.append(piece)
                    self.drafted = piece.draft.finish is not None
                else:
                    self.drafted = False
                yield piece


@dataclass(slots=True)
class _Judged:
    """What a policy says of one request. `complete`: nothing was left that it could have said."""

    reason: Reason | None = None
    complete: bool = True
    hidden: Counter[Kind] = field(default_factory=Counter)
    question: ScreenReport | None = None
    answer: ScreenReport | None = None

    def facts(self) -> dict[str, Any]:
        """As a record tells it."""
        edits = [report.edits for report in (self.question, self.answer) if report is not None]
        is_edited = any(edits) or any(self.hidden.values())
        told: dict[str, Any] = {
            "verdict": Verdict.DENY if self.reason else Verdict.MODIFY if is_edited else Verdict.ALLOW,
            "complete": self.complete,
            "hidden": dict(self.hidden),
        }
        if self.reason is not None:
            told["reason"] = self.reason
        for name in ("question", "answer"):
            if (report := getattr(self, name)) is not None:
                told[name] = screening(report)
        return told


class Shadows:
    """The trials of one guard. Used from one event loop."""

    def __init__(self, roles: Roles, ledger: Logs) -> None:
        self._roles = roles
        self._ledger = ledger
        self._running: set[asyncio.Task[None]] = set()
        self._one_by_one = asyncio.Lock()  # a trial never takes more than one recogniser away from requests

    @contextmanager
    def after(self) -> Iterator[Trial]:
        """Collect for a trial, and begin it when the block has ended, however it did."""
        trial = Trial()
        try:
            yield trial
        finally:
            if trial.run is not None and trial.run.request.candidate is not None:
                trial.let_go()
                self._begin(trial, trial.run.request.candidate)

    async def close(self) -> None:
        """Wait for the trials that run; SECONDS at most for each."""
        while self._running:
            await asyncio.wait(self._running)

    def _begin(self, trial: Trial, candidate: Policy) -> None:
        is_full = len(self._running) >= MOST_WAITING
        with suppress(RuntimeError):  # the loop is closing: there is nobody left to tell
            task = asyncio.get_running_loop().create_task(self._tried(trial, candidate, is_full=is_full))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _tried(self, trial: Trial, candidate: Policy, *, is_full: bool) -> None:
        began = time.perf_counter()
        judged, failure = _Judged(complete=False), Reason.QUOTA_EXCEEDED if is_full else None
        if not is_full:
            try:
                async with asyncio.timeout(SECONDS), self._one_by_one:
                    judged = await self._judged(trial, candidate)
            except TimeoutError:
                failure = Reason.STAGE_TIMEOUT
            except GuardedVLMError as error:
                failure = error.reason
            except Exception:
                failure = Reason.INTERNAL
        # A ledger that does not write has taken readiness away already; a trial changes nothing about it.
        with suppress(GuardedVLMError):
            await self._record(trial, candidate, judged, failure, round((time.perf_counter() - began) * 1000))

    async def _judged(self, trial: Trial, candidate: Policy) -> _Judged:
        """The candidate's verdict, in the order in which a request is judged. Raises what breaks."""
        judged = _Judged()
        run = trial.run
        assert run is not None
        deny = DenySet(_secrets(run, trial.found, candidate))
        try:
            if trial.question:
                await self._question(judged, trial, candidate, deny)
            if judged.reason is None:
                _document(judged, run, candidate)
            if judged.reason is None and trial.found is not None:
                await asyncio.to_thread(_picture, judged, trial.found, candidate)
            if judged.reason is None and run.instructions and candidate.text.instructions is Instructions.REFUSE:
                judged.reason = Reason.INSTRUCTIONS_FOUND
            if judged.reason is None and trial.drafted:
                await self._answer(judged, trial, candidate, deny)
        finally:
            deny.wipe()
        is_through = trial.found is not None and (trial.drafted or not trial.question)
        judged.complete = judged.reason is not None or is_through
        return judged

    async def _question(self, judged: _Judged, trial: Trial, candidate: Policy, deny: DenySet) -> None:
        screen = PromptScreen(candidate, self._spans(candidate), {}, deny, topics=self._topics)
        try:
            await screen.clear(trial.question, trial.history, trial.schema)
        except GuardedVLMError as error:
            if error.code not in ("INVALID_ARGUMENT", "FAILED_PRECONDITION") or error.reason is Reason.DETECTOR_FAILED:
                raise
            judged.reason = error.reason
        judged.question = screen.report

    async def _answer(self, judged: _Judged, trial: Trial, candidate: Policy, deny: DenySet) -> None:
        screen = AnswerScreen(
            candidate, self._spans(candidate), deny, {}, grounding=trial.grounding, topics=self._topics
        )
        try:
            for piece in trial.draft:
                await screen.push(piece.draft.text, piece.lead, piece.pages)
            await screen.close()
        except Refused as error:
            if error.reason is Reason.DETECTOR_FAILED:
                raise
            judged.reason = error.reason
        judged.answer = screen.report

    def _spans(self, candidate: Policy) -> Spans:
        async def spans(text: str) -> tuple[Span, ...]:
            return await self._roles.spans(text, candidate.text.languages, Deadline.after(SECONDS))

        return spans

    async def _topics(self, texts: Sequence[str], pieces: Sequence[str]) -> frozenset[Topic]:
        return await self._roles.topics(texts, pieces, Deadline.after(SECONDS))

    async def _record(
        self, trial: Trial, candidate: Policy, judged: _Judged, failure: Reason | None, milliseconds: int
    ) -> None:
        run = trial.run
        assert run is not None
        told: dict[str, Any] = {
            "of": run.log.request,
            "policy": {"name": run.policy.name, "digest": run.policy.digest()},
            "candidate": {"name": candidate.name, "digest": candidate.digest()},
            "said": _active(run, trial.found),
            "would_say": judged.facts(),
            "milliseconds": milliseconds,
        }
        if failure is not None:
            told["failure"] = failure
        # Beside the request that it is of, and as long.
        ledger = await self._ledger.log_for(run.policy.audit.retention_days)
        await ledger.append(make_entry(LedgerEvent.SHADOWED, None, {"shadow": told}))


def _active(run: Run, found: Found | None) -> dict[str, Any]:
    """What the policy in force said, from the request's own records and findings."""
    facts = summarize(run.log.records).facts
    reason = facts.get("reason")
    hidden = Counter(finding.kind for finding in found.findings if run.policy.hides(finding.kind)) if found else {}
    told: dict[str, Any] = {"complete": State.RELEASED in {record.event for record in run.log.records}}
    told["hidden"] = dict(hidden)
    screens = {"question": facts.get("prompt_screen"), "answer": facts.get("answer_screen")}
    told |= {name: screen for name, screen in screens.items() if screen is not None}
    is_edited = any(hidden.values()) or any(screen["found"] for screen in screens.values() if screen)
    told["verdict"] = Verdict.DENY if reason else Verdict.MODIFY if is_edited else Verdict.ALLOW
    return told if reason is None else told | {"reason": reason}


def _document(judged: _Judged, run: Run, candidate: Policy) -> None:
    """The candidate's limits, on what was sent and decoded."""
    facts = summarize(run.log.records).facts
    limits = candidate.limits
    if facts.get("input_bytes", 0) > limits.max_bytes:
        judged.reason = Reason.BYTES_TOO_LARGE
        return
    if "pages" not in facts:
        return
    width, height = facts["width"], facts["height"]
    if facts["pages"] > limits.max_pages:
        judged.reason = Reason.TOO_MANY_PAGES
    elif min(width, height) < limits.min_side:
        judged.reason = Reason.IMAGE_TOO_SMALL
    elif max(width, height) > limits.max_side or width * height > limits.max_pixels:
        judged.reason = Reason.IMAGE_TOO_LARGE


def _picture(judged: _Judged, found: Found, candidate: Policy) -> None:
    """What the candidate would hide of the same findings and the same lines."""
    for sheet in found.sheets:
        seen = [finding for finding in sheet.findings if finding.kind not in RESERVED_KINDS]
        if candidate.refused & {finding.kind for finding in seen}:
            judged.reason = Reason.KIND_REFUSED
            return
        own = clear_text(sheet.lines, seen, candidate, sheet.sheet.size).findings
        hidden = [*(one.kind for one in seen if candidate.hides(one.kind)), *(one.kind for one in own)]
        judged.hidden.update(hidden)


def _secrets(run: Run, found: Found | None, candidate: Policy) -> Iterator[tuple[Kind, str]]:
    """The strings that the candidate hides."""
    for finding in found.findings if found else ():
        if finding.secret and finding.kind not in RESERVED_KINDS and candidate.hides(finding.kind):
            yield finding.kind, finding.secret
    for secret in run.secrets:
        if candidate.hides(secret.kind):
            yield secret.kind, secret.text
