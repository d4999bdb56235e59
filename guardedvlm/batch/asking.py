"""Who answers: the guard in this process, or a service. Both say the same of a document: rows, or why there are none.

An error that says something of the document is the document's outcome. One that every document would meet (STOPS) is
raised, so that a batch under a broken ledger does not end as a table of failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method
from guardedvlm.audit.receipt import Closed, Receipt, Receipts
from guardedvlm.batch.inputs import path_of, read_input
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.manifest import Wanted
from guardedvlm.batch.rows import Answered, Failed, Outcome, Row, answer_rows, field_rows
from guardedvlm.client import Client, OnReceipt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import Sampling
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import (
    ConfigurationError,
    GuardedVLMError,
    Internal,
    InvalidInput,
    Overloaded,
    Reason,
    Unavailable,
)
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Answer
from guardedvlm.guard.pipeline import Question
from guardedvlm.guard.run import GuardRequest
from guardedvlm.policy.model import Policy
from guardedvlm.rpc import translate
from guardedvlm.transport.status import NO_RETRY

STOPS = frozenset(
    {
        *(Reason.QUESTION_EMPTY, Reason.QUESTION_TOO_LONG, Reason.QUESTION_LANGUAGE, Reason.QUESTION_FORBIDDEN),
        *(Reason.UNAUTHENTICATED, Reason.ROLE_MISSING, Reason.TENANT_UNKNOWN, Reason.POLICY_MISSING),
        *(Reason.POLICY_EXPIRED, Reason.WEIGHTS_CHANGED, Reason.DETECTOR_MISSING),
        *(Reason.LEDGER_UNWRITABLE, Reason.EVIDENCE_UNSIGNED, Reason.SERVICE_UNAVAILABLE),
        *(Reason.INFERENCE_UNAVAILABLE, Reason.CLEARANCE_INVALID),
    }
)
"""Reasons that say nothing of a document: the next one would meet them too."""
DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further try of what may be tried again: a service that restarts is back in half a minute."""


@dataclass(frozen=True, slots=True)
class Task:
    """A document to be asked about: its name, and one of the files that hold it."""

    document: str
    uri: str = field(repr=False)

    @property
    def request_id(self) -> str:
        """The same in every run, so that a service gives a repeated request what it gave before, and the ledger shows
        that two requests are one."""
        return f"batch-{self.document}"


class Asker(Protocol):
    """Who is asked."""

    async def ask(self, task: Task, content: bytes) -> Outcome:
        """What becomes of a document with these bytes. Raises GuardedVLMError: a Failed of it, unless it stops all."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How a document's bytes are had: no more than the policy takes, and those that were surveyed."""

    key: BatchKey
    most: int  # bytes

    def content(self, task: Task) -> bytes:
        """Raises InvalidInput: INPUT_UNREADABLE, INPUT_CHANGED."""
        content = read_input(path_of(task.uri), self.most)
        # A longer one is refused by the guard, which needs to know no more of it.
        if len(content) <= self.most and self.key.document((content,)) != task.document:
            raise InvalidInput(Reason.INPUT_CHANGED)
        return content


async def outcome_of(task: Task, reading: Reading, asker: Asker) -> Outcome:
    """What becomes of a document: nothing is raised but what stops the batch (STOPS, ConfigurationError)."""
    try:
        content = await asyncio.to_thread(reading.content, task)
        return await _patiently(lambda: asker.ask(task, content))
    except GuardedVLMError as error:
        return settled(Failed(error))
    except Exception as failure:
        # Its text could hold content or a file's name.
        return Failed(Internal(Reason.INTERNAL, error=type(failure).__name__[:64]))


def settled(failed: Failed) -> Failed:
    """A failure that is its document's own. Raises the error where it is not."""
    if failed.error.reason in STOPS or isinstance(failed.error, ConfigurationError):
        raise failed.error
    return failed


async def _patiently(ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """The outcome, asked for again where it is told to be."""
    for delay in DELAYS:
        found = await ask()
        if not isinstance(found, Failed) or not _may_be_tried_again(found.error):
            break
        await asyncio.sleep(delay)
    else:
        found = await ask()
    return settled(found) if isinstance(found, Failed) else found


def _may_be_tried_again(error: GuardedVLMError) -> bool:
    return isinstance(error, Unavailable | Overloaded) and error.reason not in NO_RETRY


class GuardHere:
    """The guard in this process. With `receipts` each document has its signed receipt."""

    def __init__(self, guard: Guard, policy: Policy, wanted: Wanted, caller: Caller, receipts: bool) -> None:
        self._guard = guard
        self._policy = policy
        self._fields = parse_fields(wanted.schema) if wanted.schema else None
        self._question = wanted.question
        self._caller = caller
        self._receipts = Receipts(guard.signer) if receipts else None

    async def ask(self, task: Task, content: bytes) -> Outcome:
        """As `Asker.ask`."""
        closed: list[Closed] = []
        request = GuardRequest(
            self._caller,
            self._policy,
            RawImage(content),
            Deadline.after(self._policy.limits.max_seconds),
            Method.EXTRACT_FIELDS if self._fields else Method.ANALYZE_IMAGE,
            name=task.request_id,
            closed=closed.append,
        )
        try:
            rows = await self._rows(task, request)
        except GuardedVLMError as error:
            receipt_id = closed[0].recorded.audit_id if closed else ""
            return Failed(error, receipt_id, await self._receipt(closed, content))
        return Answered(rows, await self._receipt(closed, content))

    async def _rows(self, task: Task, request: GuardRequest) -> tuple[Row, ...]:
        sampling = Sampling(max_tokens=self._policy.say.max_tokens)
        if self._fields is not None:
            found = await self._guard.pipeline.extract(request, self._fields, sampling)
            return field_rows(task.document, translate.extraction(found, self._policy))
        question = Question(self._question, sampling=sampling)
        async with aclosing(self._guard.pipeline.analyze(request, question)) as events:
            last = [event async for event in events][-1:]
        if not last or not isinstance(last[0], Answer):
            raise Internal(Reason.INTERNAL)
        return answer_rows(task.document, translate.analysis(last[0], self._policy))

    async def _receipt(self, closed: list[Closed], content: bytes) -> bytes:
        """Raises Unavailable(EVIDENCE_UNSIGNED)."""
        if self._receipts is None or not closed:
            return b""
        made = await asyncio.to_thread(self._receipts.issue, closed[0], content, b"")
        return made.encode()


class Service:
    """A running service, under the policy of its tenant; at most `concurrency` calls at a time."""

    def __init__(self, client: Client, wanted: Wanted, receipts: bool, concurrency: int) -> None:
        self._client = client
        self._wanted = wanted
        self._receipts = receipts
        self._calls = ThreadPoolExecutor(concurrency, "batch")

    async def ask(self, task: Task, content: bytes) -> Outcome:
        """As `Asker.ask`."""
        return await asyncio.get_running_loop().run_in_executor(self._calls, self._ask, task, content)

    def _ask(self, task: Task, content: bytes) -> Outcome:
        got: list[Receipt] = []
        try:
            rows = self._rows(task, content, got.append if self._receipts else None)
        except GuardedVLMError as error:
            return Failed(error, error.audit_id, _kept(got))
        return Answered(rows, _kept(got))

    def _rows(self, task: Task, content: bytes, got: OnReceipt | None) -> tuple[Row, ...]:
        name, wanted = task.request_id, self._wanted
        if wanted.schema:
            fields = self._client.extract(content, wanted.schema, request_id=name, on_receipt=got)
            return field_rows(task.document, fields)
        answer = self._client.analyze(content, wanted.question, request_id=name, on_receipt=got)
        return answer_rows(task.document, answer)


def _kept(got: list[Receipt]) -> bytes:
    return got[-1].encode() if got else b""
