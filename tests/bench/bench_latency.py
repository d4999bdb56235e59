"""Latency of the guard by stage, with one and two replicas, next to presidio-image-redactor + deface.

    .venv/bin/python tests/bench/bench_latency.py [--receipts 12] [--replicas 1 2] [--peer-python /tmp/peer/bin/python]
        [--policy finance] [--out FILE]

Pictures: the first receipts of ../shared/data, and one photograph with faces enlarged to 1 MP. Each pass redacts all of
them, with `concurrency` requests under way. Where one replica serves one request at a time, the peer (peer_redactor.py;
its virtual environment is described there) gets every picture right before or after the guard, in turn, so that a busy
machine slows both; the ratio is the median of guard / peer over the pictures. What each does in that time differs:
the guard decodes in a sandbox, looks for codes too, hides what it cannot read, verifies the final pixels with other
detectors and writes an audit record; the peer does none of it and its picture is decoded outside the clock.
Stages that run side by side (read, faces, codes) add up to more than the total.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from local_guard import DATA, redacted

from guardedvlm.app import Guard
from guardedvlm.cli.settings import find_policy
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evaluation.session import measured_guard
from guardedvlm.policy.model import Policy

PEER = Path(__file__).parent / "peer_redactor.py"
PEER_SECONDS = 300.0
"""Longest wait for one answer of the peer, its start included."""
PHOTOGRAPH, PHOTOGRAPH_SIZE = "2008_001322.jpg", (1155, 866)
CONCURRENCY = (1, 2)
TOTAL = "total, as the caller sees it"


class Peer:
    """The peer's process: one picture at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def seconds(self, path: Path) -> float:
        """How long it took for a picture."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n".encode())
        await self._process.stdin.drain()
        return float((await self.answer())["seconds"])

    async def answer(self) -> dict[str, float]:
        """Its next line. Raises RuntimeError when it has died."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PEER_SECONDS)
        if not line:
            raise RuntimeError("the peer ended; run peer_redactor.py by hand to see why")
        found: dict[str, float] = json.loads(line)
        return found


@asynccontextmanager
async def running_peer(python: Path | None) -> AsyncIterator[Peer | None]:
    """The started peer, or None with the reason printed."""
    if python is None:
        print("peer skipped: no --peer-python (peer_redactor.py says how to make its environment)")
        yield None
        return
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(python), str(PEER), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        peer = Peer(process)
        await peer.answer()
        yield peer
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@dataclass(slots=True)
class Pass:
    """One way of running over all pictures: milliseconds by stage, and seconds of guard and peer by picture."""

    replicas: int
    concurrency: int
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[tuple[float, float]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    pictures: int = 0
    wall: float = 0.0

    def report(self) -> dict[str, object]:
        """Print the table; the same as JSON values."""
        rate = self.pictures / self.wall
        print(f"\n{self.replicas} replicas, {self.concurrency} at a time: {self.pictures} pictures", end=", ")
        print(f"{rate:.3f} a second, refused: {dict(self.refusals) or 'none'}")
        rows = {}
        for stage, values in self.stages.items():
            p50, p95 = (float(np.percentile(values, share)) for share in (50, 95))
            rows[stage] = {"n": len(values), "p50_ms": p50, "p95_ms": p95}
            print(f"  {stage:30} p50 {p50:8.0f} ms   p95 {p95:8.0f} ms   n={len(values)}")
        found: dict[str, object] = {"replicas": self.replicas, "concurrency": self.concurrency, "stages": rows}
        if self.pairs:
            peer = statistics.median(theirs for _, theirs in self.pairs)
            ratio = statistics.median(ours / theirs for ours, theirs in self.pairs)
            print(f"  {'peer':30} p50 {1000 * peer:8.0f} ms   guard / peer, median of {len(self.pairs)}: {ratio:.2f}")
            found |= {"peer_p50_ms": 1000 * peer, "guard_to_peer": ratio, "pairs": len(self.pairs)}
        return found | {"pictures": self.pictures, "refusals": dict(self.refusals), "per_second": rate}


async def timed(guard: Guard, content: bytes, policy: Policy, found: Pass) -> float:
    """Redact one picture; seconds. A refusal takes its time too and is counted."""
    began = time.perf_counter()
    try:
        redaction = await redacted(guard, content, policy)
    except GuardedVLMError as refusal:
        found.refusals[refusal.reason.value] += 1
        return time.perf_counter() - began
    seconds = time.perf_counter() - began
    for stage, milliseconds in redaction.times.items():
        found.stages[stage.value].append(milliseconds)
    found.stages[TOTAL].append(1000 * seconds)
    return seconds


def contents(paths: Sequence[Path]) -> list[bytes]:
    """The files' bytes."""
    return [path.read_bytes() for path in paths]


async def one_by_one(guard: Guard, paths: Sequence[Path], policy: Policy, found: Pass, peer: Peer | None) -> None:
    """All pictures in turn; with a peer, guard and peer take turns in being first."""
    for number, (path, content) in enumerate(zip(paths, contents(paths), strict=True)):
        began = time.perf_counter()
        theirs = await peer.seconds(path) if peer and number % 2 else 0.0
        waited = time.perf_counter() - began
        ours = await timed(guard, content, policy, found)
        found.wall += time.perf_counter() - began - waited
        if peer:
            found.pairs.append((ours, theirs or await peer.seconds(path)))


async def together(guard: Guard, paths: Sequence[Path], policy: Policy, found: Pass) -> None:
    """All pictures with `concurrency` requests under way."""
    queue = contents(paths[::-1])

    async def caller() -> None:
        while queue:
            await timed(guard, queue.pop(), policy, found)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(found.concurrency)))
    found.wall = time.perf_counter() - began


async def measure(options: argparse.Namespace, paths: Sequence[Path]) -> list[dict[str, object]]:
    """Every pass, each guard warmed with one picture."""
    policy, reports, first = find_policy(options.policy), [], contents(paths[:1])[0]
    for replicas in options.replicas:
        async with measured_guard(replicas) as guard:
            # Each replica allocates on its first picture.
            await asyncio.gather(*(timed(guard, first, policy, Pass(replicas, 1)) for _ in range(replicas)))
            for concurrency in CONCURRENCY:
                found = Pass(replicas, concurrency, pictures=len(paths))
                if concurrency > 1:
                    await together(guard, paths, policy, found)
                elif replicas > 1:
                    await one_by_one(guard, paths, policy, found, None)
                else:
                    async with running_peer(options.peer_python) as peer:
                        if peer:
                            await peer.seconds(paths[0])
                        await one_by_one(guard, paths, policy, found, peer)
                reports.append(found.report())
    return reports


def photograph(folder: Path) -> Path:
    """The photograph, enlarged to 1 MP, as a JPEG file."""
    path = folder / "photograph.jpg"
    with Image.open(DATA / "faces" / PHOTOGRAPH) as picture:
        picture.convert("RGB").resize(PHOTOGRAPH_SIZE, Image.Resampling.LANCZOS).save(path, quality=92)
    return path


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=12)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--policy", default="finance")
    parser.add_argument("--peer-python", type=Path, help="interpreter of the peer's virtual environment")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no labelled data at ../shared/data")
    with tempfile.TemporaryDirectory() as folder:
        receipts = sorted((DATA / "receipts" / "img").glob("*.jpg"))[: options.receipts]
        reports = asyncio.run(measure(options, [*receipts, photograph(Path(folder))]))
    if options.out:
        options.out.write_text(json.dumps({"command": sys.argv, "passes": reports}, indent=2) + "\n")


if __name__ == "__main__":
    main()
