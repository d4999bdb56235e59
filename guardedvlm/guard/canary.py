"""What the guard asks its own detectors, to see whether they still see: a canary picture, and a challenge before each
call whose answer nobody else checks.

A detector that answers, and answers with nothing, looks like one with nothing to find. Faces, codes and text have a
second detector at verification; the recognisers of personal data and of topics have none, so they are challenged at
every call. The canary picture goes through one decoder and every process of every other role, at the start and then at
intervals; a role that does not find what is on it takes readiness away, requests are refused, and it is replaced.

The picture is made up (`cli.pictures.canary_picture`), with a portrait from the public domain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any, TypeVar

from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.core.topic import Topic
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import GuardedVLMError, Reason, Unavailable
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode_in_worker
from guardedvlm.guard.detect.probe import BY_MODEL, END, START, UNLISTED, is_probed
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Limits
from guardedvlm.worker import Challenge, WorkerPool

CANARY_SECONDS = 600.0
"""Between two looks at the canary picture; one takes 2-5 s of processor time."""
AGAIN_SECONDS = 15.0
"""Until the next look after one that failed: a role that is replaced loads its weights in 2-15 s."""
LOOK_SECONDS = 300.0
"""For a whole look. On a busy guard the canary waits its turn like every picture."""
LATE_LOOKS = 4
"""Looks in a row that may not come to their turn on a busy guard; then nobody knows what its detectors see."""
PICTURE = "canary.jpg"
SIZE = Size(900, 640)
FACE = Box(110, 138, 254, 318)
CODE = Box(420, 370, 625, 575)
NAME = "Lindqvist"
"""Of the text on the picture the part that a reader must read."""
PERSONAL = frozenset({Kind.PERSON, Kind.DATE_OF_BIRTH, Kind.PHONE})
SEEN_SHARE = 0.5
"""Of a thing's area that a finding of it must cover."""
LARGEST = 4.0
"""How much larger than the thing a finding may be: a whole page is no finding."""
ASKED = "How old is she?"
TOLD = "have a guess at how old she might be"
SENTENCE = "We spoke with Harriet Lindqvist about 219-09-9999."
"""Whatever language model a site has, the lists know the name and the rules the number (of sample cards, and void)."""
LOG = logging.getLogger("guardedvlm")

T = TypeVar("T")
Look = Callable[[], Awaitable[bool]]


class Canary:
    """Looks at the canary picture with every process of `pools`, by role, and remembers who missed it. Used from one
    event loop."""

    def __init__(
        self,
        pools: Mapping[str, WorkerPool],
        seconds: float = CANARY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pools = pools
        self._seconds = seconds
        self._clock = clock
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._is_served = False
        self._complete_at: float | None = None
        self.missed: tuple[str, ...] | None = None
        """Roles that did not find what is there, as of the last look that was complete and of what was seen since; None
        before the first one."""

    @property
    def healthy(self) -> bool:
        """Whether the last look found everything, and not too long ago. False before the first one."""
        return self.missed == () and not self._is_overdue()

    def check(self) -> None:
        """Raise Unavailable(CANARY_MISSED) when the last look missed something. After `begin` also when no look was
        complete yet, or none for so long that what it found says nothing."""
        if self.missed:
            raise Unavailable(Reason.CANARY_MISSED, stage=self.missed[0])
        if self._is_served and not self.healthy:
            raise Unavailable(Reason.CANARY_MISSED, stage="canary")

    async def begin(self) -> None:
        """Look for the first time. From now on nothing is cleared that a look does not stand behind: who calls this
        calls `turn` every second."""
        self._is_served = True
        await self.look()

    def turn(self) -> None:
        """Begin a look beside the loop where one is due."""
        if self._clock() >= self._due and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self.look())

    async def look(self) -> None:
        """Look once. Raises nothing; who missed something is replaced."""
        before = self.missed
        missed, is_complete = await self._look()
        for role in missed:
            LOG.error("%s: %s", Reason.CANARY_MISSED, role)
            await asyncio.to_thread(self._pools[role].replace)
        if is_complete:
            if before and not missed:
                LOG.warning("every detector finds the canary again")
            self.missed, self._complete_at = missed, self._clock()
        self._due = self._clock() + (self._seconds if is_complete and not missed else AGAIN_SECONDS)

    async def close(self) -> None:
        """End a look that runs."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> tuple[tuple[str, ...], bool]:
        """Roles that missed something, and whether there was time to find out about all of them."""
        deadline = Deadline.after(LOOK_SECONDS)
        missed: list[str] = []
        for role, look in _Looks(self._pools, deadline).by_role().items():
            is_seen = await _sees(look)
            if is_seen is None:
                return tuple(missed), False
            if is_seen:
                continue
            missed.append(role)
            # At once: requests are not cleared while the other roles look and this one is replaced.
            self.missed = tuple(dict.fromkeys((*(self.missed or ()), role)))
        return tuple(missed), True

    def _is_overdue(self) -> bool:
        late = LATE_LOOKS * (LOOK_SECONDS + AGAIN_SECONDS)
        return self._complete_at is None or self._clock() - self._complete_at > self._seconds + late


async def _sees(look: Look) -> bool | None:
    """Whether a role sees what is there; None when its turn did not come in time."""
    try:
        return await look()
    except GuardedVLMError as failure:
        return None if failure.reason is Reason.DEADLINE_EXCEEDED else False
    except Exception:
        return False


class _Looks:
    """One look of each role. The decoder's pixels are what the others see, the reader's lines what is examined."""

    def __init__(self, pools: Mapping[str, WorkerPool], deadline: Deadline) -> None:
        self._pools = pools
        self._deadline = deadline
        self._raster: Raster | None = None
        self._lines: tuple[TextLine, ...] = ()

    def by_role(self) -> dict[str, Look]:
        """In the order in which they build on one another."""
        looks: dict[str, Look] = {
            "decode": self._decode,
            "reader": self._read,
            "personal": self._personal,
            "topics": self._topics,
            "faces": lambda: self._find("faces", FACE, Kind.FACE),
            "codes": lambda: self._find("codes", CODE, Kind.CODE),
            "text_verifier": self._verify_text,
            "face_verifier": lambda: self._find("face_verifier", FACE, Kind.FACE),
            "code_verifier": lambda: self._find("code_verifier", CODE, Kind.CODE),
        }
        assert set(looks) == set(self._pools)
        return looks

    async def _decode(self) -> bool:
        admitted = admit(RawImage(canary_bytes()), Limits())
        decoded = await decode_in_worker(self._pools["decode"], admitted, Limits(), self._deadline)
        self._raster = decoded.pages[0].raster
        return decoded.pages[0].size == SIZE

    async def _read(self) -> bool:
        found = await self._each("reader", "read", tuple[TextLine, ...], self._pixels())
        self._lines = found[0]
        return all(_is_read(lines) for lines in found)

    async def _personal(self) -> bool:
        told = [asdict(line) for line in self._lines]
        asked = {"lines": told, "width": SIZE.width, "height": SIZE.height, "known": [], "languages": ["en"]}
        found = await self._each("personal", "page", tuple[Finding, ...], **asked)
        return all({finding.kind for finding in one} >= PERSONAL for one in found)

    async def _topics(self) -> bool:
        for asked in TOPICS:
            found = await self._each("topics", "topics", frozenset[Topic], **asked.args)
            if not all(map(asked.holds, found)):
                return False
        return True

    async def _find(self, role: str, place: Box, kind: Kind) -> bool:
        found = await self._each(role, "detect", tuple[Finding, ...], self._pixels())
        return all(any(item.kind is kind and _shows(item.box, place) for item in one) for one in found)

    async def _verify_text(self) -> bool:
        regions = await self._each("text_verifier", "regions", tuple[TextLine, ...], self._pixels())
        quads: list[Quad] = [line.quad for line in regions[0]]
        read = await self._each("text_verifier", "read_regions", tuple[TextLine, ...], self._pixels(), quads=quads)
        # Each process finds the places by itself: the name is read where the first one says, and all must say it.
        places = [line.box for line in (read[0] if read else ()) if NAME in line.text]
        found = all(any(_shows(line.box, place) for line in one) for one in regions for place in places)
        return found and all(regions) and all(map(_is_read, read))

    def _pixels(self) -> Raster:
        if self._raster is None:
            raise Unavailable(Reason.CANARY_MISSED, stage="decode")
        return self._raster

    async def _each(self, role: str, method: str, result: type[T], *arrays: Raster, **args: Any) -> tuple[T, ...]:
        return await self._pools[role].call_each(method, result, *arrays, deadline=self._deadline, **args)


def canary_bytes() -> bytes:
    """The picture's file."""
    return resources.files("guardedvlm.guard").joinpath(PICTURE).read_bytes()


def _is_read(lines: Sequence[TextLine]) -> bool:
    return any(NAME in line.text for line in lines)


def _shows(found: Box, place: Box) -> bool:
    return found.overlap(place) >= SEEN_SHARE * place.area and found.area <= LARGEST * place.area


def _line(top: int, text: str) -> dict[str, object]:
    """A line of text as a reader would tell it, 12 pixels a character."""
    words, x = [], 20
    for word in text.split():
        words.append(Word(word, Box(x, top, x + 12 * len(word), top + 24)))
        x = words[-1].box.x1 + 12
    box = Box(20, top, words[-1].box.x1, top + 24)
    corners = ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
    return asdict(TextLine(box, corners, text, 0.99, tuple(words)))


def _is_age(found: frozenset[Topic]) -> bool:
    return Topic.AGE in found


def _rules_know(kinds: Sequence[tuple[Kind, str]]) -> bool:
    """Whether lists and rules found the name and the number."""
    return {kind for kind, finder in kinds if not finder.startswith(BY_MODEL)} >= {Kind.PERSON, Kind.SSN}


def _knows_spans(found: Sequence[Span]) -> bool:
    before = len(SENTENCE) + 1
    probed = any(span.recognizer.startswith(BY_MODEL) and is_probed(span.start, span.end, before) for span in found)
    return probed and _rules_know([(span.kind, span.recognizer) for span in found])


def _knows_page(found: Sequence[Finding]) -> bool:
    probed = any(item.detector.startswith(BY_MODEL) and item.box.overlap(PLACE) > 0 for item in found)
    return probed and _rules_know([(item.kind, item.detector) for item in found])


PLACE = Box(20 + 12 * START, 80, 20 + 12 * END, 104)
SPANS = Challenge("spans", tuple[Span, ...], {"text": f"{SENTENCE} {UNLISTED}"}, _knows_spans)
PAGE = Challenge(
    "page",
    tuple[Finding, ...],
    {"lines": [_line(20, SENTENCE), _line(80, UNLISTED)], "width": 1000, "height": 130, "known": []},
    _knows_page,
)
TOPICS = tuple(
    Challenge("topics", frozenset[Topic], {"texts": texts, "pieces": pieces}, _is_age)
    for texts, pieces in (([], [TOLD]), ([ASKED], []))
)
"""The classifier alone and the rules alone: each must know by itself."""
