"""What the pages need of a guard: which policies may be tried, and a trial."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from guardedvlm.policy.model import Policy
from guardedvlm.v1 import guard_pb2 as pb

Event: TypeAlias = pb.StreamAnalyzeImageResponse | pb.StreamRedactImageResponse
"""What GuardService streams: progress, then what was released."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a policy's file. `place` is file and line, `excerpt` that line with its neighbours."""

    place: str
    explanation: str
    excerpt: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A policy that may be tried, or, with faults, one that may not until they are mended."""

    id: str
    policy: Policy | None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """One trial. An empty `question` asks for the redacted document alone."""

    offer: str
    question: str = field(repr=False)
    content: bytes = field(repr=False)


class Guard(Protocol):
    """A guard as one person may use it."""

    async def offers(self) -> Sequence[Offer]:
        """The policies of this moment. Raises GuardedVLMError."""

    def events(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Run a trial under the policy of this moment. Raises GuardedVLMError."""


class Samples(Protocol):
    """Made-up pictures to try with."""

    def titles(self) -> Sequence[tuple[str, str, Sequence[str]]]:
        """Name, title and questions of each."""

    def picture(self, name: str) -> bytes | None:
        """The picture as PNG; None for a name that there is not."""

    def thumbnail(self, name: str) -> bytes | None:
        """A small one as PNG."""
