"""What a tenant may ask of the service, and which limit a refused call met."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Quota(StrEnum):
    """The limit that a call met; also a label of the metric of refusals, so it names no tenant."""

    REQUESTS = "requests_per_second"
    MEGAPIXELS = "megapixels_per_second"
    OUTPUT_TOKENS = "output_tokens_per_minute"
    QUEUE = "queue"  # requests of the tenant that wait
    QUEUE_BYTES = "queue_mebibytes"  # bytes that calls of the tenant hold
    SERVICE_QUEUE = "service_queue"  # requests of all tenants that wait
    SERVICE_BYTES = "service_mebibytes"  # bytes that calls of all tenants hold
    DEADLINE = "deadline"  # it could not have ended in time


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Limits of one tenant. The defaults are there for a client that has gone wild, not for billing."""

    concurrency: int = 32  # requests that are worked on, the model's time included
    requests_per_second: float = 200.0
    megapixels_per_second: float = 400.0  # of all pages, decoded
    output_tokens_per_minute: float = 1_000_000.0  # that the model writes
    queue: int = 64  # requests that wait
    queue_mebibytes: int = 256  # of documents that calls hold, from their first byte to their end
    weight: int = 1  # share of a busy service beside the other tenants' weights
