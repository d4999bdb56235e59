"""The service under load, as callers in another process see it.

    .venv/bin/python tests/bench/bench_service.py load [--replicas 1 2] [--callers 1 2 4 8 16 32] [--seconds 20]
    .venv/bin/python tests/bench/bench_service.py overhead [--pairs 100]
    .venv/bin/python tests/bench/bench_service.py memory [--minutes 30] [--callers 2]

`load`: `guardedvlm serve` with the embedded reader; that many callers, each of which asks again as soon as it has its
answer (closed loop), over TLS with a bearer token. Requests a second, latency at p50, p95 and p99, refusals by reason.
`overhead`: the service and its pipeline are in this process, the caller in another. Of each call the caller's seconds
(TLS, identity, idempotency, a receipt) stand beside those that the pipeline took in this very call, so that a busy
machine slows both. In turn the pipeline is called right here as well. Ratios are medians, with bootstrap intervals.
`memory`: resident memory of the service and all its workers every ten seconds under load; the slope is Theil and Sen's
(the median of the slopes of all pairs of samples) after the first third, in which caches and allocators fill.

The picture is small (320 x 130, three lines, a name among them), so that a run ends.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parents[1]))

from running_service import Service, free_port, start_service, stop_service

from guardedvlm import app
from guardedvlm.audit.facts import Method
from guardedvlm.cli.init import Site, make_site
from guardedvlm.client import AsyncClient, Retry
from guardedvlm.config import load_settings
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evaluation.session import request_of
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.model import Policy

SIZE = (320, 130)
LINES = ("Customer: Jane Sample", "Rolls 4.20", "TOTAL 17.80")
QUESTION = "What is the total?"
TIMEOUT = 600.0
SAMPLE_SECONDS = 10.0
MIB = 2**20
RESAMPLES = 2000
WARMING = 3


def picture() -> bytes:
    """The small receipt, as PNG."""
    image = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    for number, line in enumerate(LINES):
        draw.text((20, 14 + 40 * number), line, "black", font)
    found = io.BytesIO()
    image.save(found, "PNG")
    return found.getvalue()


@dataclass(slots=True)
class Load:
    """What callers saw."""

    callers: int
    latencies: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0

    def report(self) -> dict[str, object]:
        """Print a line; the same as JSON values."""
        p50, p95, p99 = (1000 * float(np.percentile(self.latencies, share)) for share in (50, 95, 99))
        rate, n = len(self.latencies) / self.wall, len(self.latencies)
        print(
            f"  {self.callers:3} callers: {rate:6.3f} requests a second, p50 {p50:7.0f} ms, p95 {p95:7.0f} ms, "
            f"p99 {p99:7.0f} ms, n = {n}, refused: {dict(self.refused) or 'none'}",
            flush=True,
        )
        found = {"callers": self.callers, "per_second": rate, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "n": n}
        return {**found, "refused": dict(self.refused)}


async def load(client: AsyncClient, content: bytes, callers: int, seconds: float) -> Load:
    """Callers in a closed loop. Calls that run at the end are waited for and count, and so does their time."""
    found, end = Load(callers), time.perf_counter() + seconds

    async def caller() -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            try:
                await client.analyze(content, QUESTION)
            except GuardedVLMError as error:
                found.refused[error.reason.value] += 1
            else:
                found.latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    found.wall = time.perf_counter() - began
    return found


def client_of(service: Service) -> AsyncClient:
    """A client that does not make a call again: what is refused is to be seen."""
    token = service.site.tokens["bank"].read_text().strip()
    return AsyncClient(service.listen, token=token, ca=service.site.pki.ca, timeout=TIMEOUT, retry=Retry(attempts=1))


async def measure_load(options: argparse.Namespace) -> list[dict[str, object]]:
    """Every number of callers, for every number of replicas."""
    reports, content = [], picture()
    for replicas in options.replicas:
        with tempfile.TemporaryDirectory() as folder:
            service = start_service(Path(folder), ["--replicas", str(replicas)])
            try:
                print(f"\n{replicas} worker process(es) a role:", flush=True)
                async with client_of(service) as client:
                    await load(client, content, replicas, 5.0)  # each worker allocates on its first pictures
                    for callers in options.callers:
                        found = await load(client, content, callers, options.seconds)
                        reports.append({"replicas": replicas, **found.report()})
            finally:
                stop_service(service)
    return reports


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median slope of all pairs (Theil 1950, Sen 1968)."""
    pairs = [
        (values[j] - values[i]) / (times[j] - times[i]) for i in range(len(times)) for j in range(i + 1, len(times))
    ]
    return statistics.median(pairs)


async def measure_memory(options: argparse.Namespace) -> dict[str, object]:
    """Samples of resident memory under load, and their slope."""
    with tempfile.TemporaryDirectory() as folder:
        service = start_service(Path(folder))
        samples: list[tuple[float, int, int]] = []

        async def watch(end: float) -> None:
            began = time.monotonic()
            while time.monotonic() < end:
                sizes = [resident(pid) for pid in service.processes()]
                samples.append((time.monotonic() - began, sizes[0], sum(sizes)))
                await asyncio.sleep(SAMPLE_SECONDS)

        try:
            async with client_of(service) as client:
                seconds = 60 * options.minutes
                watching = asyncio.create_task(watch(time.monotonic() + seconds))
                found = await load(client, picture(), options.callers[0], seconds)
                await watching
        finally:
            stop_service(service)
    return {"load": found.report(), **_slopes(samples)}


def _slopes(samples: Sequence[tuple[float, int, int]]) -> dict[str, object]:
    settled = samples[len(samples) // 3 :]
    times = [at / 3600 for at, _, _ in settled]
    found: dict[str, object] = {"samples": [(round(at), main // MIB, whole // MIB) for at, main, whole in samples]}
    for name, index in (("service process", 1), ("all processes", 2)):
        values = [sample[index] / MIB for sample in settled]
        grows = slope(times, values)
        print(
            f"  {name}: {values[0]:.0f} MiB after {settled[0][0] / 60:.0f} min, {values[-1]:.0f} MiB after "
            f"{settled[-1][0] / 60:.0f} min, highest {max(values):.0f} MiB; slope {grows:+.1f} MiB an hour"
        )
        found[name] = {"first": values[0], "last": values[-1], "highest": max(values), "mib_per_hour": grows}
    return found


@asynccontextmanager
async def calling_process(target: str, token: Path, ca: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that asks once for every line, and answers with seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "call", target, str(token), str(ca), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def call(target: str, token: str, ca: Path) -> None:
    """The other process."""
    content = picture()
    async with AsyncClient(target, token=token, ca=ca, timeout=TIMEOUT) as client:
        while await asyncio.to_thread(sys.stdin.readline):
            began = time.perf_counter()
            await client.analyze(content, QUESTION)
            print(time.perf_counter() - began, flush=True)


async def asked(process: asyncio.subprocess.Process) -> float:
    """Seconds that the other process waited for an answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
    return float(await process.stdout.readline())


async def asked_here(pipeline: Pipeline, content: bytes, policy: Policy) -> float:
    """Seconds of the same in this process."""
    began = time.perf_counter()
    request = request_of(content, policy, Method.ANALYZE_IMAGE, want_image=False)
    async for _ in pipeline.analyze(request, Question(QUESTION, sampling=Sampling(policy.say.max_tokens))):
        pass
    return time.perf_counter() - began


@contextmanager
def timed_pipeline() -> Iterator[tuple[list[Pipeline], list[float]]]:
    """The pipelines that begin to answer meanwhile, and the seconds of each of their answers."""
    answer, pipelines, seconds = Pipeline.analyze, [], []

    async def timed(self: Pipeline, *arguments: Any) -> AsyncIterator[Any]:
        pipelines[:] = [self]
        began = time.perf_counter()
        async for event in answer(self, *arguments):
            yield event
        seconds.append(time.perf_counter() - began)

    Pipeline.analyze = timed  # type: ignore[assignment,method-assign]
    try:
        yield pipelines, seconds
    finally:
        Pipeline.analyze = answer  # type: ignore[method-assign]


@asynccontextmanager
async def serving_here(folder: Path) -> AsyncIterator[tuple[str, Site]]:
    """A service in this process; gives its address and its site."""
    listen = f"localhost:{free_port()}"
    site = make_site(folder, listen, f"127.0.0.1:{free_port()}")
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(app.serve(load_settings(site.config), stop, started))
    await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        yield listen, site
    finally:
        stop.set()
        await serving


async def measure_overhead(options: argparse.Namespace) -> dict[str, object]:
    """The pipeline's and the caller's seconds of the same calls, and the pipeline called here in turn."""
    content, within, turns = picture(), [], []
    with tempfile.TemporaryDirectory() as folder, timed_pipeline() as (pipelines, seconds):
        async with serving_here(Path(folder) / "site") as (listen, site):
            policy = load_policy(Path(folder) / "site" / "policies" / "finance" / "policy.yaml")
            async with calling_process(listen, site.tokens["bank"], site.pki.ca) as caller:
                for _ in range(WARMING):
                    await asked(caller)
                for _ in range(options.pairs):
                    there = await asked(caller)
                    within.append((seconds[-1], there))
                    if len(turns) < options.turns:
                        turns.append((await asked_here(pipelines[0], content, policy), there))
    return {
        "within": report_overhead("the pipeline's part of the same call", within),
        "turns": report_overhead("the pipeline called here, in turn", turns),
    }


def report_overhead(what: str, pairs: Sequence[tuple[float, float]]) -> dict[str, object]:
    """Print the ratio with its interval; the same as JSON values."""
    chance = np.random.default_rng(1)
    ratios = np.array([theirs / ours for ours, theirs in pairs])
    again = np.median(chance.choice(ratios, (RESAMPLES, len(ratios))), axis=1)
    low, high = (float(np.percentile(again, share)) for share in (2.5, 97.5))
    here, there = (1000 * statistics.median(side) for side in zip(*pairs, strict=True))
    added = 1000 * statistics.median(theirs - ours for ours, theirs in pairs)
    print(f"caller p50 {there:.0f} ms; {what}: p50 {here:.0f} ms; n = {len(pairs)} pairs")
    print(f"  ratio {np.median(ratios):.4f} [{low:.4f}, {high:.4f}]; median difference {added:+.1f} ms", flush=True)
    found = {"pipeline_p50_ms": here, "service_p50_ms": there, "pairs": len(pairs), "difference_ms": added}
    return {**found, "ratio": float(np.median(ratios)), "ratio_95": [low, high]}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "overhead", "memory", "call"))
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--callers", type=int, nargs="+", default=None)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each number of callers")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--turns", type=int, default=100, help="of the pairs, how many with a call in this process")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if options.what == "call":
        target, token, ca = options.arguments
        asyncio.run(call(target, Path(token).read_text().strip(), Path(ca)))
        return
    options.callers = options.callers or ([2] if options.what == "memory" else [1, 2, 4, 8, 16, 32])
    measure = {"load": measure_load, "overhead": measure_overhead, "memory": measure_memory}[options.what]
    found = asyncio.run(measure(options))
    if options.out:
        options.out.write_text(json.dumps({"command": sys.argv, "found": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
