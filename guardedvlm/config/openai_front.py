"""Settings of the OpenAI front."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.config.address import ADDRESS, is_local, resolved_socket
from guardedvlm.config.part import Part, absolute
from guardedvlm.config.tls import Tls


class OpenAISettings(Part):
    """Settings of `guardedvlm openai`. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8452"
    tls: Tls | None = None
    server: Annotated[str, Field(pattern=ADDRESS)] = "localhost:8443"  # GuardService, where it takes bearer tokens
    ca: Path | None = None  # authority of the service's certificate
    max_body: Annotated[int, Field(ge=1, le=512)] = 48  # MiB of a request; a document in base64 has a third more
    most_requests: Annotated[int, Field(ge=1, le=1_024)] = 32  # at once; others wait with their bodies unread

    @model_validator(mode="after")
    def _no_pictures_in_clear(self) -> OpenAISettings:
        if not is_local(self.listen) and self.tls is None:
            raise ValueError("beyond this machine the front needs 'tls'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the front knows callers by the tokens that it passes on, not by 'tls.client_ca'")
        if self.ca is None and not is_local(self.server):
            raise ValueError("a service on another machine needs 'ca'")
        return self

    def resolved(self, folder: Path) -> OpenAISettings:
        """These settings with every relative path made absolute from `folder`."""
        values = absolute(self.model_dump(), folder)
        values["server"] = resolved_socket(values["server"], folder)
        return OpenAISettings.model_validate(values)
