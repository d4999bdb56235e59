"""`guardedvlm policy replay`: what would a new policy have said of the requests that a ledger holds?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.audit.facts import Method
from guardedvlm.audit.record import Record
from guardedvlm.audit.summary import summarize
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli import options
from guardedvlm.cli.output import out
from guardedvlm.cli.policy.cases import policy_files
from guardedvlm.cli.settings import find_policy, signed_policy
from guardedvlm.core.lifecycle import State
from guardedvlm.policy.model import Policy
from guardedvlm.policy.replay import Past, Replayed, Verdict, counted
from guardedvlm.policy.replay import replay as replay_one
from guardedvlm.policy.shipped import default_policies

SHOWN = 20
"""Requests that are named."""


def replay(
    new: Annotated[str, typer.Argument(help="The policy that is to be: a name, a file or a folder.")],
    ledger: Annotated[Path, typer.Option("--ledger", help="The ledger's folder.", exists=True, file_okay=False)],
    old: Annotated[
        list[str] | None,
        typer.Option("--old", help="A policy, or folder of policies, that was in force; as often as needed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One request a line.")] = False,
    key: options.PolicyKey = None,
) -> None:
    """Say which past verdicts a policy would change, from the facts that the ledger holds; they hold no content.

    What these facts cannot decide is undecidable, never unchanged. Requests under policies of other names are left out.

    Example:

        guardedvlm policy replay healthcare.new.yaml --ledger site/ledger --old site/policies
    """
    policy = find_policy(new, key=key)
    known = _known(old or [str(default_policies())], key)
    replayed = [replay_one(one, known, policy) for one in past_requests(read_ledger(ledger), policy.name)]
    if as_json:
        for one in replayed:
            told = {"request": one.past.request, "verdict": one.verdict.value, "because": one.because}
            typer.echo(json.dumps(told))
        return
    for line in _lines(replayed):
        out.print(line, markup=False)


def past_requests(records: Iterable[Record], name: str) -> Iterator[Past]:
    """Every request of a ledger that ran under a policy of that name, or before it had one."""
    requests: dict[str, list[Record]] = {}
    for record in records:
        if record.request is not None:
            requests.setdefault(record.request, []).append(record)
    for request, some in requests.items():
        summary = summarize(some)
        used = summary.facts.get("policy")
        if summary.facts["method"] is Method.GET_POLICY or (used is not None and used["name"] != name):
            continue
        yield Past(
            request=request,
            policy=used["digest"] if used else "",
            asks=summary.asks,
            reached=frozenset(record.event for record in some if isinstance(record.event, State)),
            reason=summary.facts.get("reason"),
            facts=summary.facts,
        )


def _known(names: Iterable[str], key: Path | None) -> dict[str, Policy]:
    policies = [signed_policy(path, key) for name in names for path in policy_files(name)]
    return {policy.digest(): policy for policy in policies}


def _lines(replayed: list[Replayed]) -> Iterator[str]:
    yield f"{len(replayed)} requests: " + ", ".join(f"{count} {name}" for name, count in counted(replayed).items())
    for verdict in (Verdict.CHANGED, Verdict.UNDECIDABLE):
        some = [one for one in replayed if one.verdict is verdict]
        for path, count in Counter(path for one in some for path in one.because).most_common():
            why = {"policy": "the policy that was in force is not known (--old)", "unfinished": "it did not end"}
            yield f"{verdict}: {count} by {why.get(path, path)}"
        yield from (f"  {one.past.request}  {', '.join(one.because)}" for one in some[:SHOWN])
        if len(some) > SHOWN:
            yield f"  and {len(some) - SHOWN} more"
