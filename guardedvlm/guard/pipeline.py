"""The guarded path. This is the architecture, and it fits on one screen.

open the ledger entry, decode, find, redact, verify, screen the prompt, sign, generate, screen the answer, release
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from guardedvlm.audit.digest import Purpose
from guardedvlm.audit.facts import Stage
from guardedvlm.audit.review.store import SampleStore
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, Turn
from guardedvlm.core.field_schema import Record
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import Backend, Capacity, Draft, Sampling
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.answers import Piece, joined
from guardedvlm.guard.canary import Canary
from guardedvlm.guard.extraction import ASKED, FieldsRelease, check_fixed
from guardedvlm.guard.outcome import Extraction, Redaction
from guardedvlm.guard.pages import ClearedDocument, Document, clear, find, redaction
from guardedvlm.guard.release import AnswerRelease, Event, engine_facts, hidden_strings, screening
from guardedvlm.guard.review import Candidate, Reviews
from guardedvlm.guard.roles import Roles
from guardedvlm.guard.run import GuardRequest, Run, Witness, running
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding, PromptScreen, instructions_in, with_quotes
from guardedvlm.guard.shadow import Shadows, Trial
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import Instructions, Policy, Release

__all__ = ["Event", "GuardRequest", "Pipeline", "Question"]

MOST_CHARS_A_TOKEN = 16
"""Characters of an answer for each token that an engine may write, above which it is not believed: the longest English
tokens of Llama 3 have about so many."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as the caller wrote it: nothing of it reaches a backend before the screen."""

    text: str = field(repr=False)
    history: tuple[Turn, ...] = field(default=(), repr=False)
    schema: str = field(default="", repr=False)
    sampling: Sampling = field(default_factory=Sampling)
    fields: Record | None = field(default=None, repr=False)  # that the schema asks for, which may not be rewritten


@dataclass(frozen=True, slots=True)
class _Asked:
    """Drafts and their way out. `limit`: characters above which an engine is not believed, of one page's answer."""

    pieces: AsyncGenerator[Piece, None]
    release: AnswerRelease
    grounding: Grounding
    deny: DenySet
    limit: int


class Pipeline:
    """The guard of one process. Many tasks may use it at the same time."""

    def __init__(
        self,
        roles: Roles,
        backend: Backend,
        signer: ClearanceSigner,
        witness: Witness,
        samples: SampleStore | None = None,
        canary: Canary | None = None,
    ) -> None:
        self._roles = roles
        self._backend = backend
        self._signer = signer
        self._witness = witness
        self._canary = canary
        self._shadows = Shadows(roles, witness.ledger)
        self.reviews = Reviews(samples, witness.ledger, witness.key)

    async def close(self) -> None:
        """Wait for what still runs when all requests are over: trials of candidate policies, samples for review."""
        await self._shadows.close()
        await self.reviews.close()

    async def redact(self, request: GuardRequest) -> Redaction:
        """The redacted pages, verified at their own sizes. No model is asked. Raises GuardedVLMError."""
        with self._shadows.after() as trial, self.reviews.after() as sample:
            return await self._redacted(request, trial, sample)

    async def _redacted(self, request: GuardRequest, trial: Trial, sample: Candidate) -> Redaction:
        async with running(request, self._roles, self._witness) as run, AsyncExitStack() as turn:
            trial.run = sample.run = run
            await self._admit(run)
            await turn.enter_async_context(run.turn())
            document = await asyncio.to_thread(Document.of, await run.decode())
            trial.sizes = document.sizes
            trial.found = sample.found = found = await find(run, document)
            sample.cleared = cleared = await clear(run, document, found, None)
            self._check_canary()  # again: the request waited, and a detector may have gone blind since
            await run.record_cleared(cleared.outcomes, cleared.digests, found.kept(run.policy))
            redacted = await redaction(run, document, found, cleared)
            await run.advance(State.RELEASE_OPEN)
            await run.advance(State.RELEASED, timings=run.take_time(), **run.left(redacted))
            return redacted

    async def analyze(self, request: GuardRequest, question: Question) -> AsyncGenerator[Event, None]:
        """Answer a question about the document, piece by piece as the policy releases it. Raises GuardedVLMError."""
        with self._shadows.after() as trial, self.reviews.after() as sample:
            async with self._asked(request, question, request.policy, trial, sample) as asked:
                async for event in asked.release.events(asked.pieces):
                    yield event

    async def extract(self, request: GuardRequest, fields: Record, sampling: Sampling) -> Extraction:
        """The values that a schema asks for, each screened, the whole valid against it. Raises GuardedVLMError."""
        question = Question(ASKED, schema=fields.encoded(), sampling=sampling, fields=fields)
        with self._shadows.after() as trial, self.reviews.after() as sample:
            async with self._asked(request, question, releasing_whole(request.policy), trial, sample) as asked:
                release = FieldsRelease(asked.release, fields, asked.grounding, asked.deny, asked.limit)
                return await release.extraction(asked.pieces)

    @asynccontextmanager
    async def _asked(
        self, request: GuardRequest, question: Question, saying: Policy, trial: Trial, sample: Candidate
    ) -> AsyncIterator[_Asked]:
        """The model's drafts about the cleared document, and the only way out for them, under the policy `saying`."""
        async with running(request, self._roles, self._witness) as run, AsyncExitStack() as turn:
            trial.run, trial.question, sample.run = run, question.text, run
            trial.history, trial.schema, trial.sampling = question.history, question.schema, question.sampling
            await self._admit(run)
            await turn.enter_async_context(run.turn(run.policy.sampling(question.sampling).max_tokens))
            await self._screened(run, question, {})  # refuses a forbidden question before the picture is touched
            document = await asyncio.to_thread(Document.of, await run.decode())
            capacity = await self._backend.capacity()
            trial.sizes = document.sizes
            trial.found = sample.found = found = await find(run, document)
            sample.cleared = cleared = await clear(run, document, found, capacity.geometry)
            self._check_canary()
            await run.record_cleared(cleared.outcomes, cleared.digests, found.kept(run.policy))
            redacted = await redaction(run, document, found, cleared)
            deny = await asyncio.to_thread(hidden_strings, run, found, cleared)
            try:
                labels, dealt = found.labels.by_secret(), found.labels.dealt()
                prompt = await self._screened(run, question, labels, deny, dealt)
                prompt = await self._warned(run, prompt, cleared)
                sampling = run.policy.sampling(question.sampling)
                pieces = trial.heard(self._pieces(run, capacity, cleared, prompt, sampling))
                grounding = trial.grounding = Grounding(dict(enumerate(cleared.words)), prompt.texts)
                # The question's labels are among them.
                screen = AnswerScreen(saying, run.spans, deny, labels, dealt, grounding, topics=run.topics)
                release = AnswerRelease(run, redacted, screen, capacity)
                async with aclosing(pieces):
                    yield _Asked(pieces, release, grounding, deny, MOST_CHARS_A_TOKEN * capacity.max_output_tokens)
            finally:
                deny.wipe()

    async def _admit(self, run: Run) -> None:
        """Raises Unavailable(CANARY_MISSED) while a detector is blind, and what the policy forbids."""
        await run.admit()
        self._check_canary()
        run.check_wishes_allowed()

    def _check_canary(self) -> None:
        """Raises Unavailable(CANARY_MISSED)."""
        if self._canary is not None:
            self._canary.check()

    async def _screened(
        self,
        run: Run,
        question: Question,
        labels: dict[str, str],
        deny: DenySet | None = None,
        taken: Collection[str] = (),
    ) -> ClearedPrompt:
        """The prompt that may be sent; what it names and the picture does not is added to `labels`.

        Raises InvalidInput or Refused; the closing record then says what was seen.
        """
        screen = PromptScreen(run.policy, run.spans, labels, deny, taken, topics=run.topics)
        with run.timed(Stage.PROMPT):
            try:
                prompt = await screen.clear(question.text, question.history, question.schema)
            finally:
                run.refusal = {"prompt_screen": screening(screen.report)}
                labels |= screen.dealt
        if question.fields is not None:
            check_fixed(question.fields, prompt.schema)
        return prompt

    async def _warned(self, run: Run, prompt: ClearedPrompt, cleared: ClearedDocument) -> ClearedPrompt:
        """The prompt with what the picture says to the model quoted, where the policy says so; it is counted.

        Raises Refused(INSTRUCTIONS_FOUND) where the policy refuses it.
        """
        with run.timed(Stage.PROMPT):
            texts = await asyncio.to_thread(instructions_in, cleared.words)
        run.instructions = len(texts)
        run.refusal = run.refusal | {"instructions": len(texts)}
        if texts and run.policy.text.instructions is Instructions.REFUSE:
            raise Refused(Reason.INSTRUCTIONS_FOUND, count=len(texts))
        is_quoted = run.policy.text.instructions is Instructions.QUOTE
        return with_quotes(prompt, texts) if is_quoted else prompt

    async def _pieces(
        self, run: Run, capacity: Capacity, cleared: ClearedDocument, prompt: ClearedPrompt, sampling: Sampling
    ) -> AsyncGenerator[Piece, None]:
        """Ask the model about every page, in turn with others; the time until each draft is the model's."""
        async with run.model_turn(capacity.max_concurrent):
            await run.advance(
                State.GENERATING,
                **engine_facts(capacity),
                **run.refusal,
                prompt_digest=run.digest(Purpose.PROMPT, prompt.digest()),
                prompt_chars=prompt.chars,
            )
            async with aclosing(self._answers(run, capacity, cleared, prompt, sampling)) as pieces:
                async for piece in pieces:
                    yield piece
            run.wrote(0)  # each page was charged when it ended

    def _answers(
        self, run: Run, capacity: Capacity, cleared: ClearedDocument, prompt: ClearedPrompt, sampling: Sampling
    ) -> AsyncGenerator[Piece, None]:
        """Drafts about every page, as one answer."""
        total = len(cleared.outcomes)
        return joined(
            cleared.shown(),
            lambda shown: self._drafts(run, capacity, shown.image, prompt, sampling),
            lambda done: run.tell(Stage.INFER, done, total),
            MOST_CHARS_A_TOKEN * capacity.max_output_tokens,
        )

    async def _drafts(
        self, run: Run, capacity: Capacity, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling
    ) -> AsyncGenerator[Draft, None]:
        """Sign the cleared values and ask the model about a page. What it wrote is charged when it ends, and
        what it may have written when it does not."""
        caller, deadline = run.request.caller, run.request.deadline
        scope = self._signer.scope(caller.tenant, caller.name, run.policy.digest())
        signed = self._signer.sign(image, prompt, audience=capacity.audience, scope=scope, deadline=deadline)
        drafts = self._backend.generate(image, prompt, signed, sampling, deadline)
        is_whole = False
        try:
            async with aclosing(cast(AsyncGenerator[Draft, None], drafts)) as stream:
                while True:
                    with run.timed(Stage.INFER):
                        draft = await anext(stream, None)
                    if draft is None:
                        return
                    if draft.finish is not None and not is_whole:
                        is_whole = True
                        run.wrote_page(draft.output_tokens)
                    yield draft
        finally:
            if not is_whole:
                run.wrote(None)


def releasing_whole(policy: Policy) -> Policy:
    """`policy` for an answer that leaves as a whole or not at all."""
    return policy.model_copy(update={"say": policy.say.model_copy(update={"release": Release.WHOLE})})
