"""Measure the whole guard: what it hides and what it leaves on real receipts and on rendered identity documents.

    .venv/bin/python tests/bench/bench_redaction.py [--receipts 12] [--documents 13] [--policy healthcare finance]
        [--misses] [--out FILE]

Receipts (../shared/data/receipts, labelled lines), under finance, which keeps dates, amounts and merchants:
  detected   a labelled line of whose box >= 50 % lies under regions that the reader found;
  visible    a word (its share of the labelled line's box, by its characters) of which < 50 % is filled. Address lines
             should not be; of the others the more the better, but a name or a telephone number among them should not.
Identity documents (id_documents.py), under each policy:
  hidden     a field of whose ink pixels >= 95 % are filled; of a photograph, of the face in it. Where the policy keeps
             the field's kind, or it has none, the share of fields that stay visible (< 5 % filled) is told instead.
A pixel is filled when it differs from the source's, or is black or white within a region that the guard reports.
A refused picture shows nothing: it is counted by its reason and not among the others. Shares with Wilson's 95 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from bench_personal import receipt, role
from id_documents import Document, Field, documents
from local_guard import DATA, bench_guard, png_of, raster_of, redacted
from wilson import Share, wilson

from guardedvlm.app import Guard
from guardedvlm.cli.local import find_policy
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Action, Region
from guardedvlm.core.region import Box, Raster
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard.redact.fills import paint
from guardedvlm.policy.model import Policy

DETECTED, WORD_FILLED, INK_FILLED, FIELD_SHOWN = 0.5, 0.5, 0.95, 0.05
READ_SECONDS = 60.0
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Tally:
    """Hits and misses by name, refusals by reason."""

    hits: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    refusals: Counter[str] = field(default_factory=Counter)
    pictures: int = 0

    def count(self, name: str, hit: bool) -> None:
        """One more of `name`."""
        self.hits[name].append(hit)

    def share(self, name: str) -> Share:
        """The share of hits."""
        return wilson(sum(self.hits[name]), len(self.hits[name]))

    def report(self, title: str) -> dict[str, object]:
        """Print the table; the same as JSON values."""
        print(f"\n{title}: {self.pictures} pictures, refused {wilson(self.refusals.total(), self.pictures)}", end=" ")
        print(dict(self.refusals) or "")
        for name in sorted(self.hits):
            print(f"  {name:42} {self.share(name)}")
        shares = {name: asdict(self.share(name)) for name in sorted(self.hits)}
        return {"pictures": self.pictures, "refusals": dict(self.refusals), "shares": shares}


def filled_mask(before: Raster, after: Raster, regions: Iterable[Region]) -> Mask:
    """(H, W): which pixels show nothing of the source."""
    reported = np.zeros(before.shape[:2], np.bool_)
    for region in regions:
        reported[region.box.y0 : region.box.y1, region.box.x0 : region.box.x1] = True
    constant = (after == 0).all(axis=2) | (after == 255).all(axis=2)
    changed: Mask = (before != after).any(axis=2)
    filled: Mask = changed | (reported & constant)
    return filled


def share_of(mask: Mask, box: Box) -> float:
    """The share of a box under a mask; 0 outside the picture."""
    part = mask[max(box.y0, 0) : box.y1, max(box.x0, 0) : box.x1]
    return float(part.mean()) if part.size else 0.0


# ---------------------------------------------------------------- receipts


async def measure_receipts(guard: Guard, names: Sequence[str], *, misses: bool) -> Tally:
    """The receipts of these names under finance."""
    policy, tally = find_policy("finance"), Tally()
    for name in names:
        content = (DATA / "receipts" / "img" / f"{name}.jpg").read_bytes()
        lines, _, _ = receipt(DATA / "receipts" / "box" / f"{name}.csv")
        key = json.loads((DATA / "receipts" / "key" / f"{name}.json").read_text())
        before = raster_of(content)
        regions = np.zeros(before.shape[:2], np.bool_)
        paint(regions, (line.quad for line in await guard.roles.read(before, Deadline.after(READ_SECONDS))))
        for line in lines:
            tally.count("lines detected", share_of(regions, line.box) >= DETECTED)
        tally.pictures += 1
        try:
            found = await redacted(guard, content, policy)
        except GuardedVLMError as refusal:
            tally.refusals[refusal.reason.value] += 1
            continue
        filled = filled_mask(before, raster_of(found.file.content), found.pages[0].regions)
        for line in lines:
            group = role(line.text, key)
            shown = [share_of(filled, word.box) < WORD_FILLED for word in line.words]
            for one in shown:
                tally.count(f"words visible, {group}", one)
                tally.count(f"words visible, {'personal' if group == 'address' else 'not personal'}", one)
            if misses and all(shown) == (group == "address"):
                kinds = sorted({r.kind for r in found.pages[0].regions if r.box.intersection(line.box)})
                print(f"  {name} {group} {'shown' if any(shown) else 'hidden'} {line.text!r} {kinds}")
    return tally


# ---------------------------------------------------------------- identity documents


async def measure_documents(guard: Guard, sides: Sequence[Document], policy: Policy, *, misses: bool) -> Tally:
    """The rendered sides under a policy."""
    tally = Tally()
    for side in sides:
        before = np.array(side.picture)
        tally.pictures += 1
        try:
            found = await redacted(guard, png_of(side.picture), policy)
        except GuardedVLMError as refusal:
            tally.refusals[refusal.reason.value] += 1
            if misses:
                print(f"  {policy.name} {side.template} {side.side} refused {refusal}")
            continue
        filled = filled_mask(before, raster_of(found.file.content), found.pages[0].regions)
        for one in side.fields:
            covered = ink_share(filled, one)
            if one.kind is None or policy.action(one.kind) is Action.KEEP:
                tally.count(f"stays visible, {one.name}", covered < FIELD_SHOWN)
                continue
            tally.count(f"hidden, {one.name}", covered >= INK_FILLED)
            tally.count("hidden, all that the policy hides", covered >= INK_FILLED)
            if misses and covered < INK_FILLED:
                print(f"  {policy.name} {side.template} {side.side} {one.name} {one.text!r} filled {covered:.2f}")
    return tally


def ink_share(filled: Mask, one: Field) -> float:
    """The share of a field's ink that is filled."""
    part = filled[one.box.y0 : one.box.y1, one.box.x0 : one.box.x1]
    return float(part[one.ink].mean())


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Everything that is asked for, in one guard."""
    names = sorted(path.stem for path in (DATA / "receipts" / "img").glob("*.jpg"))[: options.receipts]
    sides = list(documents(options.documents, options.seed))
    found: dict[str, object] = {"command": sys.argv, "seed": options.seed}
    async with bench_guard() as guard:
        if names:
            tally = await measure_receipts(guard, names, misses=options.misses)
            found["receipts under finance"] = tally.report("receipts under finance")
        for name in options.policy if sides else ():
            tally = await measure_documents(guard, sides, find_policy(name), misses=options.misses)
            found[f"identity documents under {name}"] = tally.report(f"identity documents under {name}")
            if tally.refusals[Reason.DETECTOR_FAILED.value] == len(sides):
                sys.exit("every picture failed: the guard itself is broken")
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=12)
    parser.add_argument("--documents", type=int, default=13, help="sides, of 13 that there are")
    parser.add_argument("--policy", nargs="+", default=["healthcare", "finance"], help="for the documents")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--misses", action="store_true", help="print what should be hidden or visible and is not")
    parser.add_argument("--out", type=Path, help="write the shares as JSON")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no labelled data at ../shared/data")
    found = asyncio.run(measure(options))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
