"""Callers' connections, and how much of their work is taken on at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from guardedvlm.config.part import Part
from guardedvlm.core.connection import (
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    MAX_AGE_GRACE_SECONDS,
    MAX_AGE_SECONDS,
)


class Connections(Part):
    """Connections of callers, made for load balancers; all in seconds."""

    keepalive_seconds: Annotated[float, Field(ge=1, le=7_200)] = KEEPALIVE_SECONDS  # between pings of a silent one
    keepalive_timeout_seconds: Annotated[float, Field(ge=1, le=600)] = KEEPALIVE_TIMEOUT_SECONDS  # for the answer
    max_age_seconds: Annotated[float, Field(ge=1, le=86_400)] = MAX_AGE_SECONDS  # then it is to be made anew
    max_age_grace_seconds: Annotated[float, Field(ge=1, le=3_600)] = MAX_AGE_GRACE_SECONDS  # for calls that run then

    def in_order(self) -> tuple[float, float, float, float]:
        """All of them, as they stand above."""
        return (
            self.keepalive_seconds,
            self.keepalive_timeout_seconds,
            self.max_age_seconds,
            self.max_age_grace_seconds,
        )


class Admission(Part):
    """How much is worked on at once, and how much may wait. Limits of tenants stand in the tenants file."""

    # Documents that are looked at, at the same time; none: twice `replicas`, so that one is read while one is verified.
    concurrency: Annotated[int, Field(ge=1, le=1_024)] | None = None
    queue: Annotated[int, Field(ge=1, le=100_000)] = 256  # requests that wait, of all tenants
    queue_mebibytes: Annotated[int, Field(ge=1, le=1_048_576)] = 1_024  # of documents that all calls hold
