"""Bearer tokens of an identity provider (JWT, RFC 7519): verified here, and mapped to callers by the tenants file.

What is demanded of a token, in this order: one of the allowed asymmetric algorithms; a key of the provider's that its
`kid` names and that is for this algorithm; the signature; issuer and audience; `exp`, `nbf` and `iat` with a bounded
skew; a life that is not too long; the claim that names the client. Addresses and keys that a token carries (`jku`,
`x5u`, `jwk`) are not looked at. A refusal does not say which of these it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jws import JWSRegistry, extract_compact

from guardedvlm.errors import NotIdentified, Reason

MAX_CHARS = 8 * 1024
"""Of a token: half of what gRPC takes as metadata. Tokens with a claim for each group of a person are larger; ask the
provider for those of this service alone."""
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Of access tokens (RFC 9068) and of tokens that say no more; an ID token's is `JWT`, too, and has another audience."""
_PARTS = 3


@dataclass(frozen=True, slots=True)
class JwtRules:
    """What is demanded of a token. `client`, `tenant` and `roles` are dotted paths of claims."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    client: str = "sub"
    tenant: str | None = None
    roles: str | None = None
    skew_seconds: float = 30.0
    max_lifetime_seconds: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the provider says of who calls."""

    client: str
    tenant: str | None
    roles: frozenset[str] | None


def looks_like_jwt(token: str) -> bool:
    """Whether `token` has the form of a JWT; the tokens of the tenants file do not."""
    return token.count(".") == _PARTS - 1


def key_id(token: str) -> str | None:
    """The `kid` that a token claims, None where it has none. Raises NotIdentified for what is no JWT."""
    try:
        found = extract_compact(token.encode("ascii")).headers().get("kid")
    except (JoseError, ValueError, TypeError, RecursionError):
        raise NotIdentified(Reason.UNAUTHENTICATED) from None
    return found if isinstance(found, str) else None


def verified(token: str, rules: JwtRules, keys: KeySet, clock: Callable[[], float] = time.time) -> Vouched:
    """What `token` says, once all that is demanded holds. Raises NotIdentified, which does not say why."""
    if not 0 < len(token) <= MAX_CHARS:
        raise NotIdentified(Reason.UNAUTHENTICATED)
    registry = JWSRegistry(algorithms=list(rules.algorithms), strict_check_header=False)
    key = _named(keys, key_id(token))
    try:
        found = jwt.decode(token.encode("ascii"), key, registry=registry)
        key.check_alg(found.header["alg"])  # a key that says what it is for is for nothing else
    except (JoseError, ValueError, TypeError, RecursionError):
        raise NotIdentified(Reason.UNAUTHENTICATED) from None
    if not (_is_of_type(found.header) and _is_for_us(found.claims, rules) and _is_timely(found.claims, rules, clock())):
        raise NotIdentified(Reason.UNAUTHENTICATED)
    return _vouched(found.claims, rules)


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at a dotted path, None where there is none. A claim's whole name may hold dots, too."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _named(keys: KeySet, name: str | None) -> Key:
    """The one key with this name. Without a name there may be one key only: nothing is tried until something fits."""
    named = [key for key in keys.keys if key.kid == name] if name is not None else list(keys.keys)
    if len(named) != 1:
        raise NotIdentified(Reason.UNAUTHENTICATED)
    return named[0]


def _is_of_type(header: Mapping[str, Any]) -> bool:
    kind = header.get("typ", "JWT")
    return isinstance(kind, str) and kind.lower() in TYPES


def _is_for_us(claims: Mapping[str, Any], rules: JwtRules) -> bool:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return claims.get("iss") == rules.issuer and rules.audience in audiences


def _is_timely(claims: Mapping[str, Any], rules: JwtRules, now: float) -> bool:
    """`exp` and `iat` must be there; a token that lives longer than it may is refused from its first second on."""
    begun, ends, starts = (_seconds(claims.get(name)) for name in ("iat", "exp", "nbf"))
    if begun is None or ends is None or ("nbf" in claims and starts is None):
        return False
    skew = rules.skew_seconds
    is_short = 0 < ends - begun <= rules.max_lifetime_seconds
    is_begun = begun <= now + skew and (starts is None or starts <= now + skew)
    return is_short and is_begun and now < ends + skew


def _seconds(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares as false with everything, and so would pass or fail by how a comparison is written.
    return float(value) if is_number and 0 <= value < 2**53 else None  # type: ignore[operator,arg-type]  # a number


def _vouched(claims: Mapping[str, Any], rules: JwtRules) -> Vouched:
    client = claim_at(claims, rules.client)
    tenant = claim_at(claims, rules.tenant) if rules.tenant is not None else None
    if not isinstance(client, str) or (rules.tenant is not None and not isinstance(tenant, str)):
        raise NotIdentified(Reason.UNAUTHENTICATED)
    roles = _words(claim_at(claims, rules.roles)) if rules.roles is not None else None
    return Vouched(client, tenant, roles)


def _words(found: object) -> frozenset[str]:
    """The members of a list, or the words of a text (`scope`)."""
    if isinstance(found, str):
        return frozenset(found.split())
    return frozenset(word for word in found if isinstance(word, str)) if isinstance(found, list) else frozenset()
