"""What becomes of the ledger beside its folder: checkpoints, delivery, samples for review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.audit.checkpointer import BOUND_SECONDS, EVERY_RECORDS, EVERY_SECONDS
from guardedvlm.audit.lag import MOST_RECORDS, MOST_SECONDS
from guardedvlm.audit.review.store import MAX_SAMPLES
from guardedvlm.audit.sink import Sink
from guardedvlm.config.part import Part


class Checkpoints(Part):
    """Signed checkpoints of the ledger's logs: how often, and the second place that they go to beside the ledger."""

    every_records: Annotated[int, Field(ge=1, le=1_000_000)] = EVERY_RECORDS
    every_seconds: Annotated[float, Field(gt=0, le=86_400)] = EVERY_SECONDS
    sink: Sink = Sink.NONE  # otlp: the collector at `otlp_endpoint`
    file: Path | None = None  # on another volume, with the sink `file`
    bound_seconds: Annotated[float, Field(gt=0, le=86_400)] = BOUND_SECONDS  # after which a failing sink ends readiness

    @model_validator(mode="after")
    def _file_where_it_is_written(self) -> Checkpoints:
        if (self.sink is Sink.FILE) != (self.file is not None):
            raise ValueError("'file' belongs to the sink 'file', and that sink needs one")
        return self


class Tail(Part):
    """Who delivers the ledger to `otel`, and how far it may be behind before the service is not ready."""

    inside: bool = True  # false: `guardedvlm audit tail` does, beside the service
    state: Path | None = None  # folder of the cursors; without it `tail` in the ledger's folder
    most_records: Annotated[int, Field(ge=1)] = MOST_RECORDS
    most_seconds: Annotated[float, Field(gt=0)] = MOST_SECONDS


class Review(Part):
    """Where redacted pictures wait for a reviewer, where a policy keeps any, and how many at most. Their keys lie in
    `sample_keys`, without it in the folder `review` of the settings' `keys`."""

    folder: Path = Path("review")
    sample_keys: Path | None = None
    max_samples: Annotated[int, Field(ge=1, le=10_000)] = MAX_SAMPLES
    identified: bool = False  # `guardedvlm review` shows nothing without a token of a caller with the role reviewer
