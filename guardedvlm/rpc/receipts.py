"""The receipt of one call, in its trailing metadata: of a response, of a refusal, of a response that is given again.

What a repeated request_id gets again has no nonce and no signature in memory: each response is signed for itself. A
call that ended before it was written down (nobody known, too large, an id that was used for something else) has no
record, and so no receipt; nor has one that waited for another call with its id, which was then refused.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from guardedvlm.audit.receipt import Closed, Outcome, Receipts
from guardedvlm.errors import GuardedVLMError
from guardedvlm.transport.response import RECEIPT_KEY, redacted_document
from guardedvlm.v1 import guard_pb2 as pb

Made = TypeVar("Made", bound=Message | tuple[Message, ...])
Metadata = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Released(Generic[Made]):
    """A response, and what the ledger says of the request that it answers."""

    output: Made
    closed: Closed | None

    @property
    def size(self) -> int:
        """Bytes of its messages."""
        output = self.output
        return sum(item.ByteSize() for item in output) if isinstance(output, tuple) else output.ByteSize()


class CallReceipt:
    """What the receipt of one call is made of, gathered while it runs. It is signed in a thread of `pool` (None: the
    loop's own): who waits for a signer must not hold up other work."""

    def __init__(self, receipts: Receipts, pool: Executor | None = None) -> None:
        self._receipts = receipts
        self._pool = pool
        self._document = b""
        self._redacted = b""
        self._closed: Closed | None = None

    @property
    def closed(self) -> Closed | None:
        """What the ledger says of the request, once it is over."""
        return self._closed

    def take(self, document: bytes) -> None:
        """Learn what came."""
        self._document = document

    def note(self, closed: Closed) -> None:
        """Learn what the ledger says."""
        self._closed = closed

    def open(self, redaction: pb.Redaction) -> None:
        """Learn what a stream sends before its end: should it be refused now, its file has left all the same."""
        self._redacted = redacted_document(redaction).content

    def give(self, released: Released[Made]) -> None:
        """Learn what goes out, now or again."""
        self._closed = released.closed
        self._redacted = _released_file(released.output)

    async def of_response(self) -> Metadata:
        """Raises Unavailable(EVIDENCE_UNSIGNED): without a receipt there is no response."""
        return await self._signed() if self._closed is not None else ()

    async def of_refusal(self) -> Metadata:
        """The receipt of a refusal that is on record, if there is one and it can be signed: an error stays one."""
        if self._closed is not None and self._closed.recorded.outcome is Outcome.REFUSED:
            with suppress(GuardedVLMError):
                return await self._signed()
        return ()

    async def _signed(self) -> Metadata:
        assert self._closed is not None
        given = self._closed, self._document, self._redacted
        receipt = await asyncio.get_running_loop().run_in_executor(self._pool, self._receipts.issue, *given)
        return ((RECEIPT_KEY, receipt.encode()),)


def _released_file(output: Message | tuple[Message, ...]) -> bytes:
    """The redacted file that goes out with a response."""
    last = output[-1] if isinstance(output, tuple) and output else output
    if isinstance(last, pb.StreamAnalyzeImageResponse):
        last = last.done
    elif isinstance(last, pb.StreamRedactImageResponse):
        last = last.result
    known = pb.Analysis | pb.ExtractFieldsResponse | pb.RedactImageResponse
    return redacted_document(last.redaction).content if isinstance(last, known) else b""
