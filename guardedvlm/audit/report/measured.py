"""A measurement by `guardedvlm eval`: its report.json, read closely, because its figures go to an auditor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guardedvlm.core.share import Share, wilson
from guardedvlm.errors import ConfigurationError, Reason

MAX_BYTES = 64 * 2**20
Line = Annotated[str, Field(max_length=500)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Share(_Part):
    hits: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]
    low: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)]


class _Refused(_Part):
    reasons: dict[Line, Annotated[int, Field(ge=0)]]


class _File(_Part):
    title: Line
    policy: Line
    policy_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    command: Annotated[str, Field(max_length=2_000)]
    pictures: Annotated[int, Field(ge=0)]
    refused: _Refused
    shares: dict[Line, dict[Line, _Share]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found, and the SHA-256 of the file that says so."""

    digest: str
    title: str
    policy: str
    policy_digest: str
    command: str
    pictures: int
    refused: int
    shares: tuple[tuple[str, tuple[tuple[str, Share], ...]], ...]  # group -> name -> share


def read_measured(path: Path) -> Measured:
    """Read a report.json.

    Raises ConfigurationError(INPUT_UNREADABLE) when it is not one, or when a share is none: more hits than cases, or
    outside its own interval.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        file = _File.model_validate_json(content if len(content) <= MAX_BYTES else b"")
        shares = tuple(
            (group, tuple((name, _share(one)) for name, one in rows.items())) for group, rows in file.shares.items()
        )
    except (OSError, ValidationError, ValueError):
        explanation = "is no report.json of `guardedvlm eval`"
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation=explanation) from None
    return Measured(
        hashlib.sha256(content).hexdigest(),
        file.title,
        file.policy,
        file.policy_digest,
        file.command,
        file.pictures,
        sum(file.refused.reasons.values()),
        shares,
    )


def _share(one: _Share) -> Share:
    value = wilson(one.hits, one.n).value
    if one.n and not one.low <= value <= one.high:
        raise ValueError("a share outside its interval")
    return Share(one.hits, one.n, one.low, one.high)
