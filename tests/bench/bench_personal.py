"""Measure personal data in text: recall and precision on labelled sentences, and what is hidden on real receipts.

    .venv/bin/python tests/bench/bench_personal.py [--misses]

Sentences: ../shared/data/text_pii (presidio-research, synthetic). A span counts as found when every one of its letters
and digits lies in a span of ours that a policy can hide; "right kind" when one of these has the kind that it maps to.
Receipts: ../shared/data/receipts, the labelled lines (text and boxes, no OCR in between).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.region import Box, Quad
from guardedvlm.core.word import TextLine, Word
from guardedvlm.evaluation.samples import role_of
from guardedvlm.evaluation.share import wilson
from guardedvlm.guard.detect.personal import PersonalData

DATA = Path(__file__).parents[3] / "shared" / "data"
KINDS: dict[str, frozenset[Kind]] = {
    "PERSON": frozenset({Kind.PERSON}),
    "STREET_ADDRESS": frozenset({Kind.ADDRESS}),
    "GPE": frozenset({Kind.ADDRESS}),
    "ZIP_CODE": frozenset({Kind.ADDRESS}),
    "ORGANIZATION": frozenset({Kind.ORGANIZATION}),
    "CREDIT_CARD": frozenset({Kind.PAYMENT_CARD}),
    "PHONE_NUMBER": frozenset({Kind.PHONE}),
    "AGE": frozenset({Kind.AGE}),
    "EMAIL_ADDRESS": frozenset({Kind.EMAIL}),
    "DOMAIN_NAME": frozenset({Kind.URL}),
    "IBAN_CODE": frozenset({Kind.IBAN}),
    "US_SSN": frozenset({Kind.SSN}),
    "IP_ADDRESS": frozenset({Kind.IP_ADDRESS}),
    "US_DRIVER_LICENSE": frozenset({Kind.LICENSE}),
    "DATE_TIME": frozenset({Kind.DATE, Kind.DATE_OF_BIRTH}),
}
"""Types of the data that have a kind. TITLE, NRP (nationalities) and DATE_TIME without a day or month have none."""
NO_KIND = frozenset({Kind.AMOUNT})
"""Kinds that no type of the data stands for; ours of these kinds are left out of the precision."""
FULL_DATE = 6
"""Characters from which on a DATE_TIME is finer than a year ("1977", "Tuesday" are none of ours)."""


def covers(spans: tuple[Span, ...], start: int, end: int, text: str) -> bool:
    """Whether every letter and digit of [start, end) lies in one of `spans`."""
    return all(any(s.start <= i < s.end for s in spans) for i in range(start, end) if text[i].isalnum())


def is_ours(gold: dict[str, object]) -> bool:
    """Whether the labelled span is of a type that has a kind here."""
    name, value = str(gold["entity_type"]), str(gold["entity_value"])
    return name in KINDS and (name != "DATE_TIME" or (len(value) >= FULL_DATE and any(c.isdigit() for c in value)))


def sentences(detector: PersonalData, *, misses: bool) -> None:
    """Recall by type and precision on the sentences."""
    data = json.loads((DATA / "text_pii" / "synthetic_500.json").read_text())
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    right: dict[Kind, list[bool]] = defaultdict(list)
    begun, length = time.process_time(), 0
    for row in data:
        text = row["full_text"]
        spans = detector.spans(text, languages=("en", "de", "fr", "es"))
        length += len(text)
        for gold in row["spans"]:
            if is_ours(gold):
                start, end, kinds = gold["start_position"], gold["end_position"], KINDS[gold["entity_type"]]
                same = any(s.kind in kinds and s.start < end and start < s.end for s in spans)
                found[gold["entity_type"]].append((covers(spans, start, end, text), same))
                if misses and not found[gold["entity_type"]][-1][0]:
                    print("  missed", gold["entity_type"], repr(gold["entity_value"]), "in", repr(text[:160]))
        for span in spans:
            hit = any(g["start_position"] < span.end and span.start < g["end_position"] for g in row["spans"])
            right[span.kind].append(hit)
            if misses and not hit and span.kind not in NO_KIND:
                print("  extra", span.kind, repr(text[span.start : span.end]), span.recognizer, repr(text[:120]))
    seconds = time.process_time() - begun
    print(f"sentences: {len(data)}, {length} characters, {1000 * seconds / length * 1024:.0f} cpu-ms a KB")
    for name, results in sorted(found.items()):
        print(f"  {name:18} hidden {wilson(sum(r[0] for r in results), len(results))}", end="  ")
        print(f"right kind {wilson(sum(r[1] for r in results), len(results))}")
    every = [r for results in found.values() for r in results]
    print(f"  {'all':18} hidden {wilson(sum(r[0] for r in every), len(every))}")
    for kind, hits in sorted(right.items()):
        print(f"  precision {kind:18} {wilson(sum(hits), len(hits))}")
    ours = [hit for kind, hits in right.items() if kind not in NO_KIND for hit in hits]
    print(f"  precision {'all':18} {wilson(sum(ours), len(ours))}")


def receipt(path: Path) -> tuple[list[TextLine], int, int]:
    """The labelled lines of a receipt as if they had been read, and its size."""
    lines = []
    for row in csv.reader(path.read_text(errors="replace").splitlines()):
        numbers, text = [int(v) for v in row[:8]], ",".join(row[8:]).strip()
        quad: Quad = (
            (numbers[0], numbers[1]),
            (numbers[2], numbers[3]),
            (numbers[4], numbers[5]),
            (numbers[6], numbers[7]),
        )
        if text:
            lines.append(TextLine(Box.around(quad), quad, text, 1.0, words_of(text, Box.around(quad))))
    return lines, max(line.box.x1 for line in lines), max(line.box.y1 for line in lines)


def words_of(text: str, box: Box) -> tuple[Word, ...]:
    """Words of `text` with boxes in proportion to their characters."""
    words, at = [], 0
    for part in text.split():
        start = text.index(part, at)
        at = start + len(part)
        left = box.x0 + box.width * start // len(text)
        words.append(Word(part, Box(left, box.y0, max(left + 1, box.x0 + box.width * at // len(text)), box.y1)))
    return tuple(words)


def hidden_share(line: TextLine, findings: tuple[Finding, ...]) -> float:
    """Share of the line's box under findings (they do not overlap much on one line)."""
    columns = set()
    for finding in findings:
        common = finding.box.intersection(line.box)
        if common is not None and common.height >= line.box.height / 2:
            columns.update(range(common.x0, common.x1))
    return len(columns) / line.box.width


def receipts(detector: PersonalData, *, misses: bool) -> None:
    """Which labelled lines are hidden when dates, amounts and organisations are kept: the address should be."""
    kept = {Kind.AMOUNT, Kind.DATE, Kind.ORGANIZATION}
    outcome: dict[str, list[bool]] = defaultdict(list)
    by_kind: dict[Kind, int] = defaultdict(int)
    begun, pages = time.process_time(), 0
    for path in sorted((DATA / "receipts" / "box").glob("*.csv")):
        key = json.loads((DATA / "receipts" / "key" / f"{path.stem}.json").read_text())
        lines, width, height = receipt(path)
        pages += 1
        findings = detector.page(lines, width=width, height=height)
        hiding = tuple(f for f in findings if f.kind not in kept)
        for line in lines:
            group = role_of(line.text, key)
            hidden = hidden_share(line, hiding) > 0.5 if group == "address" else hidden_share(line, hiding) > 0.0
            outcome[group].append(hidden)
            if group == "other" and hidden:
                kinds = {f.kind for f in hiding if f.box.intersection(line.box)}
                for kind in kinds:
                    by_kind[kind] += 1
            if misses and hidden != (group == "address") and group != "company":
                names = {f"{f.detector}:{f.secret}" for f in hiding if f.box.intersection(line.box)}
                print("  ", group, "hidden" if hidden else "visible", repr(line.text), sorted(names))
    print(f"receipts: {pages}, {1000 * (time.process_time() - begun) / pages:.0f} cpu-ms a page")
    for group, hits in sorted(outcome.items()):
        print(f"  {group:8} hidden {wilson(sum(hits), len(hits))}")
    print("  other lines hidden by kind:", dict(sorted(by_kind.items(), key=lambda item: -item[1])))


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true", help="print what was missed and what was hidden needlessly")
    parser.add_argument("--only", choices=("sentences", "receipts"))
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no labelled data at ../shared/data")
    detector = PersonalData()
    if arguments.only != "receipts":
        sentences(detector, misses=arguments.misses)
    if arguments.only != "sentences":
        receipts(detector, misses=arguments.misses)


if __name__ == "__main__":
    main()
