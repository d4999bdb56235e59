"""The worker processes of the guard, one role each, and the typed calls to them.

A role's process is shared by all requests and replaced when it dies or hangs. Only `face_verifier` imports torch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, replace
from typing import Any, TypeVar

from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Finding, Span
from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.guard.canary import CANARY_SECONDS, PAGE, SPANS, TOPICS, Canary
from guardedvlm.guard.decode import decode_in_worker, decode_worker_spec
from guardedvlm.guard.image import AdmittedImage, DecodedImage, Secret
from guardedvlm.guard.verify import Verifiers
from guardedvlm.guard.verify.verifiers import FillMap
from guardedvlm.policy.model import Limits, Topic
from guardedvlm.sandbox import Sandbox, is_held
from guardedvlm.worker import WorkerPool, WorkerSpec

T = TypeVar("T")

READ_SECONDS = 240.0
"""Limit of one reading of a page, which is there for a reader that hangs: a dense page of 40 MP, the most that a policy
admits, took 110 s on one of two busy cores."""
LOOK_SECONDS = 30.0

SPECS: Mapping[str, WorkerSpec] = {
    spec.role: spec
    for spec in (
        WorkerSpec("reader", "guardedvlm.reading.ppocr:PageReader", call_seconds=READ_SECONDS),
        WorkerSpec("personal", "guardedvlm.guard.detect.personal:PersonalData", call_seconds=LOOK_SECONDS),
        WorkerSpec("topics", "guardedvlm.guard.screen.topic_model:TopicModel", call_seconds=LOOK_SECONDS),
        WorkerSpec("faces", "guardedvlm.guard.detect.faces:Faces", call_seconds=LOOK_SECONDS),
        WorkerSpec("codes", "guardedvlm.guard.detect.codes:Codes", call_seconds=LOOK_SECONDS),
        WorkerSpec("text_verifier", "guardedvlm.reading.ppocr_v4:IndependentReader", call_seconds=READ_SECONDS),
        WorkerSpec("face_verifier", "guardedvlm.guard.verify_faces:FaceVerifier", call_seconds=LOOK_SECONDS),
        WorkerSpec("code_verifier", "guardedvlm.guard.detect.codes:CodesVerifier", call_seconds=LOOK_SECONDS),
    )
}
"""Every role but decode, whose limits stand beside the decoders."""


class Roles:
    """All worker pools of the guard: `replicas` processes a role.

    `spacy_model` and `spacy_model_sha256` name the site's own named-entity model; without them an installed one serves.
    `sandbox`: whether a worker starts that the kernel cannot confine.
    """

    def __init__(
        self,
        replicas: int = 1,
        spacy_model: str = "",
        spacy_model_sha256: str = "",
        canary_seconds: float = CANARY_SECONDS,
        sandbox: Sandbox = Sandbox.REQUIRED,
    ) -> None:
        specs = {role: replace(spec, sandbox=sandbox) for role, spec in SPECS.items()}
        if spacy_model:
            personal = specs["personal"]
            chosen = {"model": spacy_model, "model_sha256": spacy_model_sha256}
            specs["personal"] = replace(personal, options=chosen, readable=(spacy_model,))
        self.decoder = WorkerPool(replace(decode_worker_spec(), sandbox=sandbox), replicas)
        self.pools = {role: WorkerPool(spec, replicas) for role, spec in specs.items()}
        self.canary = Canary({"decode": self.decoder, **self.pools}, canary_seconds)

    def start(self) -> None:
        """Start every process, two at a time (loading is CPU-bound). Raises what the first failing role raised."""
        try:
            with ThreadPoolExecutor(max_workers=2) as starter:
                for done in [starter.submit(pool.start) for pool in self._all()]:
                    done.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process; idempotent."""
        for pool in self._all():
            pool.stop()

    @property
    def unconfined(self) -> tuple[str, ...]:
        """Roles whose processes are not held as they should be, because the kernel lacks filters or Landlock."""
        return tuple(
            pool.spec.role
            for pool in self._all()
            if not all(is_held(pool.spec.confinement, worker.sandboxed) for worker in pool.workers)
        )

    @property
    def restarts(self) -> Mapping[str, int]:
        """How many processes of each role had to be replaced."""
        return {pool.spec.role: pool.restarts for pool in self._all()}

    def waiting(self) -> Mapping[str, int]:
        """How many calls wait for a process of each role."""
        return {pool.spec.role: pool.waiting for pool in self._all()}

    async def weights(self, deadline: Deadline) -> dict[str, str]:
        """SHA-256 of every detector's weights by name."""
        found: dict[str, str] = {}
        for pool in self.pools.values():
            found |= (await pool.call("weights", dict[str, str], deadline=deadline))[0]
        return found

    async def decode(self, admitted: AdmittedImage, limits: Limits, deadline: Deadline) -> DecodedImage:
        """Decode untrusted bytes in the process that has no other work."""
        return await decode_in_worker(self.decoder, admitted, limits, deadline)

    async def read(self, raster: Raster, deadline: Deadline) -> tuple[TextLine, ...]:
        """Every text region of `raster`."""
        return await self._call("reader", "read", tuple[TextLine, ...], raster, deadline=deadline)

    async def faces(self, raster: Raster, deadline: Deadline) -> tuple[Finding, ...]:
        """Faces of `raster`."""
        return await self._call("faces", "detect", tuple[Finding, ...], raster, deadline=deadline)

    async def codes(self, raster: Raster, deadline: Deadline) -> tuple[Finding, ...]:
        """QR codes and barcodes of `raster`."""
        return await self._call("codes", "detect", tuple[Finding, ...], raster, deadline=deadline)

    async def personal(
        self,
        lines: Sequence[TextLine],
        size: Size,
        secrets: Sequence[Secret],
        languages: Sequence[str],
        deadline: Deadline,
    ) -> tuple[Finding, ...]:
        """Personal data in the lines of a page; `secrets` are searched too."""
        return await self._call(
            "personal",
            "page",
            tuple[Finding, ...],
            deadline=deadline,
            challenges=(PAGE,),
            lines=[asdict(line) for line in lines],
            width=size.width,
            height=size.height,
            known=[(secret.kind.value, secret.text) for secret in secrets],
            languages=list(languages),
        )

    async def spans(self, text: str, languages: Sequence[str], deadline: Deadline) -> tuple[Span, ...]:
        """Personal spans of a question or an answer."""
        return await self._call(
            "personal",
            "spans",
            tuple[Span, ...],
            deadline=deadline,
            challenges=(SPANS,),
            text=text,
            languages=list(languages),
        )

    async def topics(self, texts: Sequence[str], pieces: Sequence[str], deadline: Deadline) -> frozenset[Topic]:
        """What questions or answers are about, as far as a policy can forbid it."""
        return await self._call(
            "topics",
            "topics",
            frozenset[Topic],
            deadline=deadline,
            challenges=TOPICS,
            texts=list(texts),
            pieces=list(pieces),
        )

    def verifiers(self, languages: Sequence[str], secrets: Sequence[Secret], deadline: Deadline) -> Verifiers:
        """The detectors that look at the final pixels, bound to one request's deadline."""

        async def regions(raster: Raster, fills: FillMap, places: tuple[Box, ...]) -> tuple[TextLine, ...]:
            within = [astuple(place) for place in places]
            return await self._call(
                "text_verifier", "regions", tuple[TextLine, ...], raster, fills, deadline=deadline, within=within
            )

        async def read_regions(raster: Raster, quads: tuple[Quad, ...]) -> tuple[TextLine, ...]:
            return await self._call(
                "text_verifier", "read_regions", tuple[TextLine, ...], raster, deadline=deadline, quads=quads
            )

        async def faces(raster: Raster) -> tuple[Finding, ...]:
            return await self._call("face_verifier", "detect", tuple[Finding, ...], raster, deadline=deadline)

        async def codes(raster: Raster) -> tuple[Finding, ...]:
            return await self._call("code_verifier", "detect", tuple[Finding, ...], raster, deadline=deadline)

        def personal(lines: tuple[TextLine, ...], size: Size) -> Awaitable[tuple[Finding, ...]]:
            return self.personal(lines, size, secrets, languages, deadline)

        return Verifiers(text_regions=regions, read_regions=read_regions, faces=faces, codes=codes, personal=personal)

    async def _call(
        self, role: str, method: str, result: type[T], *arrays: Raster, deadline: Deadline, **args: Any
    ) -> T:
        value, _ = await self.pools[role].call(method, result, *arrays, deadline=deadline, **args)
        return value

    def _all(self) -> tuple[WorkerPool, ...]:
        return (self.decoder, *self.pools.values())
