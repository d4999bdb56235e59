"""Who calls: the tenants file, and from a client certificate or a bearer token to a Caller.

    tenants:
      clinic: {policy: healthcare, reidentify_key: "x25519:<base64>"}
    callers:
      - name: radiology-gateway
        tenant: clinic
        roles: [caller, reidentify]
        san: ["spiffe://hospital.example/radiology-gateway"]
        token_hmac: "hmac-sha256:<64 hex digits>"

The file holds no secret: a token stands in it as HMAC-SHA256 under a key of the server's, which lies elsewhere, so
whoever reads the file can neither call nor test guesses; a `reidentify_key` is a public one, whose private half lies
with whoever may know the people. No field of a request names a tenant; this is the only source.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import NotIdentified, Reason
from guardedvlm.policy.document import Contradiction, Contradictions, Document, examine, read_text, require
from guardedvlm.policy.yaml_tree import Where
from guardedvlm.transport.reidentification import SealingKey
from guardedvlm.transport.secret_file import KEY_BYTES, read_key

FILE_NAME = "tenants.yaml"
TOKEN_PREFIX = "gvlm_"  # noqa: S105  (what secret scanners look for, not a secret)
"""Start of every token, so that scanners find one that was checked in."""
TOKEN_BYTES = 32
"""Random bytes of a token: 256 bits need no slow hash."""
MAX_TOKEN_CHARS = 512

_SCHEME = "hmac-sha256:"
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)  # RFC 6750, section 2.1
_SAN = re.compile(r"(spiffe://[!-~]+|uri:[!-~]+|dns:[a-z0-9.-]+|email:[!-~]+@[!-~]+)\Z")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


def _checked_san(san: str) -> str:
    if not _SAN.match(san):
        explanation = "a SAN must be spiffe://..., uri:..., dns:<host in lower case, no wildcard> or email:..."
        raise Contradictions([Contradiction((), explanation)])
    return san


def _checked_key(key: str) -> str:
    try:
        SealingKey.parse(key)
    except ValueError:
        explanation = "reidentify_key must be the line that `guardedvlm keys reidentify-init` prints"
        raise Contradictions([Contradiction((), explanation)]) from None
    return key


class _Part(BaseModel):
    """Closed and frozen; its errors never show values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Tenant(_Part):
    policy: Name
    reidentify_key: Annotated[str, AfterValidator(_checked_key)] | None = None


class _Caller(_Part):
    name: Name
    tenant: Name
    roles: Annotated[frozenset[Role], Field(min_length=1)]
    token_hmac: Annotated[str | None, Field(pattern=r"^hmac-sha256:[0-9a-f]{64}$", repr=False)] = None
    san: tuple[Annotated[str, AfterValidator(_checked_san)], ...] = ()


class TenantsFile(_Part):
    """The whole file."""

    tenants: Annotated[dict[Name, _Tenant], Field(min_length=1)]
    callers: Annotated[tuple[_Caller, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _holds_together(self) -> TenantsFile:
        """Refuse a caller without tenant or credential, and a name or credential that stands for two callers."""
        found = [*self._unusable(), *self._shared()]
        if found:
            raise Contradictions(found)
        return self

    def _unusable(self) -> Iterator[Contradiction]:
        for index, caller in enumerate(self.callers):
            where: Where = ("callers", index)
            if caller.tenant not in self.tenants:
                explanation = f"tenant {caller.tenant!r} is not under 'tenants'"
                yield Contradiction((*where, "tenant"), explanation, Reason.TENANT_UNKNOWN)
            if caller.token_hmac is None and not caller.san:
                yield Contradiction(where, "a caller needs 'token_hmac', 'san' or both")
            yield from self._idle_role(where, caller)

    def _idle_role(self, where: Where, caller: _Caller) -> Iterator[Contradiction]:
        """The role to have labels undone, where it could not be used."""
        if Role.REIDENTIFY not in caller.roles:
            return
        if Role.CALLER not in caller.roles:
            yield Contradiction((*where, "roles"), "the role reidentify needs the role caller beside it")
        tenant = self.tenants.get(caller.tenant)
        if tenant is not None and tenant.reidentify_key is None:
            explanation = f"the role reidentify needs 'reidentify_key' under tenants.{caller.tenant}"
            yield Contradiction((*where, "roles"), explanation)

    def _shared(self) -> Iterator[Contradiction]:
        owners: dict[tuple[str, str], str] = {}
        for index, caller in enumerate(self.callers):
            marks: list[tuple[Where, str, str]] = [(("name",), "name", caller.name)]
            marks += [(("san", position), "SAN", san) for position, san in enumerate(caller.san)]
            marks += [(("token_hmac",), "token", caller.token_hmac)] if caller.token_hmac else []
            for where, what, mark in marks:
                owner = owners.setdefault((what, mark), f"callers[{index}]")
                if owner != f"callers[{index}]":
                    yield Contradiction(("callers", index, *where), f"this {what} belongs to {owner}, too")


class Identities:
    """The callers and tenants of one tenants file. Immutable; a new file makes a new object."""

    def __init__(self, document: Document[TenantsFile], key: bytes) -> None:
        """Take a valid document; `load` and `parse` make one."""
        self._document = document
        self._key = key
        self._by_san: dict[str, Caller] = {}
        self._by_token: list[tuple[str, Caller]] = []
        for entry in document.value.callers:
            caller = Caller(entry.tenant, entry.name, entry.roles)
            self._by_san |= dict.fromkeys(entry.san, caller)
            if entry.token_hmac is not None:
                self._by_token.append((entry.token_hmac, caller))

    @classmethod
    def load(cls, path: Path, key_file: Path, policies: Collection[str]) -> Identities:
        """The identities of the tenants file `path`, whose HMAC key lies in `key_file` (`secret_file.write_key`).

        `policies` are the names of the policies that exist. Raises ConfigurationError as `parse` and `require_policies`
        do, and SETTINGS_INVALID for a key file that is absent, too short or open to others.
        """
        key = read_key(key_file)
        found = cls.parse(read_text(path, path.name, Reason.SETTINGS_INVALID), key, path.name)
        found.require_policies(policies)
        return found

    @classmethod
    def parse(cls, text: str, key: bytes, name: str = FILE_NAME) -> Identities:
        """The identities that `text` describes; `name` stands for the file in errors.

        Raises ConfigurationError with line and reason: TENANT_UNKNOWN for a caller of no tenant, else SETTINGS_INVALID.
        """
        return cls(require(examine(text, name, TenantsFile, Reason.SETTINGS_INVALID)), key)

    def caller(self, peer_sans: Sequence[str], bearer: str | None) -> Caller:
        """Who calls, by the names of the verified client certificate (`tls.peer_sans`) and the bearer token.

        One of the two is enough. Names in a certificate that no caller has are ignored: a mesh gives every workload
        one. A token that nobody has is refused, even beside a certificate that is known, and so are credentials that
        stand for different callers. Raises NotIdentified(UNAUTHENTICATED), which does not say why.
        """
        found = {self._by_san[san] for san in peer_sans if san in self._by_san}
        if bearer is not None:
            found.add(self._bearer(bearer))
        if len(found) != 1:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        return found.pop()

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

    def _tenant(self, name: str) -> _Tenant:
        entry = self._document.value.tenants.get(name)
        if entry is None:
            raise NotIdentified(Reason.TENANT_UNKNOWN)
        return entry

    def _bearer(self, token: str) -> Caller:
        if not 0 < len(token) <= MAX_TOKEN_CHARS:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        presented = token_hmac(self._key, token)
        # Every entry is compared, in constant time: how long a refusal takes tells nothing about the tokens.
        matches = [caller for known, caller in self._by_token if hmac.compare_digest(known, presented)]
        if not matches:
            raise NotIdentified(Reason.UNAUTHENTICATED)
        return matches[0]


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
    if found is None or len(found[1]) > MAX_TOKEN_CHARS:
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
