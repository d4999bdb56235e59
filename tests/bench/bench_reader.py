"""Measure the embedded reader on real receipts: right totals, right dates, time of reading and of answering.

    .venv/bin/python tests/bench/bench_reader.py [--limit N] [--misses] [--policy finance]

Receipts: ../shared/data/receipts, as they are, or with --policy as the guard clears them under it; a refused receipt is
answered wrongly. An answer is right when the amount in it equals
the labelled one, and when the date in it is the labelled day. Times are wall clock on one thread, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from local_guard import raster_of, redacted

from guardedvlm.cli.settings import find_policy
from guardedvlm.core.region import Raster
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evaluation.session import measured_guard
from guardedvlm.evaluation.share import wilson
from guardedvlm.inference.reader.answering import Answering
from guardedvlm.inference.reader.values import amounts, dates
from guardedvlm.reading.embedding import Sentences
from guardedvlm.reading.ppocr import PageReader

RECEIPTS = Path(__file__).parents[3] / "shared" / "data" / "receipts"
TOTAL = ("What is the total?", "How much was paid in all?", "What is the final amount that the customer paid?")
DATE = ("What is the date of this receipt?", "When was it issued?", "On which day was this purchase made?")


async def rasters(paths: Sequence[Path], policy: str) -> AsyncIterator[Raster | None]:
    """What the engine gets of each receipt: RGB, upright; None for one that the guard refuses."""
    if not policy:
        for path in paths:
            yield np.asarray(Image.open(path).convert("RGB"))
        return
    async with measured_guard() as guard:
        for path in paths:
            try:
                found = await redacted(guard, path.read_bytes(), find_policy(policy))
            except GuardedVLMError as refusal:
                print(f"refused {path.stem}: {refusal.reason.value}")
                yield None
            else:
                yield raster_of(found.file.content)


def right_total(answer: str, key: dict[str, str]) -> bool:
    """Whether the first amount of the answer is the labelled one."""
    found, wanted = amounts(answer), amounts(key["total"])
    return bool(found and wanted) and found[0].value == wanted[0].value


def right_date(answer: str, key: dict[str, str]) -> bool:
    """Whether the first date of the answer is the labelled day."""
    found, wanted = dates(answer), dates(key["date"])
    return bool(found and wanted) and found[0].value == wanted[0].value


def percentiles(seconds: list[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, n={len(seconds)}"


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=0, help="receipts to read; 0 = all")
    parser.add_argument("--misses", action="store_true", help="print the number of each receipt that is missed")
    parser.add_argument("--policy", default="", help="name of a shipped policy: read what the guard clears under it")
    options = parser.parse_args()
    if not RECEIPTS.is_dir():
        raise SystemExit("skipped: no labelled receipts beside the repository")
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    """Ask every question about every receipt."""
    pages = sorted((RECEIPTS / "img").iterdir())[: options.limit or None]
    reader, answering = PageReader(), Answering(Sentences())
    hits = dict.fromkeys((*TOTAL, *DATE), 0)
    reading: list[float] = []
    replying: list[float] = []
    seen = rasters(pages, options.policy)
    for path in pages:
        raster = await anext(seen)
        key = json.loads((RECEIPTS / "key" / f"{path.stem}.json").read_text())
        if raster is None:
            continue
        start = time.perf_counter()
        lines = reader.read(raster)
        reading.append(time.perf_counter() - start)
        for question in hits:
            start = time.perf_counter()
            answer = answering.answer(lines, raster, question).text
            replying.append(time.perf_counter() - start)
            right = right_total(answer, key) if question in TOTAL else right_date(answer, key)
            hits[question] += right
            if options.misses and not right:
                print(f"missed {path.stem}: {question}")
    for question, count in hits.items():
        print(f"{question:52} {wilson(count, len(pages))}")
    await seen.aclose()
    print(f"{'reading a receipt':52} {percentiles(reading)}")
    print(f"{'answering a question about it':52} {percentiles(replying)}")


if __name__ == "__main__":
    main()
