"""What a record may say of blind review: which sample, why it was kept, who saw it, what was said of it. No picture."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from guardedvlm.audit.values import CLOSED, Digest, Grid, Pseudonym
from guardedvlm.core.finding import Kind
from guardedvlm.errors import Reason

UnixSeconds = Annotated[int, Field(ge=0, lt=2**40)]
Kinds = Annotated[tuple[Kind, ...], Field(max_length=64)]


class Basis(StrEnum):
    """Why a redacted picture was kept for review. Only the random ones say something of all pictures."""

    RANDOM = "random"
    LOW_MARGIN = "low_margin"


class ReviewVerdict(StrEnum):
    """What a reviewer says of a redacted picture."""

    LEAKED = "leaked"
    CLEAN = "clean"
    OVER_REDACTED = "over-redacted"


class Destruction(StrEnum):
    """Why a sample's key was destroyed."""

    EXPIRED = "expired"
    LEAKED = "leaked"


class Sampled(TypedDict):
    """A cleared picture that was kept for review, or why it could not be. It names no request: the sample itself
    does, and the record of its mark."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    tenant: Pseudonym
    basis: Basis
    sample: NotRequired[Pseudonym]  # random
    expires: NotRequired[UnixSeconds]
    failure: NotRequired[Reason]


class Viewed(TypedDict):
    """A reviewer was shown a sample."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    sample: Pseudonym
    reviewer: Pseudonym


class Marked(TypedDict):
    """What a reviewer said of a sample, and, now that it is said, whose it is."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    sample: Pseudonym
    reviewer: Pseudonym
    verdict: ReviewVerdict
    kinds: Kinds  # that leaked, or that were hidden for nothing
    cells: NotRequired[Grid]  # where
    of: Pseudonym  # the request's random id
    tenant: Pseudonym
    policy: Digest
    basis: Basis


class Incident(TypedDict):
    """A reviewer saw what should have been hidden. Sample and key are gone."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    sample: Pseudonym
    of: Pseudonym
    tenant: Pseudonym
    policy: Digest
    kinds: Kinds


class Destroyed(TypedDict):
    """A sample's key was destroyed, and with it the sample."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    sample: Pseudonym
    cause: Destruction
