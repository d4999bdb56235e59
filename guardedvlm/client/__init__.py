"""The Python client of GuardService; it needs nothing beyond the package's base dependencies.

    with Client("guard.example:8443", token=token_from_file(Path("token")), ca=Path("ca.pem")) as client:
        found = client.analyze(Path("scan.png").read_bytes(), "What is the total?")
        print(found.answer)

`AsyncClient` has the same methods for asyncio.

Errors come as the product's own exceptions (`guardedvlm.errors`): class and `code`, `reason`, `retry_after` (seconds,
where the service says when to come back), `request_id`, and `audit_id` where the refusal is on record; none holds
content.

A call that ends with UNAVAILABLE is made again (`Retry`), under one request_id, so that nothing is done twice, and
within the one deadline. No other code is: a refusal stays one, and a quota is the caller's to wait for.

Every response, and every refusal that is on record, has a signed receipt: `on_receipt` gets it, before the response or
the error. With `receipt_keys` (`guardedvlm keys export-public`) each is verified first, and no response is given
without.
"""

from guardedvlm.audit.receipt import Receipt
from guardedvlm.client.aio import AsyncClient
from guardedvlm.client.connection import MAX_RECEIVE
from guardedvlm.client.labels import labels_of
from guardedvlm.client.receipts import OnReceipt
from guardedvlm.client.requests import CHUNK_BYTES, UPLOAD_ABOVE
from guardedvlm.client.retry import Retry
from guardedvlm.client.sync import Client
from guardedvlm.client.tokens import AsyncToken, ExpiringToken, Token, token_from_file
from guardedvlm.transport.response import redacted_document

__all__ = [
    "CHUNK_BYTES",
    "MAX_RECEIVE",
    "UPLOAD_ABOVE",
    "AsyncClient",
    "AsyncToken",
    "Client",
    "ExpiringToken",
    "OnReceipt",
    "Receipt",
    "Retry",
    "Token",
    "labels_of",
    "redacted_document",
    "token_from_file",
]
