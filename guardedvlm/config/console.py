"""Settings of the console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.config.address import is_local, resolved_socket
from guardedvlm.config.part import Part, absolute
from guardedvlm.config.tls import Tls


class ConsoleLogin(Part):
    """Login at the identity provider (OpenID Connect, authorization code with PKCE)."""

    issuer: Annotated[str, Field(pattern=r"^https?://[^?#]+$")]
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret_file: Path | None = None  # none: a public client, which PKCE allows
    claim: Annotated[str, Field(min_length=1, max_length=256)] = "roles"  # dotted path in the ID token
    role: Annotated[str, Field(min_length=1, max_length=256)] = "reviewer"  # that must stand there
    ca: Path | None = None  # authority of the provider's certificate, where the system's do not know it

    @model_validator(mode="after")
    def _no_login_in_clear(self) -> ConsoleLogin:
        if not self.issuer.startswith("https://") and not is_local(self.issuer.partition("://")[2].partition("/")[0]):
            raise ValueError("an issuer on another machine must be https")
        return self


class ConsoleReview(Part):
    """The desk of blind review in the console: it shows redacted pictures, and writes the ledger's log `review`."""

    folder: Path  # of the samples: the service's `review.folder`
    keys: Path  # of the samples' keys: `review` in the service's folder `keys`
    signer: Annotated[str, Field(pattern=r"^unix:.+$")] | None = None  # `guardedvlm keys serve`: checkpoints of the log
    signer_user: Annotated[int, Field(ge=0)] | None = None  # number of the user it runs as; else this one
    checkpoints: Path | None = None  # a second place for them, on another volume; with signer

    @model_validator(mode="after")
    def _nothing_unsigned(self) -> ConsoleReview:
        if self.signer is None and (self.checkpoints is not None or self.signer_user is not None):
            raise ValueError("'checkpoints' and 'signer_user' need 'signer'")
        return self


class ConsoleSettings(Part):
    """Settings of `guardedvlm console`. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8450"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")] | None = None  # as reviewers reach it; none: listen
    tls: Tls | None = None
    login: ConsoleLogin | None = None  # none: the token that is printed at the start
    policies: tuple[Path, ...] = ()  # folders with the versions that may be shown and compared
    tenants: Path | None = None  # with audit_key: names instead of pseudonyms
    audit_key: Path | None = None
    keys: tuple[Path, ...] = ()  # public keys (keys export-public): signatures of checkpoints and receipts
    checkpoints: Path | None = None  # checkpoints that were kept elsewhere; with keys
    cache: Path | None = None  # folder of the index; none: below the user's cache folder
    review: ConsoleReview | None = None  # with audit_key; none: no pictures, and nothing of the ledger is written

    @model_validator(mode="after")
    def _no_pages_in_clear(self) -> ConsoleSettings:
        if not is_local(self.listen) and (self.tls is None or self.login is None):
            raise ValueError("beyond this machine the console needs 'tls' and 'login'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the console knows people by 'login', not by certificates of 'tls.client_ca'")
        if self.checkpoints is not None and not self.keys:
            raise ValueError("'checkpoints' needs 'keys': anybody can write one that nobody signed")
        if self.review is not None and self.audit_key is None:
            raise ValueError("'review' needs 'audit_key': the ledger names reviewers by keyed pseudonyms")
        if (self.tenants is None and self.review is None) != (self.audit_key is None):
            raise ValueError("'tenants' and 'audit_key' belong together: pseudonyms are keyed")
        return self

    def resolved(self, folder: Path) -> ConsoleSettings:
        """These settings with every relative path made absolute from `folder`."""
        values = absolute(self.model_dump(), folder)
        if values["review"] is not None:
            values["review"]["signer"] = resolved_socket(values["review"]["signer"], folder)
        return ConsoleSettings.model_validate(values)
