"""What a tenant at ten times its share does to another's p95, through the guard's own gate.

    .venv/bin/python tests/bench/bench_fair.py [--receipts 16] [--pictures FOLDER] [--replicas 1] [--requests 4000]
        [--times FILE] [--live 0] [--work guard] [--out FILE]

First the service times: a real guard redacts the first receipts of ../shared/data, as many at the same time as its gate
lets in (or FILE, seconds as a JSON list, as an earlier run wrote them to --out). Then the gate itself (queue, tags,
limits: the product's code) gives turns to requests whose work is a pause of one of those times, on a clock that jumps
from event to event: Poisson arrivals, the measured tenant at a given part of its share, the others at the same part
(baseline) or one of them at ten times its share. A first-come first-served queue is run beside it for comparison. What
the pauses do not show: that requests at the same time slow each other down, which the times already hold, since they
were taken with all places busy.

With --live N the same two loads are put on the real guard, N requests of the measured tenant each, in turn. With --work
decode the work is the decoding of the picture in its worker process and nothing else: real processes, and much quicker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import selectors
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from local_guard import DATA

from guardedvlm.admission import Gate
from guardedvlm.admission.times import ServiceTimes
from guardedvlm.app import Guard
from guardedvlm.audit.facts import Method
from guardedvlm.cli.settings import find_policy
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.quota import TenantLimits
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import GuardedVLMError, Overloaded, Reason
from guardedvlm.evaluation.session import measured_guard, request_of
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode_in_worker, decode_worker_spec
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Policy
from guardedvlm.worker import WorkerPool

LIMITS = TenantLimits(concurrency=10_000, requests_per_second=1e6, megapixels_per_second=1e9, queue=64)
"""No rates: the turns are what is measured. The flood's own line is bounded as it is by default."""
ALLOWED = 1.2
"""And one residual service time."""


class _Jumping(selectors.SelectSelector):
    """A selector that does not wait: the loop's clock jumps instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


def jumping_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose time is that of its events."""
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    return loop


class _First:
    """What the gate is compared with: one line for all, in the order of arrival, as long as those of the gate."""

    def __init__(self, slots: int) -> None:
        self._places = asyncio.Semaphore(slots)
        self._waiting: Counter[str] = Counter()

    async def __call__(self, tenant: str, seconds: float) -> None:
        if self._waiting[tenant] > LIMITS.queue:
            raise Overloaded(Reason.QUEUE_FULL)
        self._waiting[tenant] += 1
        async with self._places:
            self._waiting[tenant] -= 1
            await asyncio.sleep(seconds)


async def load(
    rates: dict[str, float], requests: int, serve: Callable[[str], Awaitable[None]], seed: int
) -> list[float]:
    """Poisson arrivals of every tenant; latencies of the tenant "measured" until it has sent `requests`. A request that
    is refused because its tenant's line is full has no latency."""
    clock, seen, tasks = asyncio.get_running_loop().time, [], set()
    over = asyncio.Event()

    async def one(tenant: str) -> None:
        began = clock()
        try:
            await serve(tenant)
        except GuardedVLMError:
            return
        if tenant == "measured":
            seen.append(clock() - began)

    async def arrivals(tenant: str, rate: float) -> None:
        dice, sent = random.Random(f"{seed} {tenant}"), 0
        while not over.is_set():
            await asyncio.sleep(dice.expovariate(rate))
            task = asyncio.ensure_future(one(tenant))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
            if tenant == "measured" and sent == requests:
                over.set()

    sending = [asyncio.ensure_future(arrivals(*item)) for item in rates.items()]
    await over.wait()
    for task in sending:
        task.cancel()
    for task in list(tasks):
        task.cancel() if len(seen) >= 0.95 * requests else None
    await asyncio.gather(*tasks, *sending, return_exceptions=True)
    return seen


def simulated(times: Sequence[float], slots: int, rates: dict[str, float], requests: int, *, fair: bool) -> list[float]:
    """Latencies with pauses for work."""
    dice = random.Random(7)
    loop = jumping_loop()

    async def run() -> list[float]:
        gate, first = Gate(slots, queue=100_000, queue_mebibytes=10**6, clock=loop.time), _First(slots)

        async def serve(tenant: str) -> None:
            seconds = dice.choice(times)
            if not fair:
                return await first(tenant, seconds)
            place = gate.place(tenant, LIMITS)
            place.arrive(1)
            try:
                async with place.turn("RedactImage", Deadline.after(10**9)):
                    await asyncio.sleep(seconds)
            finally:
                place.close()
            return None

        return await load(rates, requests, serve, 11)

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


Serve = Callable[[str, bytes], Awaitable[None]]


async def measure(serve: Serve, contents: Sequence[bytes], slots: int) -> list[float]:
    """Service times with all places busy: from the turn to the end."""
    found: list[float] = []
    queue = list(contents)

    async def caller() -> None:
        while queue:
            content = queue.pop()
            began = time.perf_counter()
            await serve("measured", content)
            found.append(time.perf_counter() - began)

    await serve("measured", contents[0])
    await asyncio.gather(*(caller() for _ in range(slots)))
    return found


def redacting(guard: Guard, policy: Policy) -> Serve:
    """The whole guarded path."""

    async def redact(tenant: str, content: bytes) -> None:
        place = guard.gate.place(tenant, LIMITS)
        place.arrive(len(content))
        request = request_of(content, policy, Method.REDACT_IMAGE, want_image=True)
        caller = Caller(tenant, tenant, frozenset({Role.CALLER}))
        try:
            await guard.pipeline.redact(replace(request, caller=caller, deadline=Deadline.after(3_600), place=place))
        finally:
            place.close()

    return redact


def decoding(gate: Gate, pool: WorkerPool, policy: Policy) -> Serve:
    """Its first stage alone."""

    async def decode(tenant: str, content: bytes) -> None:
        place, deadline = gate.place(tenant, LIMITS), Deadline.after(3_600)
        place.arrive(len(content))
        try:
            async with place.turn(Method.REDACT_IMAGE, deadline):
                await decode_in_worker(pool, admit(RawImage(content), policy.limits), policy.limits, deadline)
        finally:
            place.close()

    return decode


@asynccontextmanager
async def working(options: argparse.Namespace, policy: Policy) -> AsyncIterator[tuple[Serve, Gate]]:
    """What serves, and its gate."""
    if options.work == "guard":
        async with measured_guard(options.replicas) as guard:
            yield redacting(guard, policy), guard.gate
        return
    pool = WorkerPool(decode_worker_spec(), options.replicas)
    await asyncio.to_thread(pool.start)
    try:
        gate = Gate(options.replicas)
        yield decoding(gate, pool, policy), gate
    finally:
        pool.stop()


def loads(capacity: float, tenants: int, part: float) -> tuple[dict[str, float], dict[str, float]]:
    """Requests a second by tenant: all at `part` of their share, and one of them at ten times its share."""
    share = capacity / tenants
    base = {"measured": part * share, **{f"other-{number}": part * share for number in range(1, tenants)}}
    return base, {**base, "other-1": 10 * share}


def residual_of(times: Sequence[float]) -> float:
    """What is left of a service time, on average, when somebody comes (Cox 1962)."""
    return statistics.fmean(value * value for value in times) / (2 * statistics.fmean(times))


def percentile(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def row(name: str, before: list[float], after: list[float], residual: float) -> dict[str, object]:
    """Print one comparison; the same as JSON values."""
    low, high = percentile(before), percentile(after)
    bound = ALLOWED * low + residual
    verdict = "within" if high <= bound else "BEYOND"
    print(
        f"{name:44} n={len(before)}, {len(after)}   p95 {low:7.2f} s -> {high:7.2f} s   "
        f"({verdict} 1.2 x + residual = {bound:.2f} s)"
    )
    return {"name": name, "n": [len(before), len(after)], "p95": [low, high], "bound": bound, "within": high <= bound}


def compare(times: Sequence[float], slots: int, requests: int) -> list[dict[str, object]]:
    """Every simulated load, fair and first come first served."""
    mean, residual = statistics.fmean(times), residual_of(times)
    print(f"service time: mean {mean:.2f} s, p95 {percentile(times):.2f} s, residual {residual:.2f} s, n={len(times)}")
    rows = []
    for tenants, part in ((2, 0.3), (2, 0.5), (2, 0.8), (4, 0.3), (4, 0.8)):
        base, flood = loads(slots / mean, tenants, part)
        for fair in (True, False):
            how = "gate" if fair else "first come first served"
            found = [simulated(times, slots, rates, requests, fair=fair) for rates in (base, flood)]
            rows.append(row(f"{tenants} tenants at {part:.0%} of their share, {how}", *found, residual))
    return rows


async def live(serve: Serve, gate: Gate, contents: Sequence[bytes], times: list[float], requests: int) -> object:
    """Both loads on real processes, in turn. Latencies are told in service times of their own load, too: a machine that
    others use is slower the more is asked of it."""
    base, flood = loads(gate.turns.slots / statistics.fmean(times), 2, 0.5)
    found: list[list[float]] = [[], []]
    took: list[list[float]] = [[], []]
    for turn in range(4):
        for seen, spent, rates in zip(found, took, (base, flood), strict=True):
            gate.times, dice = ServiceTimes(keep_seconds=float("inf")), random.Random(turn)
            one = lambda tenant, dice=dice: serve(tenant, dice.choice(contents))  # noqa: E731
            seen += await load(rates, requests // 4, one, turn)
            spent += gate.times.seconds(Method.REDACT_IMAGE)
    told = row("2 tenants at 50%, real processes", *found, residual_of(took[1]))
    means = [statistics.fmean(spent) for spent in took]
    print(f"service time in the two loads: mean {means[0]:.2f} s and {means[1]:.2f} s")
    ratios = [[value / mean for value in seen] for seen, mean in zip(found, means, strict=True)]
    in_means = [value / means[1] for value in took[1]]
    return [told, row("the same, in mean service times of the load", *ratios, residual_of(in_means))]


async def real(options: argparse.Namespace) -> tuple[list[float], int, object]:
    policy = find_policy(options.policy)
    contents = [path.read_bytes() for path in sorted(options.pictures.glob("*.jpg"))[: options.receipts]]
    async with working(options, policy) as (serve, gate):
        times = await measure(serve, contents, gate.turns.slots)
        told = await live(serve, gate, contents, times, options.live) if options.live else None
        return times, gate.turns.slots, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=16)
    parser.add_argument("--pictures", type=Path, default=DATA / "receipts" / "img")
    parser.add_argument("--work", choices=("guard", "decode"), default="guard")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--live", type=int, default=0)
    parser.add_argument("--policy", default="finance")
    parser.add_argument("--times", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    told: object = None
    if options.times:
        times, slots = json.loads(options.times.read_text())["times"], 2 * options.replicas
    else:
        times, slots, told = asyncio.run(real(options))
    report = {"times": times, "slots": slots, "live": told, "loads": compare(times, slots, options.requests)}
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
