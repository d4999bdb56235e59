"""Settings of the playground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.config.address import ADDRESS, is_local, resolved_socket
from guardedvlm.config.part import Part, absolute
from guardedvlm.config.tls import Tls


class PlaygroundSettings(Part):
    """Settings of `guardedvlm playground` beside a service. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8451"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")] | None = None  # as authors reach it; none: listen
    tls: Tls | None = None
    server: Annotated[str, Field(pattern=ADDRESS)] = "localhost:8443"  # GuardService, where it takes bearer tokens
    certificate_server: Annotated[str, Field(pattern=ADDRESS)] | None = (
        None  # where it takes certificates; none: server
    )
    ca: Path | None = None  # authority of the service's certificate

    @model_validator(mode="after")
    def _no_pictures_in_clear(self) -> PlaygroundSettings:
        if not is_local(self.listen) and self.tls is None:
            raise ValueError("beyond this machine the playground needs 'tls'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the playground knows people by what they log in with, not by 'tls.client_ca'")
        if self.ca is None and not all(map(is_local, (self.server, self.certificate_server or self.server))):
            raise ValueError("a service on another machine needs 'ca'")
        return self

    def resolved(self, folder: Path) -> PlaygroundSettings:
        """These settings with every relative path made absolute from `folder`."""
        values = absolute(self.model_dump(), folder)
        for name in ("server", "certificate_server"):
            values[name] = resolved_socket(values[name], folder)
        return PlaygroundSettings.model_validate(values)
