"""Measure ExtractFields on real receipts, through the whole guard under the policy finance, with the embedded reader.

    .venv/bin/python tests/bench/bench_extract.py [--limit N] [--misses]

Receipts: ../shared/data/receipts, `--limit` of them spread evenly. Company: equal letters and digits, or one holds the
other. Date: the same day. Total: the same amount, to the cent. Address: finance hides it, so right is a label or a mask
with no word of the label's address in it. A receipt that is refused counts as wrong in each field.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from local_guard import DATA

from guardedvlm.audit.facts import Method
from guardedvlm.cli.settings import find_policy
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evaluation.session import measured_guard, request_of
from guardedvlm.evaluation.share import wilson
from guardedvlm.guard.outcome import Extraction
from guardedvlm.guard.screen.edits import LABEL
from guardedvlm.inference.reader.values import dates

RECEIPTS = DATA / "receipts"
SCHEMA = {
    "type": "object",
    "properties": {
        "company": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"]},
        "address": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
    },
    "required": ["company", "date", "address", "total"],
}
FIELDS = tuple(SCHEMA["properties"])


def run(text: str) -> str:
    """Letters and digits of a text, in capitals."""
    return re.sub(r"[\W_]", "", text).upper()


def is_right(name: str, value: Any, truth: Mapping[str, str]) -> bool:
    """Whether an extracted value is the labelled one, or for an address is hidden."""
    if value is None:
        return False
    if name == "total":
        return abs(Decimal(str(value)) - Decimal(re.sub(r"[^\d.]", "", truth[name]))) < Decimal("0.005")
    if name == "date":
        return {item.value for item in dates(value)} == {item.value for item in dates(truth[name])} != set()
    if name == "address":
        left = run(LABEL.sub(" ", value))
        return bool(LABEL.search(value)) and not any(
            run(word) in left for word in truth[name].split() if len(run(word)) > 3
        )
    told, labelled = run(value), run(truth[name])
    return len(told) > 3 and (told in labelled or labelled in told)


async def measure(limit: int, misses: bool) -> None:
    """Print one line a field."""
    paths = sorted((RECEIPTS / "img").iterdir())
    paths = paths[:: max(1, len(paths) // limit)][:limit] if limit else paths
    policy, fields = find_policy("finance"), parse_fields(json.dumps(SCHEMA))
    verdicts: dict[str, list[bool]] = {name: [] for name in FIELDS}
    grounded: list[bool] = []
    refused = 0
    async with measured_guard() as guard:
        for path in paths:
            truth = json.loads((RECEIPTS / "key" / f"{path.stem}.json").read_text())
            request = request_of(path.read_bytes(), policy, Method.EXTRACT_FIELDS, want_image=False)
            try:
                found: Extraction = await guard.pipeline.extract(request, fields, Sampling(policy.say.max_tokens))
            except GuardedVLMError as failure:
                refused += 1
                if misses:
                    print(f"{path.stem}: refused: {failure}", flush=True)
                for name in FIELDS:
                    verdicts[name].append(False)
                continue
            values = json.loads(found.answer.text)
            grounded += [field.grounded for field in found.fields if not field.hidden]
            for name in FIELDS:
                verdicts[name].append(is_right(name, values[name], truth))
                if misses and not verdicts[name][-1]:
                    print(f"{path.stem}: {name}: {values[name]!r}, labelled {truth[name]!r}", flush=True)
    for name, right in verdicts.items():
        print(f"{name:10} {wilson(sum(right), len(right))}")
    print(f"{'refused':10} {wilson(refused, len(paths))}")
    print(f"{'grounded':10} {wilson(sum(grounded), len(grounded))} of the values that are not hidden")


def main() -> None:
    """Ask, compare, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40, help="receipts; 0 = all")
    parser.add_argument("--misses", action="store_true", help="print each value that is not the labelled one")
    options = parser.parse_args()
    if not RECEIPTS.is_dir():
        raise SystemExit("skipped: no labelled receipts beside the repository")
    asyncio.run(measure(options.limit, options.misses))


if __name__ == "__main__":
    main()
