"""Who calls: from a client certificate or a bearer token to a Caller, by the tenants file.

    tenants:
      clinic: {policy: healthcare, reidentify_key: "x25519:<base64>"}
    callers:
      - name: radiology-gateway
        tenant: clinic
        roles: [caller, reidentify]
        san: ["spiffe://hospital.example/radiology-gateway"]
        token_hmac: "hmac-sha256:<64 hex digits>"
        jwt: {client: "0oa1b2c3"}

The file holds no secret: a token stands in it as HMAC-SHA256 under a key of the server's, which lies elsewhere, so
whoever reads the file can neither call nor test guesses; a `reidentify_key` is a public one, whose private half lies
with whoever may know the people. No field of a request names a tenant; this is the only source.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guardedvlm.core.quota import TenantLimits
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import NotIdentified, Reason
from guardedvlm.policy.document import Document, examine, read_text, require
from guardedvlm.transport.jwks import Keys
from guardedvlm.transport.jwt import MAX_CHARS, JwtRules, key_id, looks_like_jwt, verified
from guardedvlm.transport.reidentification import SealingKey
from guardedvlm.transport.secret_file import KEY_BYTES, read_key
from guardedvlm.transport.tenants_file import CallerEntry, TenantEntry, TenantsFile

FILE_NAME = "tenants.yaml"
TOKEN_PREFIX = "gvlm_"  # noqa: S105  (what secret scanners look for, not a secret)
"""Start of every token, so that scanners find one that was checked in."""
TOKEN_BYTES = 32
"""Random bytes of a token: 256 bits need no slow hash."""
MAX_TOKEN_CHARS = 512

_SCHEME = "hmac-sha256:"
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)  # RFC 6750, section 2.1


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider: what is demanded of its tokens, and its keys."""

    rules: JwtRules
    keys: Keys


class Identities:
    """The callers and tenants of one tenants file. Immutable; a new file makes a new object."""

    def __init__(self, document: Document[TenantsFile], key: bytes, provider: Provider | None = None) -> None:
        """Take a valid document; `load` and `parse` make one."""
        self._document = document
        self._key = key
        self._provider = provider
        self._by_san: dict[str, Caller] = {}
        self._by_token: list[tuple[str, Caller]] = []
        self._by_client: dict[str, tuple[str | None, Caller]] = {}
        for index, entry in enumerate(document.value.callers):
            caller = Caller(entry.tenant, entry.name, entry.roles)
            self._check_jwt(index, entry)
            if entry.jwt is not None:
                self._by_client[entry.jwt.client] = (entry.jwt.tenant, caller)
            self._by_san |= dict.fromkeys(entry.san, caller)
            if entry.token_hmac is not None:
                self._by_token.append((entry.token_hmac, caller))

    @classmethod
    def load(
        cls, path: Path, key_file: Path, policies: Collection[str], provider: Provider | None = None
    ) -> Identities:
        """The identities of the tenants file `path`, whose HMAC key lies in `key_file` (`secret_file.write_key`).

        `policies` are the names of the policies that exist. Raises ConfigurationError as `parse` and `require_policies`
        do, and SETTINGS_INVALID for a key file that is absent, too short or open to others.
        """
        found = cls.read(path, key_file, provider)
        found.require_policies(policies)
        return found

    @classmethod
    def read(cls, path: Path, key_file: Path, provider: Provider | None = None) -> Identities:
        """As `load`, for who needs no policies."""
        key = read_key(key_file)
        return cls.parse(read_text(path, path.name, Reason.SETTINGS_INVALID), key, path.name, provider)

    @classmethod
    def parse(cls, text: str, key: bytes, name: str = FILE_NAME, provider: Provider | None = None) -> Identities:
        """The identities that `text` describes; `name` stands for the file in errors.

        Raises ConfigurationError with line and reason: TENANT_UNKNOWN for a caller of no tenant, else SETTINGS_INVALID.
        """
        return cls(require(examine(text, name, TenantsFile, Reason.SETTINGS_INVALID)), key, provider)

    async def prepare(self, bearer: str | None) -> None:
        """Before `caller`: have the provider's keys looked up anew where its token names one that is not here. Raises
        NotIdentified for what is no token."""
        if bearer is not None and self._provider is not None and looks_like_jwt(bearer):
            await self._provider.keys.prepare(key_id(bearer))

    def caller(self, peer_sans: Sequence[str], bearer: str | None) -> Caller:
        """Who calls, by the names of the verified client certificate (`tls.peer_sans`) and the bearer token.

        One of the two is enough. Names in a certificate that no caller has are ignored: a mesh gives every workload
        one. A token that nobody has is refused, even beside a certificate that is known, and so are credentials that
        stand for different callers; of two that stand for one, the roles that both give count.

        Raises NotIdentified(UNAUTHENTICATED), which does not say why, and Unavailable(IDENTITY_UNAVAILABLE) for a
        provider's token while its keys are not to be had.
        """
        found = {self._by_san[san] for san in peer_sans if san in self._by_san}
        if bearer is not None:
            found.add(self._bearer(bearer))
        if len({(caller.tenant, caller.name) for caller in found}) != 1:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        first, *others = found
        return replace(first, roles=first.roles.intersection(*(other.roles for other in others)))

    def limits(self, tenant: str) -> TenantLimits:
        """What the tenant may ask of the service. Raises NotIdentified(TENANT_UNKNOWN)."""
        return self._tenant(tenant).limits.over(self._document.value.limits.over(TenantLimits()))

    def policy_name(self, tenant: str) -> str:
        """The name of the tenant's policy. Raises NotIdentified(TENANT_UNKNOWN)."""
        return self._tenant(tenant).policy

    def sealing_key(self, tenant: str) -> SealingKey | None:
        """The key for which the tenant's maps from labels back are sealed; None where it names none.

        Raises NotIdentified(TENANT_UNKNOWN).
        """
        key = self._tenant(tenant).reidentify_key
        return SealingKey.parse(key) if key else None

    @property
    def tenants(self) -> frozenset[str]:
        """Names of all tenants."""
        return frozenset(self._document.value.tenants)

    def require_policies(self, names: Collection[str]) -> None:
        """Check that each tenant's policy is one of `names`. Raises ConfigurationError(POLICY_MISSING)."""
        for tenant, entry in self._document.value.tenants.items():
            if entry.policy not in names:
                explanation = f"there is no policy {entry.policy!r}"
                raise self._document.error(("tenants", tenant, "policy"), explanation, Reason.POLICY_MISSING)

    def _tenant(self, name: str) -> TenantEntry:
        entry = self._document.value.tenants.get(name)
        if entry is None:
            raise NotIdentified(Reason.TENANT_UNKNOWN)
        return entry

    def _check_jwt(self, index: int, entry: CallerEntry) -> None:
        """Raise ConfigurationError for a caller whom no token could name."""
        if entry.jwt is None:
            return
        where = ("callers", index, "jwt")
        if self._provider is None:
            raise self._document.error(where, "'jwt' of a caller needs 'jwt' in the settings")
        if (entry.jwt.tenant is None) != (self._provider.rules.tenant is None):
            explanation = "'tenant' stands here exactly where the settings name a claim for it (jwt.claims.tenant)"
            raise self._document.error(where, explanation)

    def _bearer(self, token: str) -> Caller:
        if self._provider is not None and looks_like_jwt(token):
            return self._vouched(token, self._provider)
        if not 0 < len(token) <= MAX_TOKEN_CHARS:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        presented = token_hmac(self._key, token)
        # Every entry is compared, in constant time: how long a refusal takes tells nothing about the tokens.
        matches = [caller for known, caller in self._by_token if hmac.compare_digest(known, presented)]
        if not matches:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        return matches[0]

    def _vouched(self, token: str, provider: Provider) -> Caller:
        """The caller whom a provider's token names. Its roles are the file's, or those of them that the token holds."""
        said = verified(token, provider.rules, provider.keys.current())
        tenant, caller = self._by_client.get(said.client, (None, None))
        if caller is None or tenant != said.tenant:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        if said.roles is None:
            return caller
        known = self._document.value.jwt_roles
        return replace(caller, roles=caller.roles & {known[word] for word in said.roles if word in known})


def tenant_names(path: Path) -> frozenset[str]:
    """Names of the tenants in the tenants file `path`, for who needs no credentials. Raises ConfigurationError as
    `Identities.parse`."""
    text = read_text(path, path.name, Reason.SETTINGS_INVALID)
    return frozenset(require(examine(text, path.name, TenantsFile, Reason.SETTINGS_INVALID)).value.tenants)


def bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """The bearer token in a call's metadata; None when there is no `authorization` at all.

    Raises NotIdentified(UNAUTHENTICATED) for another scheme, a malformed token or more than one header.
    """
    values = [value for key, value in metadata if key.lower() == "authorization"]
    if not values:
        return None
    found = _BEARER.match(values[0]) if len(values) == 1 and isinstance(values[0], str) else None
    most = MAX_CHARS if found is not None and looks_like_jwt(found[1]) else MAX_TOKEN_CHARS
    if found is None or len(found[1]) > most:
        raise NotIdentified(Reason.UNAUTHENTICATED)
    return found[1]


def new_token(key: bytes) -> tuple[str, str]:
    """A new random token, and the value of `token_hmac` that lets it in under the server's `key`."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, token_hmac(key, token)


def token_hmac(key: bytes, token: str) -> str:
    """What stands in the tenants file for `token`: "hmac-sha256:" and 64 hex digits."""
    if len(key) < KEY_BYTES:
        raise ValueError("the HMAC key is too short")  # an empty key would be a public one
    message = b"guardedvlm.v1.token\0" + token.encode("utf-8", "surrogatepass")
    return _SCHEME + hmac.new(key, message, "sha256").hexdigest()
