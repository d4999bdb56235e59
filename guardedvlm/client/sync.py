"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from guardedvlm.client import requests
from guardedvlm.client.connection import Peer, metadata
from guardedvlm.client.receipts import OnReceipt, ReceiptTaker
from guardedvlm.client.requests import UPLOAD_ABOVE, Asking, Redacting, ReleaseWishes
from guardedvlm.client.retry import Attempts, Retry, pause_after
from guardedvlm.client.tokens import Token
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub


class Client:
    """A connection to one guard. `target` is HOST:PORT or unix:PATH. Threads may share it.

    With `ca` (PEM) the connection is TLS, with `certificate` and `key` mutual TLS; without `ca` it is plain text, to
    the loopback interface and unix sockets only. `token` goes out as a bearer token; a callable is asked before every
    attempt. `timeout` is for all attempts of a call together, in seconds.
    """

    def __init__(
        self,
        target: str,
        *,
        token: Token = "",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        timeout: float = 120.0,
        retry: Retry | None = None,
        receipt_keys: Path | None = None,
    ) -> None:
        self._channel = Peer(target, ca, certificate, key).channel()
        self._stub = GuardServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._token = token
        self._timeout = timeout
        self._retry = retry or Retry()
        self._receipts = ReceiptTaker(ReceiptTaker.keys_of(receipt_keys))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def analyze(
        self, content: bytes, question: str, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Asking]
    ) -> pb.Analysis:
        """Ask `question` about a document of any number of pages. With `reidentify` the answer brings what its labels
        stand for, sealed (`labels_of` opens it). Raises GuardedVLMError."""
        taker = self._receipts.of(on_receipt, content)
        if len(content) > UPLOAD_ABOVE:
            header = requests.upload_header(content, question, wishes)
            upload: pb.UploadAnalyzeImageResponse = self._call(
                self._stub.UploadAnalyzeImage, lambda: requests.upload_parts(header, content), header.request_id, taker
            )
            return upload.analysis
        request = requests.analyze_request(content, question, wishes)
        found: pb.AnalyzeImageResponse = self._call(self._stub.AnalyzeImage, lambda: request, request.request_id, taker)
        return found.analysis

    def stream(
        self,
        content: bytes,
        question: str,
        *,
        with_progress: bool = False,
        on_receipt: OnReceipt | None = None,
        **wishes: Unpack[Asking],
    ) -> Iterator[pb.StreamAnalyzeImageResponse]:
        """Ask `question` about a document; yields events as they are released, and with `with_progress` how far the
        request is (from the start again where it is made again). Raises GuardedVLMError."""
        request = requests.stream_request(content, question, wishes, with_progress)
        yield from self._stream(self._stub.StreamAnalyzeImage, request, self._receipts.of(on_receipt, content))

    def extract(
        self,
        content: bytes,
        schema: Mapping[str, object] | str,
        *,
        on_receipt: OnReceipt | None = None,
        **wishes: Unpack[ReleaseWishes],
    ) -> pb.ExtractFieldsResponse:
        """The values that a JSON Schema asks for; `json` of the response is valid against it. Raises
        GuardedVLMError."""
        request = requests.extract_request(content, schema, wishes)
        taker = self._receipts.of(on_receipt, content)
        found: pb.ExtractFieldsResponse = self._call(
            self._stub.ExtractFields, lambda: request, request.request_id, taker
        )
        return found

    def redact(
        self, content: bytes, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Redacting]
    ) -> pb.RedactImageResponse:
        """The redacted, verified document (`redacted_document` takes it out). Raises GuardedVLMError."""
        request = requests.redact_request(content, wishes)
        taker = self._receipts.of(on_receipt, content)
        found: pb.RedactImageResponse = self._call(self._stub.RedactImage, lambda: request, request.request_id, taker)
        return found

    def stream_redact(
        self, content: bytes, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Redacting]
    ) -> Iterator[pb.StreamRedactImageResponse]:
        """`redact` that tells page by page how far it is; the last event has the result. Raises GuardedVLMError."""
        request = requests.stream_redact_request(content, wishes)
        yield from self._stream(self._stub.StreamRedactImage, request, self._receipts.of(on_receipt, content))

    def policy(self) -> pb.GetPolicyResponse:
        """The effective policy of the caller's tenant. Raises GuardedVLMError."""
        found: pb.GetPolicyResponse = self._call(self._stub.GetPolicy, pb.GetPolicyRequest, "", ReceiptTaker())
        return found

    def _call(self, method: Any, make: Callable[[], Any], request_id: str, taker: ReceiptTaker) -> Any:
        """The response of a method that gives one; `make` gives the request, anew for every attempt."""
        attempts = Attempts(self._retry, self._timeout)
        while True:
            try:
                response, call = method.with_call(make(), timeout=attempts.left(), metadata=self._metadata())
            except grpc.RpcError as failure:
                pause = pause_after(attempts, failure, request_id, taker)
            else:
                taker.take(call.trailing_metadata(), response)
                return response
            time.sleep(pause)

    def _stream(self, method: Any, request: Any, taker: ReceiptTaker) -> Iterator[Any]:
        """The events of a method that gives several; the receipt comes after the last one. Once something has been
        released the call is not made again: the caller has it."""
        attempts = Attempts(self._retry, self._timeout)
        last = None
        while True:
            call = method(request, timeout=attempts.left(), metadata=self._metadata())
            try:
                for event in call:
                    last = last if requests.is_progress(event) else event
                    yield event
            except grpc.RpcError as failure:
                attempts = attempts if last is None else attempts.last()
                pause = pause_after(attempts, failure, request.request_id, taker)
            else:
                taker.take(call.trailing_metadata(), last)
                return
            finally:
                call.cancel()  # does nothing to a call that is over
            time.sleep(pause)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return metadata(self._token() if callable(self._token) else self._token)
