"""GuardService under the identity of a person, which lies in this process's memory while their session lasts."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from pydantic import ValidationError

from guardedvlm.errors import Internal, InvalidInput, NotIdentified, Overloaded, Reason
from guardedvlm.playground.ports import Asked, Event, Offer
from guardedvlm.policy.model import Policy
from guardedvlm.transport.listen import CHANNEL_OPTIONS, RECEIVE_LIMIT
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.transport.tls import channel_credentials_in_memory
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,512}=*\Z")
"""RFC 6750, section 2.1; at most what the service takes."""
MAX_RECEIVE = 512 * 2**20
"""A redacted document comes back as one file."""
POLICY_SECONDS = 15.0
TRIAL_SECONDS = 3_600.0
"""Longer than any policy lets a request run: the service's own limit ends it."""
MOST_IDENTITIES = 8
"""Of one session."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where GuardService answers bearer tokens, and callers with a certificate; `ca` signed its certificate. Without
    `ca` the connection is in clear, which the service accepts on this machine only."""

    server: str
    certificates: str
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A bearer token, or a client certificate and its key (PEM)."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    def channel(self, target: Target) -> grpc.aio.Channel:
        """A new connection. Raises NotIdentified for a credential that cannot be one."""
        options = tuple({**dict(CHANNEL_OPTIONS), "grpc.max_receive_message_length": MAX_RECEIVE}.items())
        if not self.certificate:
            if not TOKEN.match(self.token):
                raise NotIdentified(Reason.UNAUTHENTICATED)
            if target.ca is None:
                return grpc.aio.insecure_channel(target.server, options=options)
            return grpc.aio.secure_channel(target.server, channel_credentials_in_memory(target.ca), options=options)
        if target.ca is None:  # nobody would see the certificate
            raise NotIdentified(Reason.UNAUTHENTICATED)
        credentials = channel_credentials_in_memory(target.ca, self.certificate, self.key)
        return grpc.aio.secure_channel(target.certificates, credentials, options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


class RemoteGuard:
    """The policies of one or more identities; each is its tenant's, and a trial runs under the one it names."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._identities: list[Identity] = []

    async def add(self, identity: Identity) -> Policy:
        """Take an identity that the service knows; one more than before. Raises GuardedVLMError."""
        if len(self._identities) >= MOST_IDENTITIES:
            raise Overloaded(Reason.QUOTA_EXCEEDED)
        policy = await self._policy(identity)
        if identity not in self._identities:
            self._identities.append(identity)
        return policy

    async def offers(self) -> Sequence[Offer]:
        """The policy in force of every identity. Raises GuardedVLMError."""
        return [Offer(str(index), await self._policy(identity)) for index, identity in enumerate(self._identities)]

    async def events(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Send the document, give what comes back. Raises GuardedVLMError."""
        identity = self._identity(asked.offer)
        policy = await self._policy(identity)
        document = pb.Document(content=asked.content)
        request: pb.StreamAnalyzeImageRequest | pb.StreamRedactImageRequest
        if asked.question:
            request = pb.StreamAnalyzeImageRequest(
                document=document,
                query=pb.Query(question=asked.question),
                include_redacted_image=policy.say.redacted_image,
                include_progress=True,
            )
        else:
            request = pb.StreamRedactImageRequest(document=document)
        if request.ByteSize() > RECEIVE_LIMIT:
            raise Overloaded(Reason.MESSAGE_TOO_LARGE, limit_bytes=RECEIVE_LIMIT)
        async with identity.channel(self._target) as channel, aclosing(_messages(channel, identity, request)) as found:
            async for event in found:
                yield event

    def _identity(self, offer: str) -> Identity:
        if not offer.isascii() or not offer.isdigit() or int(offer) >= len(self._identities):
            raise InvalidInput(Reason.FIELD_INVALID, field="policy")
        return self._identities[int(offer)]

    async def _policy(self, identity: Identity) -> Policy:
        async with identity.channel(self._target) as channel:
            stub = GuardServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            try:
                found = await stub.GetPolicy(
                    pb.GetPolicyRequest(), metadata=identity.metadata(), timeout=POLICY_SECONDS
                )
                return Policy.model_validate_json(found.policy_json)
            except grpc.aio.AioRpcError as error:
                raise error_from_rpc(error) from None
            except ValidationError:  # a service of another release
                raise Internal(Reason.INTERNAL) from None


async def _messages(
    channel: grpc.aio.Channel, identity: Identity, request: pb.StreamAnalyzeImageRequest | pb.StreamRedactImageRequest
) -> AsyncGenerator[Event, None]:
    stub = GuardServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    method = stub.StreamAnalyzeImage if isinstance(request, pb.StreamAnalyzeImageRequest) else stub.StreamRedactImage
    call = method(request, metadata=identity.metadata(), timeout=TRIAL_SECONDS)
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None
    finally:
        call.cancel()  # the person left, or pressed stop
