"""Bearer tokens of an identity provider."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.config.address import is_local
from guardedvlm.config.part import Part


class SignatureAlgorithm(StrEnum):
    """Signatures that a token may carry: asymmetric ones. No `none`, and no HMAC, whose key would be everybody's."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    ED25519 = "Ed25519"
    EDDSA = "EdDSA"


ClaimPath = Annotated[str, Field(min_length=1, max_length=256)]


class JwtClaims(Part):
    """Where a token says who calls: dotted paths. `client` is looked up in the tenants file (`jwt.client`); with
    `tenant` every caller there needs a `jwt.tenant` that agrees; with `roles` a caller has those of its roles that the
    token holds, too, by the file's `jwt_roles`."""

    client: ClaimPath = "sub"
    tenant: ClaimPath | None = None
    roles: ClaimPath | None = None


class Jwt(Part):
    """Bearer tokens of an identity provider, beside those of the tenants file."""

    issuer: Annotated[str, Field(min_length=1, max_length=1024)]  # `iss`, letter for letter
    audience: Annotated[str, Field(min_length=1, max_length=1024)]  # that `aud` must hold
    jwks: Annotated[str, Field(min_length=1, max_length=2048)]  # file, or https:// (http:// on this machine alone)
    ca: Path | None = None  # authority of the provider's certificate; none: those of the system
    algorithms: Annotated[tuple[SignatureAlgorithm, ...], Field(min_length=1)] = (
        SignatureAlgorithm.RS256,
        SignatureAlgorithm.ES256,
    )
    claims: JwtClaims = JwtClaims()
    skew_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0  # by which clocks may differ
    max_lifetime_seconds: Annotated[float, Field(ge=60, le=86_400)] = 3_600.0  # from `iat` to `exp`
    refresh_seconds: Annotated[float, Field(ge=10, le=86_400)] = 300.0  # between two looks at the JWKS address
    stale_seconds: Annotated[float, Field(ge=60, le=604_800)] = 3_600.0  # that keys are believed without a good look

    @model_validator(mode="after")
    def _no_keys_in_clear(self) -> Jwt:
        scheme, separator, rest = self.jwks.partition("://")
        if separator and scheme != "https" and not (scheme == "http" and is_local(rest.partition("/")[0])):
            raise ValueError("'jwks' must be a file or https://")
        if self.ca is not None and scheme != "https":
            raise ValueError("'ca' belongs to 'jwks' at https://")
        if self.stale_seconds <= self.refresh_seconds:
            raise ValueError("'stale_seconds' must be more than 'refresh_seconds'")
        return self
