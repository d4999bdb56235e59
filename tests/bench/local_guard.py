"""What benches of the whole guard share: redacting a document, pixels of files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method
from guardedvlm.core.region import Raster
from guardedvlm.evaluation.session import request_of
from guardedvlm.guard.outcome import Redaction
from guardedvlm.policy.model import Policy

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
"""Labelled data beside the checkout; absent elsewhere."""


async def redacted(guard: Guard, content: bytes, policy: Policy) -> Redaction:
    """The redaction of a document with its picture. Raises GuardedVLMError."""
    return await guard.pipeline.redact(request_of(content, policy, Method.REDACT_IMAGE, want_image=True))


def raster_of(content: bytes) -> Raster:
    """The pixels of a file."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture.convert("RGB"))
