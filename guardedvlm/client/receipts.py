"""The receipts of calls: taken out of the trailing metadata, verified where there are keys, given to the caller."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio

from guardedvlm.audit.keys import PublicKeys, load_public
from guardedvlm.audit.receipt import Of, Outcome, Receipt
from guardedvlm.audit.receipt_proof import Given, prove
from guardedvlm.errors import GuardedVLMError, Reason, Unavailable
from guardedvlm.transport.response import RECEIPT_KEY, redacted_document
from guardedvlm.v1 import guard_pb2 as pb

OnReceipt: TypeAlias = Callable[[Receipt], None]
Trailing: TypeAlias = Iterable[Any] | None


@dataclass(frozen=True, slots=True)
class ReceiptTaker:
    """What becomes of the receipts of one call: `keys` verify them, `on_receipt` gets them; `document` was sent."""

    keys: PublicKeys | None = None
    on_receipt: OnReceipt | None = None
    document: bytes = b""

    @classmethod
    def keys_of(cls, file: Path | None) -> PublicKeys | None:
        """The public keys in a file of `guardedvlm keys export-public`. Raises ConfigurationError."""
        return load_public(file) if file is not None else None

    def of(self, on_receipt: OnReceipt | None, document: bytes) -> Self:
        """The same keys, for one call."""
        return type(self)(self.keys, on_receipt, document)

    def take(self, trailing: Trailing, response: Any = None) -> None:
        """The receipt of a response. Raises Unavailable: RECEIPT_MISSING where there is none, RECEIPT_BROKEN where it
        is not by one of the keys, or is of something else; only where somebody asks for it, or could tell."""
        if self.keys is None and self.on_receipt is None:
            return
        if (receipt := receipt_in(trailing)) is None:
            raise Unavailable(Reason.RECEIPT_MISSING)
        self._verify(receipt, Outcome.RELEASED, _released_file(response))
        if self.on_receipt is not None:
            self.on_receipt(receipt)

    def take_refusal(self, failure: Any, error: GuardedVLMError) -> None:
        """The receipt of a refusal, which may have none: not everything that is refused was written down before. One
        that does not verify is none either. `error` learns the service's own id of the request."""
        if not isinstance(failure, grpc.Call | grpc.aio.AioRpcError):
            return
        if (receipt := receipt_in(failure.trailing_metadata())) is None:
            return
        try:
            self._verify(receipt, Outcome.REFUSED, b"")
        except Unavailable:
            return
        error.audit_id = receipt.statement.audit_id
        if self.on_receipt is not None:
            self.on_receipt(receipt)

    def _verify(self, receipt: Receipt, outcome: Outcome, redacted: bytes) -> None:
        """Steps 1 to 5 of `audit.receipt_proof`, against what this caller sent and got. A service that refuses a
        document unread says so: its receipt is of no bytes."""
        if self.keys is None:
            return
        statement = receipt.statement
        is_unread = outcome is Outcome.REFUSED and statement.input.bytes == 0
        commitments = [(Of.INPUT, b"" if is_unread else self.document, statement.input.commitment)]
        if redacted:
            commitments.append((Of.REDACTED, redacted, statement.redacted.commitment if statement.redacted else ""))
        is_ours = prove(receipt.encode(), Given(keys=self.keys)).holds and statement.outcome is outcome
        for of, content, told in commitments:
            is_ours = is_ours and hmac.compare_digest(statement.commitment(of, (content,)), told)
        if not is_ours:
            raise Unavailable(Reason.RECEIPT_BROKEN)


def receipt_in(trailing: Trailing) -> Receipt | None:
    """The one receipt in a call's trailing metadata, where it can be read."""
    found = [value for key, value in trailing or () if key == RECEIPT_KEY]
    try:
        (content,) = found
        return Receipt.decode(content) if isinstance(content, bytes) else None
    except ValueError:
        return None


def _released_file(response: Any) -> bytes:
    """The redacted file that came with a response, of a stream with its last event."""
    for name in ("analysis", "done", "result"):
        if response is not None and name in response.DESCRIPTOR.fields_by_name:
            response = getattr(response, name)
            break
    known = pb.Analysis | pb.ExtractFieldsResponse | pb.RedactImageResponse
    return redacted_document(response.redaction).content if isinstance(response, known) else b""
