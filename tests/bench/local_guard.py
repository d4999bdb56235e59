"""The whole guard for a bench: the product's own pipeline with keys and ledger in a folder that goes away."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from guardedvlm.app import Guard, running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.cli.local import local_request
from guardedvlm.config import load_settings
from guardedvlm.core.region import Raster
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Redaction
from guardedvlm.policy.model import Policy

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
"""Labelled data beside the checkout; absent elsewhere."""


@asynccontextmanager
async def bench_guard(replicas: int = 1) -> AsyncIterator[Guard]:
    """A started guard."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        settings = load_settings(None, keys=str(state / "keys"), ledger=str(state / "ledger"), replicas=replicas)
        async with running_guard(settings) as guard:
            yield guard


async def redacted(guard: Guard, content: bytes, policy: Policy) -> Redaction:
    """The redaction of a document with its picture. Raises GuardedVLMError."""
    return await guard.pipeline.redact(local_request(RawImage(content), policy, Method.REDACT_IMAGE, want_image=True))


def png_of(picture: Image.Image) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def raster_of(content: bytes) -> Raster:
    """The pixels of a file."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture.convert("RGB"))
