"""The review queue: redacted pictures, one at a time and without a word of whose they are, and the risk that follows.

The one part of the console that writes: the desk puts views and marks into the ledger's log `review`. A view is on
record before the page is sent that shows the picture, and the picture is then handed out once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardedvlm.audit.review.desk import ReviewDesk
from guardedvlm.audit.review.risk import LEAST, marks_of, residual_risk, reviewed_samples
from guardedvlm.audit.review.store import Kept
from guardedvlm.audit.reviewed import Basis, Marked, ReviewVerdict
from guardedvlm.console.rendering import Rendering
from guardedvlm.console.review_form import FORM_BYTES, MAX_FIELDS, NOTHING, Said, read_said
from guardedvlm.console.shown import Shown
from guardedvlm.console.watch import Watch
from guardedvlm.core.finding import Kind
from guardedvlm.errors import GuardedVLMError, Overloaded, Reason
from guardedvlm.web.body import in_memory

STATUS = {Reason.SAMPLE_GONE: 410, Reason.SAMPLE_UNSEEN: 409, Reason.LEDGER_UNWRITABLE: 503}
"""What a browser is told; 500 for every other reason."""


@dataclass(frozen=True, slots=True)
class ReviewPages:
    """Pages of the desk. `tenants` are the operator's names by pseudonym."""

    desk: ReviewDesk
    watch: Watch
    rendering: Rendering
    tenants: Mapping[str, str]
    shown: Shown = field(default_factory=Shown)

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/review", self.queue),
            Route("/review/next", self.lead_on),
            Route("/review/risk", self.risk),
            Route("/review/{sample:str}", self.show),
            Route("/review/{sample:str}", self.mark, methods=["POST"]),
            Route("/review/{sample:str}/picture", self.picture),
            Route("/review/{sample:str}/reported", self.reported),
        ]

    def queue(self, request: Request) -> Response:
        """The samples that wait: random names, and until when they are kept."""
        try:
            waiting = self.desk.queue()
        except GuardedVLMError as error:
            return self._problem(request, error)
        return self._page(request, "review_queue.html", waiting=waiting)

    def lead_on(self, request: Request) -> Response:
        """To one of the samples that wait, drawn at random: two reviewers seldom look at the same one."""
        marked = request.query_params.get("marked", "")
        try:
            waiting = [kept.sample for kept in self.desk.queue() if kept.sample != marked]
        except GuardedVLMError as error:
            return self._problem(request, error)
        place = f"/{secrets.choice(waiting)}" if waiting else ""
        return RedirectResponse(f"/review{place}" + (f"?marked={marked}" if marked.isalnum() else ""), 303)

    def show(self, request: Request) -> Response:
        """One sample and the form, once the view is on record; of one that is marked already, who marked it."""
        sample = request.path_params["sample"]
        try:
            marks = self._marks(sample)
            if marks and request.query_params.get("again") != "1":
                return self._marked(request, sample, marks)
            return self._look(request, sample)
        except GuardedVLMError as error:
            return self._problem(request, error)

    def picture(self, request: Request) -> Response:
        """The picture of a page that was just sent; a second fetch needs a second view."""
        ticket, owner = request.query_params.get("ticket", ""), _identity(request)
        content = self.shown.take(ticket, owner, request.path_params["sample"])
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type="image/png", headers={"Content-Disposition": "inline"})

    async def mark(self, request: Request) -> Response:
        """Take a mark down and go on to the next sample."""
        try:
            whole = await in_memory(request, FORM_BYTES)
        except Overloaded:
            raise HTTPException(413) from None
        async with whole.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=FORM_BYTES) as form:
            said = read_said(form)
        return await run_in_threadpool(self._mark, request, said)

    def reported(self, request: Request) -> Response:
        """What became of a leak, as the ledger has it."""
        sample = request.path_params["sample"]
        try:
            marks = self._marks(sample)
        except GuardedVLMError as error:
            return self._problem(request, error)
        leaks = [mark for mark in marks if mark["verdict"] is ReviewVerdict.LEAKED]
        if not leaks:
            raise HTTPException(404)
        return self._page(request, "review_reported.html", sample=sample, mark=leaks[-1])

    def risk(self, request: Request) -> Response:
        """Leaked of reviewed samples, by tenant and kind, random and low-margin ones apart."""
        try:
            rows = residual_risk(reviewed_samples(marks_of(self.desk.records())))
        except GuardedVLMError as error:
            return self._problem(request, error)
        tables = {basis: [row for row in rows if row.basis is basis] for basis in Basis}
        return self._page(request, "review_risk.html", tables=tables, least=LEAST)

    def _mark(self, request: Request, said: Said) -> Response:
        sample = request.path_params["sample"]
        try:
            if said.problem or said.verdict is None:
                return self._look(request, sample, said, 400)
            others = self._marks(sample)
            self.desk.mark(sample, _identity(request), said.verdict, said.kinds, said.cells)
        except GuardedVLMError as error:
            return self._unmarked(request, sample, said, error)
        self.shown.forget(sample)
        if said.verdict is ReviewVerdict.LEAKED:
            return RedirectResponse(f"/review/{sample}/reported", 303)
        if any(not self._is_own(request, mark) for mark in others):
            return self._page(request, "review_both.html", sample=sample, said=said)
        return RedirectResponse(f"/review/next?marked={sample}", 303)

    def _look(self, request: Request, sample: str, said: Said = NOTHING, status: int = 200) -> Response:
        """The page of a sample. Raises what `ReviewDesk.view` raises."""
        content = self.desk.view(sample, _identity(request))
        ticket = self.shown.keep(_identity(request), sample, content)
        kept = next((one for one in self.desk.queue(marked=True) if one.sample == sample), Kept(sample, 0))
        return self._page(
            request,
            "review_sample.html",
            status,
            sample=kept,
            ticket=ticket,
            said=said,
            kinds=list(Kind),
            waiting=len(self.desk.queue()),
            before=self._own_mark(request, request.query_params.get("marked", "")),
        )

    def _marked(self, request: Request, sample: str, marks: Sequence[Marked]) -> Response:
        own = any(self._is_own(request, mark) for mark in marks)
        is_there = any(kept.sample == sample for kept in self.desk.queue(marked=True))
        return self._page(request, "review_marked.html", 409, sample=sample, own=own, is_there=is_there)

    def _unmarked(self, request: Request, sample: str, said: Said, error: GuardedVLMError) -> Response:
        """Why a mark did not come to an end, and what is true of the picture and the mark now."""
        leaked = said.verdict is ReviewVerdict.LEAKED
        by_other, is_there = False, True
        try:
            by_other = any(mark["verdict"] is ReviewVerdict.LEAKED for mark in self._marks(sample))
            is_there = any(kept.sample == sample for kept in self.desk.queue(marked=True))
        except GuardedVLMError:  # of a log that cannot be read nothing more can be said
            is_there = not leaked
        context = {"sample": sample, "leaked": leaked, "by_other": by_other, "is_there": is_there}
        return self._problem(request, error, marking=True, **context)

    def _problem(self, request: Request, error: GuardedVLMError, **context: object) -> Response:
        status = STATUS.get(error.reason, 500)
        values: dict[str, Any] = {"reason": error.reason.value, "marking": False, "sentence": error.sentence}
        return self._page(request, "review_problem.html", status, **(values | context))

    def _marks(self, sample: str) -> tuple[Marked, ...]:
        return tuple(mark for mark in marks_of(self.desk.records()) if mark["sample"] == sample)

    def _own_mark(self, request: Request, sample: str) -> Marked | None:
        if not sample:
            return None
        return next((mark for mark in self._marks(sample)[::-1] if self._is_own(request, mark)), None)

    def _is_own(self, request: Request, mark: Marked) -> bool:
        return mark["reviewer"] == self.desk.pseudonym(_identity(request))

    def _page(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        return self.rendering.response(request, template, status, watch=self.watch, tenants=self.tenants, **context)


def _identity(request: Request) -> str:
    """Who looks: the provider's issuer and subject, or the user who started the console."""
    return str(request.state.session.holds)
