"""The client for asyncio: the same methods."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
import grpc.aio

from guardedvlm.client import requests
from guardedvlm.client.connection import Peer, metadata
from guardedvlm.client.receipts import OnReceipt, ReceiptTaker
from guardedvlm.client.requests import UPLOAD_ABOVE, Asking, Redacting, ReleaseWishes
from guardedvlm.client.retry import Attempts, Retry, pause_after
from guardedvlm.client.tokens import AsyncToken
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub


class AsyncClient:
    """`Client` for asyncio; make it where the loop runs. `token` may also be a coroutine function. A call whose task is
    cancelled is cancelled at the service."""

    def __init__(
        self,
        target: str,
        *,
        token: AsyncToken = "",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        timeout: float = 120.0,
        retry: Retry | None = None,
        receipt_keys: Path | None = None,
    ) -> None:
        self._channel = Peer(target, ca, certificate, key).aio_channel()
        self._stub = GuardServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._token = token
        self._timeout = timeout
        self._retry = retry or Retry()
        self._receipts = ReceiptTaker(ReceiptTaker.keys_of(receipt_keys))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def analyze(
        self, content: bytes, question: str, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Asking]
    ) -> pb.Analysis:
        """As `Client.analyze`."""
        taker = self._receipts.of(on_receipt, content)
        if len(content) > UPLOAD_ABOVE:
            header = requests.upload_header(content, question, wishes)
            upload: pb.UploadAnalyzeImageResponse = await self._call(
                self._stub.UploadAnalyzeImage, lambda: requests.upload_parts(header, content), header.request_id, taker
            )
            return upload.analysis
        request = requests.analyze_request(content, question, wishes)
        found: pb.AnalyzeImageResponse = await self._call(
            self._stub.AnalyzeImage, lambda: request, request.request_id, taker
        )
        return found.analysis

    async def stream(
        self,
        content: bytes,
        question: str,
        *,
        with_progress: bool = False,
        on_receipt: OnReceipt | None = None,
        **wishes: Unpack[Asking],
    ) -> AsyncGenerator[pb.StreamAnalyzeImageResponse, None]:
        """As `Client.stream`. Close it (`contextlib.aclosing`) to cancel the call before its end."""
        request = requests.stream_request(content, question, wishes, with_progress)
        taker = self._receipts.of(on_receipt, content)
        async with aclosing(self._stream(self._stub.StreamAnalyzeImage, request, taker)) as events:
            async for event in events:
                yield event

    async def extract(
        self,
        content: bytes,
        schema: Mapping[str, object] | str,
        *,
        on_receipt: OnReceipt | None = None,
        **wishes: Unpack[ReleaseWishes],
    ) -> pb.ExtractFieldsResponse:
        """As `Client.extract`."""
        request = requests.extract_request(content, schema, wishes)
        taker = self._receipts.of(on_receipt, content)
        found: pb.ExtractFieldsResponse = await self._call(
            self._stub.ExtractFields, lambda: request, request.request_id, taker
        )
        return found

    async def redact(
        self, content: bytes, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Redacting]
    ) -> pb.RedactImageResponse:
        """As `Client.redact`."""
        request = requests.redact_request(content, wishes)
        taker = self._receipts.of(on_receipt, content)
        found: pb.RedactImageResponse = await self._call(
            self._stub.RedactImage, lambda: request, request.request_id, taker
        )
        return found

    async def stream_redact(
        self, content: bytes, *, on_receipt: OnReceipt | None = None, **wishes: Unpack[Redacting]
    ) -> AsyncGenerator[pb.StreamRedactImageResponse, None]:
        """As `Client.stream_redact`."""
        request = requests.stream_redact_request(content, wishes)
        taker = self._receipts.of(on_receipt, content)
        async with aclosing(self._stream(self._stub.StreamRedactImage, request, taker)) as events:
            async for event in events:
                yield event

    async def policy(self) -> pb.GetPolicyResponse:
        """As `Client.policy`."""
        found: pb.GetPolicyResponse = await self._call(self._stub.GetPolicy, pb.GetPolicyRequest, "", ReceiptTaker())
        return found

    def as_caller(self, token: AsyncToken) -> AsyncClient:
        """The same connection under another token, for who passes calls on. Close this one, not the other."""
        other = object.__new__(AsyncClient)
        other.__dict__ = {**self.__dict__, "_token": token}
        return other

    async def _call(self, method: Any, make: Callable[[], Any], request_id: str, taker: ReceiptTaker) -> Any:
        """As `Client._call`."""
        attempts = Attempts(self._retry, self._timeout)
        while True:
            sent = await self._metadata()
            call = method(make(), timeout=attempts.left(), metadata=sent)
            try:
                response = await call
                trailing = await call.trailing_metadata()
            except grpc.aio.AioRpcError as failure:
                pause = pause_after(attempts, failure, request_id, taker)
            else:
                taker.take(trailing, response)
                return response
            await asyncio.sleep(pause)

    async def _stream(self, method: Any, request: Any, taker: ReceiptTaker) -> AsyncGenerator[Any, None]:
        """As `Client._stream`."""
        attempts = Attempts(self._retry, self._timeout)
        last = None
        while True:
            sent = await self._metadata()
            call = method(request, timeout=attempts.left(), metadata=sent)
            try:
                async for event in call:
                    last = last if requests.is_progress(event) else event
                    yield event
                trailing = await call.trailing_metadata()
            except grpc.aio.AioRpcError as failure:
                attempts = attempts if last is None else attempts.last()
                pause = pause_after(attempts, failure, request.request_id, taker)
            else:
                taker.take(trailing, last)
                return
            finally:
                call.cancel()  # does nothing to a call that is over
            await asyncio.sleep(pause)

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token() if callable(self._token) else self._token
        return metadata(await token if inspect.isawaitable(token) else token)
