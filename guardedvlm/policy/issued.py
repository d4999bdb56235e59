"""When the newest signed policies were issued: a store with a key goes forward only.

A signature holds for ever, and an older policy may be weaker. The moment of signing is a part of what is signed; of
each name the newest one that was ever taken is kept in a file, and what was issued before it is refused. To go back on
purpose, the older policy is signed again. Without the file the first policy that is found counts as the newest.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, StringConstraints, TypeAdapter, ValidationError

from guardedvlm.core.private_file import replace
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.signature import Use

FILE_NAME = "policies-issued.json"
MAX_BYTES = 1_000_000
"""A thousand names with both uses have 130,000."""

_NEWEST: TypeAdapter[dict[Annotated[str, StringConstraints(max_length=100)], AwareDatetime]] = TypeAdapter(
    dict[Annotated[str, StringConstraints(max_length=100)], AwareDatetime]
)


class Issued:
    """The newest moment by name and use, in a file that survives a restart. Used under the store's lock."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError(SETTINGS_INVALID) where the file is there and cannot be understood."""
        self._path = path
        self._newest = self._read()

    def check(self, name: str, use: Use, issued: datetime, place: str) -> None:
        """Return when no newer one was taken. Raises ConfigurationError(POLICY_UNSIGNED)."""
        newest = self._newest.get(f"{name}/{use}")
        if newest is not None and issued < newest:
            explanation = (
                f"was issued {issued:%Y-%m-%d %H:%M:%S} UTC, before the one of {newest:%Y-%m-%d %H:%M:%S} that was in "
                "force already; to go back to it, sign it again"
            )
            raise ConfigurationError(Reason.POLICY_UNSIGNED, place=place, explanation=explanation)

    def take(self, name: str, use: Use, issued: datetime) -> None:
        """Remember that a policy took effect. Raises ConfigurationError(OUTPUT_UNWRITABLE): what cannot be remembered
        must not be relied upon."""
        key = f"{name}/{use}"
        if key in self._newest and issued <= self._newest[key]:
            return
        newest = {**self._newest, key: issued}
        try:
            replace(self._path, _NEWEST.dump_json(newest, indent=1) + b"\n")
        except OSError:
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=self._path.name) from None
        self._newest = newest

    def _read(self) -> dict[str, datetime]:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError:
            raise self._invalid() from None
        try:
            return dict(_NEWEST.validate_json(content))
        except ValidationError:
            raise self._invalid() from None

    def _invalid(self) -> ConfigurationError:
        explanation = "does not tell when the newest policies were issued"
        return ConfigurationError(Reason.SETTINGS_INVALID, place=self._path.name, explanation=explanation)
