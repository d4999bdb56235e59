"""Login by the identity provider: OpenID Connect, authorization code with PKCE (S256), state and nonce, by Authlib.

The provider's answer arrives by a redirect from another site, with which a browser sends no SameSite=Strict cookie. So
the callback only shows a page that leads on at once, and `finish`, reached from our own page, has the cookie again: the
attempt belongs to the browser that began it.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from guardedvlm.errors import GuardedVLMError, NotIdentified, NotPermitted, Reason, Unavailable

ATTEMPT_SECONDS = 600.0
MAX_ATTEMPTS = 1_000
PROVIDER_SECONDS = 10.0
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Asymmetric signatures only: whoever can read a shared secret could make the others."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The identity provider. `claim` is a dotted path in the ID token (`realm_access.roles`); who logs in needs
    `role` there, as a member of a list or as a word of a text."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    redirect_uri: str
    claim: str = "roles"
    role: str = "reviewer"
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in: the name that they see, and what tells them from everybody else (issuer and subject)."""

    name: str
    identity: str = field(repr=False)


class Login:
    """Attempts to log in, each bound to the browser that began it by `attempt`, a cookie's value."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._attempts: dict[str, tuple[float, dict[str, Any]]] = {}
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=provider.ca) if provider.ca else True
        self._client = OAuth().register(
            "provider",
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            server_metadata_url=f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if provider.client_secret else "none",
                "timeout": PROVIDER_SECONDS,
                "verify": verify,
                "trust_env": False,
            },
        )

    async def begin(self, request: Request) -> tuple[str, Response]:
        """A new attempt and the redirect to the provider. Raises Unavailable when it does not answer."""
        await self._check_provider()
        self._drop_old()
        attempt = secrets.token_urlsafe(32)
        kept: dict[str, Any] = {}
        request.scope["session"] = kept
        self._attempts[attempt] = (time.monotonic(), kept)
        response: Response = await self._client.authorize_redirect(request, self._provider.redirect_uri)
        return attempt, response

    async def finish(self, request: Request, attempt: str | None) -> Person:
        """The reviewer whom the provider vouches for.

        Raises NotIdentified for an answer that does not belong to the attempt or does not verify, NotPermitted for
        somebody without the role, Unavailable when the provider does not answer.
        """
        began, kept = self._attempts.pop(attempt or "", (0.0, None))
        if kept is None or time.monotonic() - began > ATTEMPT_SECONDS:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        request.scope["session"] = kept
        await self._check_provider()
        try:
            token = await self._client.authorize_access_token(request, claims_options=self._required())
        except (OAuthError, JoseError, ValueError, KeyError):
            raise NotIdentified(Reason.UNAUTHENTICATED) from None
        except Exception as failure:
            raise _unanswered(failure) from None
        # Without an ID token this key is whatever the provider's answer had there.
        claims = token.get("userinfo") if "id_token" in token else None
        if not isinstance(claims, Mapping) or not claims.get("sub"):
            raise NotIdentified(Reason.UNAUTHENTICATED)
        if not has_role(claims, self._provider.claim, self._provider.role):
            raise NotPermitted(Reason.ROLE_MISSING)
        name = next(str(claims[name]) for name in ("preferred_username", "name", "sub") if claims.get(name))
        return Person(name, f"{self._provider.issuer} {claims['sub']}")  # a name can be given to somebody else later

    def _required(self) -> dict[str, Any]:
        """What an ID token must say: whose it is, and that it is for this console (OpenID Connect Core, 3.1.3.7)."""
        return {
            "iss": {"essential": True, "values": [self._provider.issuer]},
            "aud": {"essential": True, "values": [self._provider.client_id]},
        }

    async def _check_provider(self) -> None:
        """The metadata must be of the issuer that the settings name, and no weak signature is taken."""
        try:
            metadata = await self._client.load_server_metadata()
        except Exception as failure:
            raise _unanswered(failure) from None
        if metadata.get("issuer") != self._provider.issuer:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in SIGNATURES]

    def _drop_old(self) -> None:
        now = time.monotonic()
        for key in [key for key, (began, _) in self._attempts.items() if now - began > ATTEMPT_SECONDS]:
            del self._attempts[key]
        while len(self._attempts) >= MAX_ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]


def _unanswered(_: Exception) -> GuardedVLMError:
    """Whatever the HTTP library calls it; its text may hold what the provider sent."""
    return Unavailable(Reason.SERVICE_UNAVAILABLE)


def has_role(claims: Mapping[str, Any], claim: str, role: str) -> bool:
    """Whether `role` stands in the claims at the dotted path `claim`. A claim's whole name may hold dots, too."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list | tuple) else ()
    return role in words
