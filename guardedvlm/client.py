"""The Python client of GuardService.

    with Client("guard.example:8443", token="...", ca=Path("ca.pem")) as client:
        found = client.analyze(Path("scan.png").read_bytes(), "What is the total?")
        print(found.answer)

Errors come as the product's own exceptions (`guardedvlm.errors`), with the server's reason. Documents above the receive
limit of a message go through the streamed upload by themselves.

Every response, and every refusal that is on record, has a signed receipt: `on_receipt` gets it, before the response or
the error. Its signature is not checked here: `guardedvlm receipt verify`, or `audit.receipt_proof`, does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from guardedvlm.audit.receipt import Receipt
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.transport.listen import CHANNEL_OPTIONS
from guardedvlm.transport.reidentification import OpeningKey
from guardedvlm.transport.response import RECEIPT_KEY
from guardedvlm.transport.response import redacted_document as redacted_document
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.transport.tls import channel_credentials
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

CHUNK_BYTES = 2**20
"""Of an upload; the service takes at most this much a message."""
UPLOAD_ABOVE = 24 * 2**20
"""Documents above this many bytes are uploaded in chunks; the service's limit for one message is 32 MiB."""
CALL_SECONDS = 120.0
"""Of a call, unless the client is made with another timeout."""
MAX_RECEIVE = 512 * 2**20
"""A redacted document comes back as one file."""

OnReceipt = Callable[[Receipt], None]


class Client:
    """A connection to one guard. `target` is HOST:PORT or unix:PATH.

    With `ca` (PEM) the connection is TLS, with `certificate` and `key` mutual TLS; without `ca` it is plain text, which
    the service accepts on the loopback interface and unix sockets only. `token` goes out as a bearer token.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str = "",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        timeout: float = CALL_SECONDS,
    ) -> None:
        options = {**dict(CHANNEL_OPTIONS), "grpc.max_receive_message_length": MAX_RECEIVE}
        if ca is None:
            self._channel = grpc.insecure_channel(target, options=tuple(options.items()))
        else:
            credentials = channel_credentials(ca, certificate, key)
            self._channel = grpc.secure_channel(target, credentials, options=tuple(options.items()))
        self._stub = GuardServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout = timeout

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
        self,
        content: bytes,
        question: str,
        *,
        media_type: str = "",
        history: Sequence[tuple[str, str]] = (),
        max_tokens: int = 0,
        request_id: str = "",
        with_image: bool = False,
        reidentify: bool = False,
        on_receipt: OnReceipt | None = None,
    ) -> pb.Analysis:
        """Ask `question` about a document. With `reidentify` the answer brings what its labels stand for, sealed
        (`labels_of` opens it). Raises GuardedVLMError."""
        query = _query(question, history, max_tokens)
        if len(content) > UPLOAD_ABOVE:
            header = pb.UploadHeader(
                request_id=request_id,
                media_type=media_type,
                content_bytes=len(content),
                query=query,
                include_redacted_image=with_image,
                include_reidentification=reidentify,
            )
            upload: pb.UploadAnalyzeImageResponse = self._call(
                self._stub.UploadAnalyzeImage, _parts(header, content), on_receipt
            )
            return upload.analysis
        request = pb.AnalyzeImageRequest(
            request_id=request_id,
            document=pb.Document(media_type=media_type, content=content),
            query=query,
            include_redacted_image=with_image,
            include_reidentification=reidentify,
        )
        response: pb.AnalyzeImageResponse = self._call(self._stub.AnalyzeImage, request, on_receipt)
        return response.analysis

    def stream(
        self,
        content: bytes,
        question: str,
        *,
        media_type: str = "",
        history: Sequence[tuple[str, str]] = (),
        max_tokens: int = 0,
        request_id: str = "",
        with_image: bool = False,
        reidentify: bool = False,
        with_progress: bool = False,
        on_receipt: OnReceipt | None = None,
    ) -> Iterator[pb.StreamAnalyzeImageResponse]:
        """Ask `question` about a document; yields events as they are released, and with `with_progress` how far the
        request is. Raises GuardedVLMError."""
        request = pb.StreamAnalyzeImageRequest(
            request_id=request_id,
            document=pb.Document(media_type=media_type, content=content),
            query=_query(question, history, max_tokens),
            include_redacted_image=with_image,
            include_reidentification=reidentify,
            include_progress=with_progress,
        )
        yield from self._stream(self._stub.StreamAnalyzeImage, request, on_receipt)

    def extract(
        self,
        content: bytes,
        schema: Mapping[str, object] | str,
        *,
        media_type: str = "",
        request_id: str = "",
        with_image: bool = False,
        reidentify: bool = False,
        on_receipt: OnReceipt | None = None,
    ) -> pb.ExtractFieldsResponse:
        """The values that a JSON Schema asks for; `json` of the response is valid against it. `reidentify` as in
        `analyze`. Raises GuardedVLMError."""
        request = pb.ExtractFieldsRequest(
            request_id=request_id,
            document=pb.Document(media_type=media_type, content=content),
            schema=schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False),
            include_redacted_image=with_image,
            include_reidentification=reidentify,
        )
        found: pb.ExtractFieldsResponse = self._call(self._stub.ExtractFields, request, on_receipt)
        return found

    def redact(
        self,
        content: bytes,
        *,
        media_type: str = "",
        request_id: str = "",
        reidentify: bool = False,
        on_receipt: OnReceipt | None = None,
    ) -> pb.RedactImageResponse:
        """The redacted, verified document (`redacted_document` takes it out); `reidentify` as in `analyze`. Raises
        GuardedVLMError."""
        request = pb.RedactImageRequest(
            request_id=request_id,
            document=pb.Document(media_type=media_type, content=content),
            include_reidentification=reidentify,
        )
        found: pb.RedactImageResponse = self._call(self._stub.RedactImage, request, on_receipt)
        return found

    def stream_redact(
        self,
        content: bytes,
        *,
        media_type: str = "",
        request_id: str = "",
        reidentify: bool = False,
        on_receipt: OnReceipt | None = None,
    ) -> Iterator[pb.StreamRedactImageResponse]:
        """`redact` that tells page by page how far it is; the last event has the result. Raises GuardedVLMError."""
        request = pb.StreamRedactImageRequest(
            request_id=request_id,
            document=pb.Document(media_type=media_type, content=content),
            include_reidentification=reidentify,
        )
        yield from self._stream(self._stub.StreamRedactImage, request, on_receipt)

    def policy(self) -> pb.GetPolicyResponse:
        """The effective policy of the caller's tenant. Raises GuardedVLMError."""
        found: pb.GetPolicyResponse = self._call(self._stub.GetPolicy, pb.GetPolicyRequest(), None)
        return found

    def _call(self, method: Any, request: Any, on_receipt: OnReceipt | None) -> Any:
        """The response of a method that gives one."""
        try:
            response, call = method.with_call(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            _tell_refusal(on_receipt, error)
            raise error_from_rpc(error) from None
        _tell(on_receipt, call)
        return response

    def _stream(self, method: Any, request: Any, on_receipt: OnReceipt | None) -> Iterator[Any]:
        """The events of a method that gives several; the receipt comes after the last one."""
        call = method(request, timeout=self._timeout, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            _tell_refusal(on_receipt, error)
            raise error_from_rpc(error) from None
        finally:
            call.cancel()  # does nothing to a call that is over
        _tell(on_receipt, call)


def labels_of(
    response: pb.Analysis | pb.RedactImageResponse | pb.ExtractFieldsResponse, key: Path
) -> dict[str, tuple[str, ...]]:
    """What the labels of a response stand for, opened here with the private key in the file `key`.

    Label -> what was read there, the longest spelling first. Raises ConfigurationError for a key that cannot be used,
    InvalidInput(SEAL_UNOPENED) for a response that was sealed for another key, or brings nothing.
    """
    return OpeningKey.load(key).open(response.reidentification.sealed, response.audit_id)


def _tell(on_receipt: OnReceipt | None, call: grpc.Call) -> None:
    """Raises Unavailable(RECEIPT_MISSING)."""
    if on_receipt is None:
        return
    if (receipt := _receipt(call)) is None:
        raise Unavailable(Reason.RECEIPT_MISSING)
    on_receipt(receipt)


def _tell_refusal(on_receipt: OnReceipt | None, error: Any) -> None:
    """An error may have none: not everything that is refused was written down before."""
    if on_receipt is not None and isinstance(error, grpc.Call) and (receipt := _receipt(error)) is not None:
        on_receipt(receipt)


def _receipt(call: grpc.Call) -> Receipt | None:
    """The one receipt in a call's trailing metadata, where it can be read."""
    found = [value for key, value in call.trailing_metadata() or () if key == RECEIPT_KEY]
    try:
        (content,) = found
        return Receipt.decode(content) if isinstance(content, bytes) else None
    except ValueError:
        return None


def _query(question: str, history: Sequence[tuple[str, str]], max_tokens: int) -> pb.Query:
    turns = [pb.Turn(question=asked, answer=answered) for asked, answered in history]
    return pb.Query(question=question, history=turns, max_tokens=max_tokens)


def _parts(header: pb.UploadHeader, content: bytes) -> Iterator[pb.UploadAnalyzeImageRequest]:
    yield pb.UploadAnalyzeImageRequest(header=header)
    for start in range(0, len(content), CHUNK_BYTES):
        yield pb.UploadAnalyzeImageRequest(chunk=content[start : start + CHUNK_BYTES])
