"""The tenants file: tenants with their policies and limits, and who may call for them. Closed: an unknown key, a
credential of two callers or a role that could not be used is refused with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from guardedvlm.core.quota import TenantLimits
from guardedvlm.core.tenant import Role
from guardedvlm.errors import Reason
from guardedvlm.policy.document import Contradiction, Contradictions
from guardedvlm.policy.yaml_tree import Where
from guardedvlm.transport.reidentification import SealingKey

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


Claim = Annotated[str, Field(pattern=r"^[!-~]{1,256}$")]
"""A claim's value, letter for letter: visible ASCII, so that no two look alike."""
Rate = Annotated[float, Field(gt=0, le=1_000_000_000)]


class LimitsEntry(_Part):
    """Limits that a site sets; what it leaves out is `core.quota.TenantLimits`'s."""

    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    requests_per_second: Rate | None = None
    megapixels_per_second: Rate | None = None
    output_tokens_per_minute: Rate | None = None
    queue: Annotated[int, Field(ge=0, le=100_000)] | None = None
    queue_mebibytes: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    weight: Annotated[int, Field(ge=1, le=1_000)] | None = None

    def over(self, limits: TenantLimits) -> TenantLimits:
        """`limits` with what this entry says."""
        return replace(limits, **{name: value for name, value in self if value is not None})


class TenantEntry(_Part):
    """A tenant."""

    policy: Name
    reidentify_key: Annotated[str, AfterValidator(_checked_key)] | None = None
    limits: LimitsEntry = LimitsEntry()


class JwtEntry(_Part):
    """Whom a token of the identity provider names: the values of its claims (settings: `jwt.claims`)."""

    client: Claim
    tenant: Claim | None = None


class CallerEntry(_Part):
    """Who may call. Without `roles` a caller asks, and does nothing else."""

    name: Name
    tenant: Name
    roles: Annotated[frozenset[Role], Field(min_length=1)] = frozenset({Role.CALLER})
    token_hmac: Annotated[str | None, Field(pattern=r"^hmac-sha256:[0-9a-f]{64}$", repr=False)] = None
    san: tuple[Annotated[str, AfterValidator(_checked_san)], ...] = ()
    jwt: JwtEntry | None = None


class TenantsFile(_Part):
    """The whole file."""

    limits: LimitsEntry = LimitsEntry()  # of every tenant that says nothing else
    jwt_roles: dict[Claim, Role] = {}  # frozen, and never changed
    tenants: Annotated[dict[Name, TenantEntry], Field(min_length=1)]
    callers: Annotated[tuple[CallerEntry, ...], Field(min_length=1)]

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
            if caller.token_hmac is None and not caller.san and caller.jwt is None:
                yield Contradiction(where, "a caller needs 'token_hmac', 'san' or 'jwt'")
            yield from self._idle_role(where, caller)

    def _idle_role(self, where: Where, caller: CallerEntry) -> Iterator[Contradiction]:
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
            marks += [(("jwt", "client"), "client", caller.jwt.client)] if caller.jwt else []
            for where, what, mark in marks:
                owner = owners.setdefault((what, mark), f"callers[{index}]")
                if owner != f"callers[{index}]":
                    yield Contradiction(("callers", index, *where), f"this {what} belongs to {owner}, too")
