"""`guardedvlm policy shadow-report`: a candidate policy beside the one in force, on requests that both have seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from guardedvlm.audit.facts import Judged, Shadow, Verdict
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli.output import out

SHOWN = 20
"""Requests that are named."""


@dataclass(slots=True)
class Comparison:
    """One candidate against one policy in force."""

    name: str
    policy: str
    candidate: str
    trials: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (said, would say)
    unjudged: int = 0  # the request ended before the candidate had seen all
    kinds: Counter[str] = field(default_factory=Counter)  # findings more (or fewer) that would be hidden
    differing: list[str] = field(default_factory=list)
    milliseconds: list[int] = field(default_factory=list)

    def add(self, shadow: Shadow) -> None:
        """Count one trial."""
        self.trials += 1
        self.milliseconds.append(shadow["milliseconds"])
        if "failure" in shadow:
            self.failures[shadow["failure"].value] += 1
            return
        said, would_say = shadow["said"], shadow["would_say"]
        if not would_say["complete"]:
            self.unjudged += 1
            return
        self.verdicts[_named(said), _named(would_say)] += 1
        hidden = Counter(would_say["hidden"])
        if said["complete"] and "reason" not in would_say:
            hidden.subtract(Counter(said["hidden"]))
            self.kinds.update({kind.value: count for kind, count in hidden.items() if count})
        else:
            hidden.clear()
        if _named(said) != _named(would_say) or any(hidden.values()):
            self.differing.append(shadow["of"])


def shadow_report(
    ledger: Annotated[Path, typer.Argument(help="The ledger's folder.", exists=True, file_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare what candidate policies would have said with what was said, from a ledger's records.

    A candidate that failed, or had not seen all when a request ended, is counted apart.

    Example:

        guardedvlm policy shadow-report site/ledger
    """
    found = compared(one.facts["shadow"] for one in read_ledger(ledger) if one.event is LedgerEvent.SHADOWED)
    if as_json:
        out.print_json(json.dumps([_facts(one) for one in found]))
        return
    if not found:
        out.print("no candidate was tried")
    for one in found:
        for line in _lines(one):
            out.print(line, markup=False)


def compared(shadows: Iterable[Shadow]) -> list[Comparison]:
    """One comparison for each pair of policies, in the order of the ledger."""
    found: dict[tuple[str, str], Comparison] = {}
    for shadow in shadows:
        pair = shadow["policy"]["digest"], shadow["candidate"]["digest"]
        found.setdefault(pair, Comparison(shadow["policy"]["name"], *pair)).add(shadow)
    return list(found.values())


def _named(judged: Judged) -> str:
    """allow, modify, or the reason of a refusal."""
    return judged["reason"].value if judged["verdict"] is Verdict.DENY and "reason" in judged else judged["verdict"]


def _facts(one: Comparison) -> dict[str, Any]:
    return {
        "name": one.name,
        "policy": one.policy,
        "candidate": one.candidate,
        "trials": one.trials,
        "failures": dict(one.failures),
        "unjudged": one.unjudged,
        "verdicts": [{"said": s, "would_say": w, "requests": n} for (s, w), n in sorted(one.verdicts.items())],
        "hidden": dict(sorted(one.kinds.items())),
        "differing": one.differing,
        "longest_ms": max(one.milliseconds, default=0),
    }


def _lines(one: Comparison) -> Iterator[str]:
    failed = sum(one.failures.values())
    yield f"{one.name}: {one.candidate[:12]} beside {one.policy[:12]}, {one.trials} requests"
    yield f"  same {sum(n for (s, w), n in one.verdicts.items() if s == w)}, " + (
        f"different {sum(n for (s, w), n in one.verdicts.items() if s != w)}, "
        f"not judged to the end {one.unjudged}, failed {failed}, longest {max(one.milliseconds, default=0)} ms"
    )
    for (said, would_say), count in sorted(one.verdicts.items()):
        if said != would_say:
            yield f"  {count} x {said} -> {would_say}"
    yield from (f"  failed {count} x {reason}" for reason, count in sorted(one.failures.items()))
    yield from (f"  {kind} {count:+d} hidden" for kind, count in sorted(one.kinds.items()))
    yield from (f"  {request}" for request in one.differing[:SHOWN])
    if len(one.differing) > SHOWN:
        yield f"  and {len(one.differing) - SHOWN} more"
