"""Measure grounding on real receipts: wrong totals and dates that are caught, right ones that are kept.

    .venv/bin/python tests/bench/bench_grounding.py [--limit N] [--misses]

Receipts: ../shared/data/receipts, each read once by the guard's reader. The answers are sentences with the labelled
total or date, as printed and in other spellings, and the same sentences with a wrong one: a digit changed, two digits
swapped, a digit more or less, another day, month or year. A wrong value that the receipt prints somewhere (by its
labels) is no wrong value to grounding, and is left out. Right ones are counted where the reader read their digits. The
screen runs as in a request, with the shipped policy finance, but for the recognisers of personal data.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from guardedvlm.cli.settings import find_policy
from guardedvlm.core.finding import Span
from guardedvlm.evaluation.share import wilson
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding
from guardedvlm.inference.reader.values import dates
from guardedvlm.reading.ppocr import PageReader

RECEIPTS = Path(__file__).parents[3] / "shared" / "data" / "receipts"
POLICY = find_policy("finance")
SENTENCES = 3
"""That each value is put into; it counts once, and as kept or caught only where it is in all of them."""
WRONG_EACH = 12
"""Wrong values of each sort for each receipt."""


async def nothing_personal(text: str) -> tuple[Span, ...]:
    """No recogniser: what they hide is another figure."""
    return ()


def sentences(value: str) -> Iterator[str]:
    """Answers as models write them."""
    yield value
    yield f"The receipt shows {value}."
    yield f"It was {value}, according to the last line. Nothing else is said about it."


def amounts_as_written(value: Decimal) -> Iterator[str]:
    """A total in four spellings."""
    yield f"{value:,.2f}"
    yield f"{value:.2f}"
    yield f"{value:,.2f}".replace(",", " ").replace(".", ",")
    yield f"RM {value:,.2f}"


def days_as_written(day: date) -> Iterator[str]:
    """A date in five spellings."""
    yield f"{day:%d/%m/%Y}"
    yield day.isoformat()
    yield f"{day.day} {day:%B %Y}"
    yield f"{day:%B} {day.day}, {day.year}"
    yield f"{day:%d.%m.%y}"


def wrong_amounts(value: Decimal, chance: random.Random) -> Iterator[Decimal]:
    """Totals that are nearly right."""
    digits = f"{value:.2f}".replace(".", "")
    while True:
        at = chance.randrange(len(digits))
        other = [digits[:at] + chance.choice("0123456789") + digits[at + 1 :], digits + chance.choice("0123456789")]
        other += [digits[:at] + digits[at + 1 :], digits[: at + 1] + digits[at:]]
        if at:
            other.append(digits[: at - 1] + digits[at] + digits[at - 1] + digits[at + 1 :])
        candidate = Decimal(chance.choice(other) or "0") / 100
        if candidate != value and candidate > 1:
            yield candidate


def wrong_days(day: date, chance: random.Random) -> Iterator[date]:
    """Dates that are nearly right; not day and month swapped, which a page with 03/05/2024 says as well."""
    while True:
        candidate = day + timedelta(days=chance.choice([-365, -31, -10, -7, -2, -1, 1, 2, 5, 10, 30, 365, 3650]))
        if (candidate.day, candidate.month) != (day.month, day.day):
            yield candidate


def is_printed(candidate: Decimal | date, printed: str) -> bool:
    """Whether the labels have the value somewhere on the receipt, its digits in a row."""
    if isinstance(candidate, Decimal):
        digits = f"{candidate:.2f}".replace(".", "")
        return bool(re.search(rf"(?<!\d){digits}(?!\d)", re.sub(r"(?<=\d)[., ](?=\d)", "", printed)))
    return candidate in {found.value for found in dates(printed)}


class Receipt:
    """One receipt: its label, what the reader read, and what the labels say is printed."""

    def __init__(self, path: Path, reader: PageReader) -> None:
        lines = reader.read(np.asarray(Image.open(path).convert("RGB")))
        self.grounding = Grounding({0: [word for line in lines for word in line.words]})
        self.read = re.sub(r"\D", "", " ".join(line.text for line in lines).replace("O", "0"))
        box = path.parents[1] / "box" / f"{path.stem}.csv"
        self.printed = "\n".join(line.split(",", 8)[-1] for line in box.read_text(errors="replace").splitlines())
        key = json.loads((path.parents[1] / "key" / f"{path.stem}.json").read_text())
        self.total = Decimal(re.sub(r"[^\d.]", "", key["total"]))
        self.total_digits = re.sub(r"\D", "", key["total"])
        self.day = next((found.value for found in dates(key["date"])), None)
        self.day_digits = re.sub(r"\D", "", key["date"])

    async def released(self, draft: str) -> str:
        """What leaves of a draft about this receipt."""
        screen = AnswerScreen(POLICY, nothing_personal, DenySet(()), {}, (), self.grounding)
        return await screen.push(draft) + await screen.close()

    async def kept(self, value: str) -> int:
        """In how many of the sentences `value` leaves as it is."""
        return sum([await self.released(draft) == draft for draft in sentences(value)])


async def measure(limit: int, misses: bool) -> None:
    """Print one line a figure."""
    chance, reader = random.Random(7), PageReader()
    kept: dict[str, list[bool]] = {"right totals kept": [], "right dates kept": []}
    caught: dict[str, list[bool]] = {"wrong totals caught": [], "wrong dates caught": []}
    for path in sorted((RECEIPTS / "img").iterdir())[: limit or None]:
        receipt = Receipt(path, reader)
        right: list[tuple[str, list[str]]] = []
        if receipt.total_digits in receipt.read:
            right.append(("right totals kept", [*amounts_as_written(receipt.total)]))
        if receipt.day and receipt.day_digits in receipt.read:
            right.append(("right dates kept", [*days_as_written(receipt.day)]))
        for name, values in right:
            for value in values:
                kept[name].append(await receipt.kept(value) == SENTENCES)
                if misses and not kept[name][-1]:
                    print(f"{path.stem}: {name}: not {value}")
        for name, values in wrong(receipt, chance):
            for value in values:
                caught[name].append(await receipt.kept(value) == 0)
                if misses and not caught[name][-1]:
                    print(f"{path.stem}: {name}: not {value}")
    for name, verdicts in (kept | caught).items():
        print(f"{name:24} {wilson(sum(verdicts), len(verdicts))}")


def wrong(receipt: Receipt, chance: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Wrong values that the receipt prints nowhere, in a spelling drawn for each."""
    sorts = [("wrong totals caught", wrong_amounts(receipt.total, chance), amounts_as_written)]
    if receipt.day:
        sorts.append(("wrong dates caught", wrong_days(receipt.day, chance), days_as_written))
    for name, candidates, spellings in sorts:
        others = (candidate for candidate in candidates if not is_printed(candidate, receipt.printed))
        yield name, [chance.choice([*spellings(next(others))]) for _ in range(WRONG_EACH)]


def main() -> None:
    """Read, ask, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=0, help="receipts; 0 = all")
    parser.add_argument("--misses", action="store_true", help="print each answer that was decided wrongly")
    options = parser.parse_args()
    if not RECEIPTS.is_dir():
        raise SystemExit("skipped: no labelled receipts beside the repository")
    asyncio.run(measure(options.limit, options.misses))


if __name__ == "__main__":
    main()
