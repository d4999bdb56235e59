"""One request on its way through the guard: each step does its work, takes its time and writes its record.

A step returns the next type or raises. Whatever is raised, the request ends in the ledger: RELEASED or REFUSED.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from guardedvlm.admission import Place
from guardedvlm.audit.component import component_name
from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.facts import MediaFormat, Method, Stage, VerifyVerdict
from guardedvlm.audit.grid import area_permille, found_alike, hidden_grid
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.receipt import Closed
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.traceparent import TraceParent, Traces, trace_fact
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Action, Finding, Span
from guardedvlm.core.lifecycle import State
from guardedvlm.core.region import Geometry, Raster, Size
from guardedvlm.core.tenant import Caller
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import Reason, Refused, Unavailable, reason_of
from guardedvlm.guard.admit import admit
from guardedvlm.guard.image import DecodedImage, RawImage, Secret
from guardedvlm.guard.outcome import PageOutcome, Progress, Redaction, Watcher
from guardedvlm.guard.redact import Labels, redact
from guardedvlm.guard.reidentify import check_reidentification_allowed, sealed_strings
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.verify import Cleared, verify
from guardedvlm.policy.model import Policy, Topic
from guardedvlm.transport.reidentification import Sealed, SealingKey

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True)
class GuardRequest:
    """A request of an identified caller. `name` is the caller's own request_id, "" without one."""

    caller: Caller
    policy: Policy
    raw: RawImage
    deadline: Deadline
    method: Method
    name: str = field(default="", repr=False)
    parent: TraceParent | None = None
    want_image: bool = False
    want_strings: bool = False  # what the labels stand for, sealed for `sealing_key`
    sealing_key: SealingKey | None = None
    watcher: Watcher | None = None
    candidate: Policy | None = None  # tried when the request is over (guard.shadow)
    place: Place | None = None  # in the service's queue; none: nobody else is there
    closed: Callable[[Closed], None] | None = None  # learns what the ledger says of it when it is over


@dataclass(frozen=True, slots=True)
class Look:
    """What the detectors say of one picture: its text, what is personal in it, and faces and codes."""

    lines: tuple[TextLine, ...] = field(repr=False)
    personal: tuple[Finding, ...] = field(repr=False)
    visual: tuple[Finding, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Witness:
    """What a run needs to leave evidence: the ledger's logs, its key, the detectors' digests, and what becomes of
    a caller's trace ids."""

    ledger: Logs
    key: AuditKey
    detectors: Mapping[str, str]
    traces: Traces = Traces.DERIVE


class Run:
    """One request. Made by `running`."""

    def __init__(self, request: GuardRequest, roles: Roles, witness: Witness, log: RequestLog) -> None:
        self.request = request
        self.log = log
        self.times: dict[Stage, int] = {}
        self.secrets: tuple[Secret, ...] = ()
        self.cleared: tuple[str, ...] = ()  # raster digests of the pages
        self.instructions = 0  # texts of the picture that instruct the model
        self.refusal: dict[str, object] = {}
        """Facts that the closing record tells should the request be refused now."""
        self._roles = roles
        self._witness = witness
        self._began = time.perf_counter()

    @property
    def policy(self) -> Policy:
        """The policy that this request began with, whatever is loaded since."""
        return self.request.policy

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the wall time of a block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.times[stage] = self.times.get(stage, 0) + round((time.perf_counter() - began) * 1000)

    async def admit(self) -> None:
        """Record who asks under which policy."""
        caller, key = self.request.caller, self._witness.key
        content = self.request.raw.content
        named: dict[str, str] = {}
        if self.request.name:
            named["caller_request"] = key.digest(Purpose.REQUEST_ID, caller.tenant, caller.name, self.request.name)
        await self.advance(
            State.ADMITTED,
            tenant=key.pseudonym(Purpose.TENANT, caller.tenant),
            caller=key.pseudonym(Purpose.CALLER, caller.tenant, caller.name),
            policy={"name": self.policy.name, "digest": self.policy.digest()},
            input_bytes=len(content),
            input_digest=await asyncio.to_thread(key.digest, Purpose.INPUT, content),
            **named,
        )

    @asynccontextmanager
    async def turn(self, tokens: int = 0) -> AsyncIterator[None]:
        """Wait for the request's turn, and hold it for the block or until `looked`. `tokens`: that the model may write.
        Raises Overloaded and TimedOut (`admission.Place.turn`)."""
        place, deadline = self.request.place, self.request.deadline
        async with AsyncExitStack() as held:
            if place is not None:
                with self.timed(Stage.ADMIT):
                    await held.enter_async_context(place.turn(self.request.method.value, deadline, tokens))
            yield

    @asynccontextmanager
    async def model_turn(self, slots: int) -> AsyncIterator[None]:
        """Wait for one of the model's `slots`, and hold it for the block; the turn at the detectors ends. Raises
        TimedOut."""
        place, deadline = self.request.place, self.request.deadline
        async with AsyncExitStack() as held:
            if place is not None:
                place.looked()
                with self.timed(Stage.ADMIT):
                    await held.enter_async_context(place.model_turn(slots, deadline))
            yield

    def wrote_page(self, tokens: int) -> None:
        """Charge what the model wrote about a page."""
        if self.request.place is not None:
            self.request.place.wrote_page(tokens)

    def wrote(self, tokens: int | None) -> None:
        """Charge what the model wrote beside its whole pages, and no more comes; None where nobody knows."""
        if self.request.place is not None:
            self.request.place.wrote(tokens)

    async def decode(self) -> DecodedImage:
        """Every page of the document. Raises InvalidInput, and Overloaded where the tenant has sent too many pixels."""
        with self.timed(Stage.DECODE):
            admitted = admit(self.request.raw, self.policy.limits)
            decoded = await self._roles.decode(admitted, self.policy.limits, self.request.deadline)
        await self.advance(
            State.DECODED,
            media=MediaFormat(decoded.format.lower()),
            pages=len(decoded.pages),
            width=decoded.pages[0].size.width,
            height=decoded.pages[0].size.height,
        )
        self.secrets = decoded.secrets
        if self.request.place is not None:
            pixels = sum(page.size.width * page.size.height for page in decoded.pages)
            self.request.place.charge(pixels / MEGAPIXEL, self.request.deadline)
        self.tell(Stage.DECODE, len(decoded.pages), len(decoded.pages))
        return decoded

    def check_wishes_allowed(self) -> None:
        """Raise Refused(POLICY_FORBIDS) when a picture or strings are asked for that the policy does not give out, and
        NotPermitted(ROLE_MISSING) when the strings are asked for by a caller who may not have them."""
        request = self.request
        if request.want_image and not self.policy.say.redacted_image:
            raise Refused(Reason.POLICY_FORBIDS)
        if request.want_strings:
            check_reidentification_allowed(request.caller, self.policy, request.sealing_key)

    def sealed(self, labels: Labels) -> Sealed | None:
        """What the labels stand for, sealed; None when it was not asked for."""
        request = self.request
        if not request.want_strings or request.sealing_key is None:
            return None
        return sealed_strings(labels, self.policy, request.sealing_key, self.log.request)

    async def spans(self, text: str) -> tuple[Span, ...]:
        """Personal spans of a question or an answer."""
        return await self._roles.spans(text, self.policy.text.languages, self.request.deadline)

    async def topics(self, texts: Sequence[str], pieces: Sequence[str]) -> frozenset[Topic]:
        """What a question or an answer is about."""
        return await self._roles.topics(texts, pieces, self.request.deadline)

    async def look(self, raster: Raster) -> Look:
        """Look with every detector; one that fails refuses the request."""
        deadline = self.request.deadline
        (lines, personal), faces, codes = await together(
            self._read(raster),
            self._timed(Stage.FACES, self._roles.faces(raster, deadline)),
            self._timed(Stage.CODES, self._roles.codes(raster, deadline)),
        )
        return Look(lines, personal, (*faces, *codes))

    async def personal(self, lines: Sequence[TextLine], size: Size, known: Sequence[Secret]) -> tuple[Finding, ...]:
        """What is personal in the text of a page; `known` strings are, wherever they stand."""
        request = self.request
        work = self._roles.personal(lines, size, known, self.policy.text.languages, request.deadline)
        return await self._timed(Stage.PERSONAL, work)

    async def clear(
        self,
        raster: Raster,
        findings: Sequence[Finding],
        visible: Sequence[Word],
        labels: Labels,
        geometry: Geometry | None,
        known: Sequence[Secret],
    ) -> Cleared:
        """Redact a page in `geometry` (None = its own) and verify it there. Raises Refused(RESIDUAL_FOUND)."""
        with self.timed(Stage.REDACT):
            redacted = await asyncio.to_thread(redact, raster, findings, visible, self.policy, geometry, labels)
        with self.timed(Stage.VERIFY):
            verifiers = self._roles.verifiers(self.policy.text.languages, known, self.request.deadline)
            return await verify(redacted, verifiers, self.policy)

    async def record_cleared(
        self, pages: Sequence[PageOutcome], digests: Sequence[str], kept: Sequence[tuple[Size, Finding]] = ()
    ) -> None:
        """Record what was hidden, what was found and `kept` (with the page's size), and that it was verified: REDACTED
        and CLEARED.

        Counts are sums over the pages, and passes the most that one of them took. `image_digest` is the keyed digest of
        the raster digests of all pages in their order, each with its length: of one page that of its raster.
        """
        regions = [region for page in pages for region in page.regions]
        await self.advance(
            State.REDACTED,
            regions=dict(Counter(region.kind for region in regions)),
            area_permille=area_permille((page.size, ((r.kind, r.box) for r in page.regions)) for page in pages),
            actions=dict(Counter(region.action for region in regions)),
            findings=found_alike(
                [
                    *((r.kind, r.action, r.score, r.box, page.size) for page in pages for r in page.regions),
                    *((f.kind, Action.KEEP, f.score, f.box, size) for size, f in kept),
                ]
            ),
            hidden=tuple(hidden_grid((region.box for region in page.regions), page.size) for page in pages),
            detectors=tuple(
                {"name": component_name(name, digest), "digest": digest}
                for name, digest in sorted(self._witness.detectors.items())
            ),
        )
        await self.advance(
            State.CLEARED,
            verification={
                "verdict": VerifyVerdict.CLEARED,
                "passes": max(page.passes for page in pages),
                "residual": dict(sum((Counter(page.residuals) for page in pages), Counter())),
            },
            image_digest=self._witness.key.digest(Purpose.IMAGE, *digests),
        )
        self.cleared = tuple(digests)

    def tell(self, stage: Stage, done: int, pages: int) -> None:
        """Tell whoever watches how far the request is."""
        if self.request.watcher is not None:
            self.request.watcher(Progress(stage, done, pages))

    def take_time(self) -> dict[Stage, int]:
        """Milliseconds by stage with the total so far."""
        return self.times | {Stage.TOTAL: round((time.perf_counter() - self._began) * 1000)}

    def left(self, redaction: Redaction) -> dict[str, object]:
        """What a closing record tells of a redaction that left: labels that may be undone, and the file's length and
        keyed digest; nothing of what nobody asked for."""
        facts: dict[str, object] = dict(redaction.sealed_labels())
        if redaction.file is not None:
            content = redaction.file.content
            facts["file_bytes"] = len(content)
            facts["file_digest"] = self._witness.key.digest(Purpose.FILE, content)
        return facts

    def digest(self, purpose: Purpose, content: str) -> str:
        """The audit's keyed digest of a text."""
        return self._witness.key.digest(purpose, content)

    async def advance(self, state: State, **facts: object) -> None:
        """Write the record of a step; returns when it is durable."""
        with self.timed(Stage.LEDGER):
            await self.log.advance(state, **facts)  # type: ignore[arg-type]  # the record's model checks every fact

    async def _read(self, raster: Raster) -> tuple[tuple[TextLine, ...], tuple[Finding, ...]]:
        lines = await self._timed(Stage.READ, self._roles.read(raster, self.request.deadline))
        return lines, await self.personal(lines, Size.of(raster), self.secrets)

    async def _timed(self, stage: Stage, work: Awaitable[T]) -> T:
        with self.timed(stage):
            return await work


async def together(first: Awaitable[A], second: Awaitable[B], third: Awaitable[C]) -> tuple[A, B, C]:
    """All results, or the first failure; what still runs then is cancelled."""
    tasks = [asyncio.ensure_future(work) for work in (first, second, third)]
    try:
        return tuple(await asyncio.gather(*tasks))  # type: ignore[return-value]  # gather loses the types here
    finally:
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def running(request: GuardRequest, roles: Roles, witness: Witness) -> AsyncIterator[Run]:
    """Open the request in the ledger, and close it whatever happens: RELEASED by the pipeline, else REFUSED."""
    facts = trace_fact(request.parent, witness.key, witness.traces)
    facts["method"] = request.method
    ledger = await witness.ledger.log_for(request.policy.audit.retention_days)
    log = RequestLog(ledger)
    run = Run(request, roles, witness, log)
    try:
        await log.open(**facts)
        yield run
    except BaseException as failure:
        # Without a record there is nothing to close; a caller who left while it was written may have one.
        if not log.finished and (log.records or isinstance(failure, asyncio.CancelledError)):
            with suppress(Unavailable):  # the ledger itself is what failed: the request stays unfinished in it
                await run.advance(
                    State.REFUSED, reason=_reason(failure, request.deadline), timings=run.take_time(), **run.refusal
                )
        raise
    finally:
        if log.closed and request.closed is not None:
            request.closed(Closed.of(log.records, log.log, run.cleared))


def _reason(failure: BaseException, deadline: Deadline) -> Reason:
    """Why a request ended. gRPC cancels a call whose deadline passes, as it does one whose caller leaves."""
    reason = reason_of(failure)
    return Reason.DEADLINE_EXCEEDED if reason is Reason.CANCELLED and deadline.is_past else reason
