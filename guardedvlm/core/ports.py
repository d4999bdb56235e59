"""The seams between packages: each one method wide, or nearly. The fakes that tests use implement these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, SignedClearance
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Finding, Span
from guardedvlm.core.region import Box, Geometry, Raster
from guardedvlm.core.word import TextLine


class Detector(Protocol):
    """Looks at pixels. Returns findings or raises; an empty tuple means that it looked and found nothing."""

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """Find things in an (H, W, 3) uint8 RGB raster; boxes in its pixels, inside it."""
        ...


class TextReader(Protocol):
    """Finds and reads text."""

    def read(self, raster: Raster) -> tuple[TextLine, ...]:
        """Every text region of an (H, W, 3) uint8 RGB raster, read or not, in reading order."""
        ...


class Recognizer(Protocol):
    """Finds personal data in text."""

    def spans(self, text: str) -> tuple[Span, ...]:
        """Personal spans of `text`, sorted by start, possibly overlapping."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation parameters. `max_tokens` >= 1; temperature 0 is greedy."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANNOT_TELL = "cannot_tell"  # the engine says that the picture does not answer the question


@dataclass(frozen=True, slots=True)
class Evidence:
    """A box of the cleared raster from which (a part of) the answer was read. `page` is the guard's to say: an engine
    gets one picture at a time."""

    box: Box
    score: float
    page: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Of the value at the JSON pointer `pointer` of an answer: how sure the engine is (0..1, None where it cannot say),
    and from which boxes of the cleared raster it read it, if it knows."""

    pointer: str = field(repr=False)
    confidence: float | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A piece of an answer before the screen; the last one has `finish` set.

    Token counts are cumulative and set on the last piece, and so are the readings of an answer in JSON.
    """

    text: str = field(repr=False)
    finish: FinishReason | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    evidence: tuple[Evidence, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine declares: its name, the digest of its weights (hex), the geometry it takes and its limits."""

    engine: str
    model: str
    model_digest: str
    audience: str
    geometry: Geometry
    max_prompt_chars: int
    max_output_tokens: int
    max_concurrent: int = 1


class Engine(Protocol):
    """A model: takes cleared values only."""

    def capacity(self) -> Capacity:
        """What this engine declares."""
        ...

    def generate(
        self, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling, scope: str, deadline: Deadline
    ) -> AsyncIterator[Draft]:
        """Answer `prompt` about `image`; stops when the iterator is closed. `scope` bounds every cache."""
        ...


class Backend(Protocol):
    """How the guard reaches inference."""

    async def capacity(self) -> Capacity:
        """What the engine declares. Raises Unavailable when it does not answer."""
        ...

    def generate(
        self,
        image: ClearedImage,
        prompt: ClearedPrompt,
        clearance: SignedClearance,
        sampling: Sampling,
        deadline: Deadline,
    ) -> AsyncIterator[Draft]:
        """Send cleared values and their clearance; yields drafts. Raises Unavailable or Refused."""
        ...
