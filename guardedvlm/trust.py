"""What a service shows, whom it believes, and how both change while it runs: TLS, tenants file, provider's keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc

from guardedvlm.backends.remote import RemoteBackend
from guardedvlm.config import ClientTls, Jwt, Settings, Tls
from guardedvlm.core.ports import Backend
from guardedvlm.core.tenant import Caller
from guardedvlm.policy.store import PolicyStore
from guardedvlm.transport.identity import Identities, Provider
from guardedvlm.transport.jwks import Keys
from guardedvlm.transport.jwt import JwtRules
from guardedvlm.transport.reload import Part, Reloads, Watched
from guardedvlm.transport.tls import ServerCertificate, channel_credentials

TOKENS_KEY = "tokens.key"


class Trust:
    """Of one guard: who may call, the listeners' certificate, and what is watched. Made by `load`."""

    def __init__(self, settings: Settings, policies: PolicyStore, provider: Provider | None) -> None:
        self._settings, self._policies, self._provider = settings, policies, provider
        self._certificate = server_certificate(settings.tls)
        self._reloads = Reloads(())
        self.identities = self._identities()
        """Who may call, at the start."""

    @classmethod
    async def load(cls, settings: Settings, policies: PolicyStore) -> Trust:
        """Read everything. Raises ConfigurationError."""
        provider = await _provider(settings.jwt)
        return await asyncio.to_thread(cls, settings, policies, provider)

    def listeners(self) -> dict[str, grpc.ServerCredentials | None]:
        """Addresses, each with what it shows."""
        found: dict[str, grpc.ServerCredentials | None] = {}
        if self._settings.token_listen:
            token = self._certificate.credentials(mutual=False) if self._certificate else None
            found[self._settings.token_listen] = token
        found[self._settings.listen] = self._certificate.credentials() if self._certificate else None
        return found

    def watch(self, take: Callable[[Identities], None], backend: Backend) -> None:
        """From now on `look` gives `take` what a changed tenants file says, and `backend` a changed certificate."""
        files = (self._settings.tenants, self._key_file)
        watched = [Watched(Part.TENANTS, files, self._identities, take)]
        watched += [watched_certificate(self._certificate)] if self._certificate else []
        watched += _watched_inference(self._settings.inference_tls, backend)
        self._reloads = Reloads(watched)

    @property
    def _key_file(self) -> Path:
        return self._settings.keys / TOKENS_KEY

    def _identities(self) -> Identities:
        return Identities.load(self._settings.tenants, self._key_file, self._policies.names, self._provider)

    async def look(self) -> None:
        """Take over what has changed. Raises nothing that files or the provider can cause."""
        await self._reloads.look()
        if self._provider is not None:
            self._provider.keys.look()

    async def close(self) -> None:
        """End what is under way."""
        if self._provider is not None:
            await self._provider.keys.close()

    def broken(self) -> Mapping[str, int]:
        """1 for each part of which something newer cannot be used, else 0."""
        keys = {} if self._provider is None else {Part.JWKS.value: int(self._provider.keys.failing)}
        return {**self._reloads.broken(), **keys}


async def identified(settings: Settings, bearer: str) -> Caller:
    """Whose token it is, for a command beside the service. Raises NotIdentified and ConfigurationError."""
    provider = await _provider(settings.jwt)
    return Identities.read(settings.tenants, settings.keys / TOKENS_KEY, provider).caller((), bearer)


def server_certificate(tls: Tls | None) -> ServerCertificate | None:
    """The certificate that the settings name, if any. Raises ConfigurationError."""
    return ServerCertificate(tls.certificate, tls.key, tls.client_ca) if tls else None


def watched_certificate(certificate: ServerCertificate) -> Watched:
    """The files of a server's certificate."""
    return Watched(Part.SERVER_TLS, certificate.files, certificate.load, certificate.take)


def client_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """What the guard shows an inference service. Raises ConfigurationError."""
    return channel_credentials(tls.ca, tls.certificate, tls.key)


def _watched_inference(tls: ClientTls | None, backend: Backend) -> list[Watched]:
    if tls is None or not isinstance(backend, RemoteBackend):
        return []
    files = (tls.ca, tls.certificate, tls.key)
    return [Watched(Part.INFERENCE_TLS, files, lambda: client_credentials(tls), backend.renew)]


async def _provider(jwt: Jwt | None) -> Provider | None:
    if jwt is None:
        return None
    algorithms = tuple(algorithm.value for algorithm in jwt.algorithms)
    keys = Keys(jwt.jwks, algorithms, ca=jwt.ca, refresh_seconds=jwt.refresh_seconds, stale_seconds=jwt.stale_seconds)
    await keys.start()
    rules = JwtRules(
        jwt.issuer,
        jwt.audience,
        algorithms,
        client=jwt.claims.client,
        tenant=jwt.claims.tenant,
        roles=jwt.claims.roles,
        skew_seconds=jwt.skew_seconds,
        max_lifetime_seconds=jwt.max_lifetime_seconds,
    )
    return Provider(rules, keys)
