"""What `guardedvlm playground --local` tries policies on: the guard in this process, and made-up pictures."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import cache
from pathlib import Path

from PIL import Image

from guardedvlm.audit.facts import Method
from guardedvlm.cli.local import local_request
from guardedvlm.cli.pictures import DemoPicture, demo_pictures
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Progress, Watcher
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.guard.run import GuardRequest
from guardedvlm.playground.ports import Asked, Event, Fault, Offer
from guardedvlm.policy.document import Problems
from guardedvlm.policy.extend import BASES
from guardedvlm.policy.load import FILE_NAME, examine_file
from guardedvlm.policy.model import Policy
from guardedvlm.policy.signature import Use, check_signature
from guardedvlm.rpc import translate
from guardedvlm.rpc.outbox import Outbox
from guardedvlm.transport.clearance_key import read_public_key
from guardedvlm.v1 import guard_pb2 as pb

EXCERPT_LINES = 1
"""Lines that are shown above and below one that is wrong."""
THUMBNAIL = (240, 180)
"""Pixels."""


class LocalGuard:
    """A pipeline, and the policies of a folder as they are in the moment of each look."""

    def __init__(self, pipeline: Pipeline, folder: Path, policy_key: Path | None = None) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._key = policy_key

    async def offers(self) -> Sequence[Offer]:
        """Every policy of the folder, valid or not; of a folder that is a policy's own, that one."""
        return await asyncio.to_thread(lambda: [self._offer(file) for file in self._files()])

    async def events(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Run a trial under the policy as its file is now. Raises GuardedVLMError."""
        policy = await asyncio.to_thread(self._policy, asked.offer)
        outbox: Outbox[Event] = Outbox()
        run = asyncio.ensure_future(self._run(asked, policy, outbox))
        run.add_done_callback(lambda _: outbox.close())
        try:
            async for message in outbox.messages():
                yield message
            await run
        finally:
            run.cancel()  # the author left, or pressed stop

    async def _run(self, asked: Asked, policy: Policy, outbox: Outbox[Event]) -> None:
        if asked.question:
            await self._ask(asked, policy, outbox)
            return

        def tell(told: Progress) -> None:
            outbox.tell(pb.StreamRedactImageResponse(progress=translate.progress(told)))

        request = self._request(asked, policy, Method.STREAM_REDACT_IMAGE, True, tell)
        found = translate.redacted(await self._pipeline.redact(request), policy)
        outbox.release(pb.StreamRedactImageResponse(result=found))

    async def _ask(self, asked: Asked, policy: Policy, outbox: Outbox[Event]) -> None:
        def tell(told: Progress) -> None:
            outbox.tell(pb.StreamAnalyzeImageResponse(progress=translate.progress(told)))

        request = self._request(asked, policy, Method.STREAM_ANALYZE_IMAGE, policy.say.redacted_image, tell)
        question = Question(asked.question, sampling=Sampling(max_tokens=policy.say.max_tokens))
        async with aclosing(self._pipeline.analyze(request, question)) as events:
            async for event in events:
                outbox.release(translate.event(event, policy))

    def _request(
        self, asked: Asked, policy: Policy, method: Method, want_image: bool, watcher: Watcher
    ) -> GuardRequest:
        return local_request(RawImage(asked.content), policy, method, want_image=want_image, watcher=watcher)

    def _files(self) -> list[Path]:
        own = self._folder / FILE_NAME
        return [own] if own.is_file() else sorted(self._folder.glob(f"*/{FILE_NAME}"))

    def _offer(self, file: Path) -> Offer:
        found = examine_file(file)
        if isinstance(found, tuple):
            return Offer(file.parent.name, None, tuple(_fault(file, error) for error in found))
        try:
            self._check(found.value, file)
        except ConfigurationError as error:
            return Offer(file.parent.name, None, (_fault(file, error),))
        return Offer(file.parent.name, found.value)

    def _policy(self, name: str) -> Policy:
        """Raises ConfigurationError with the first fault."""
        file = next((file for file in self._files() if file.parent.name == name), None)
        if file is None:
            raise ConfigurationError(Reason.POLICY_MISSING, explanation="there is no such policy in the folder")
        found = examine_file(file)
        if isinstance(found, tuple):
            raise _first(found)
        self._check(found.value, file)
        return found.value

    def _check(self, policy: Policy, file: Path) -> None:
        if self._key is not None:
            check_signature(policy, Use.POLICY, file, read_public_key(self._key))


def _first(problems: Problems) -> ConfigurationError:
    return problems[0]


def _fault(file: Path, error: ConfigurationError) -> Fault:
    return Fault(error.place, error.explanation or error.sentence, _excerpt(file, error.place))


def _excerpt(file: Path, place: str) -> tuple[tuple[int, str], ...]:
    """The line that `place` (FOLDER/FILE:LINE) names, of the policy's file or of a base, and its neighbours."""
    name, _, line = place.rpartition(":")
    folder, _, base = name.partition("/")
    named = file if name == f"{file.parent.name}/{file.name}" else file.parent.parent / BASES / base
    if not line.isdigit() or (named != file and folder != BASES):
        return ()
    try:
        lines = named.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    first, last = max(1, int(line) - EXCERPT_LINES), min(len(lines), int(line) + EXCERPT_LINES)
    return tuple((number, lines[number - 1]) for number in range(first, last + 1))


class DrawnSamples:
    """The demonstration's pictures, drawn when the first one is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def titles(self) -> Sequence[tuple[str, str, Sequence[str]]]:
        """Name, title and questions of each."""
        return [(picture.name, picture.title, picture.questions) for picture in self._drawn()]

    def picture(self, name: str) -> bytes | None:
        """The picture as PNG; None for a name that there is not."""
        found = self._find(name)
        return _png(found.image) if found else None

    def thumbnail(self, name: str) -> bytes | None:
        """The picture at a quarter of the page's width."""
        found = self._find(name)
        if found is None:
            return None
        small = found.image.copy()
        small.thumbnail(THUMBNAIL)
        return _png(small)

    def _find(self, name: str) -> DemoPicture | None:
        return next((picture for picture in self._drawn() if picture.name == name), None)

    def _drawn(self) -> Sequence[DemoPicture]:
        with self._lock:  # four seconds of work; once is enough
            return _pictures()


@cache
def _pictures() -> tuple[DemoPicture, ...]:
    return demo_pictures()


def _png(image: Image.Image) -> bytes:
    found = io.BytesIO()
    image.save(found, "PNG")
    return found.getvalue()
