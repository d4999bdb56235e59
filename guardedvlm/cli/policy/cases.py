"""`guardedvlm policy test | lint`: do policies do what their cases say, and is every rule exercised?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from guardedvlm.cli.output import REFUSED, USAGE, complain, err, out
from guardedvlm.cli.policy.bench import guard_bench
from guardedvlm.cli.settings import policy_file
from guardedvlm.policy.cases import Located, cases_of
from guardedvlm.policy.document import Document, require
from guardedvlm.policy.exercise import Report, run_cases
from guardedvlm.policy.lint import warnings
from guardedvlm.policy.load import FILE_NAME, examine_file
from guardedvlm.policy.model import Policy
from guardedvlm.policy.shipped import default_policies

Target = Annotated[
    str | None,
    typer.Argument(help="A policy's name, file or folder, or a folder of policies (default: those shipped)."),
]


def run(
    target: Target = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Run cases with pictures; each takes seconds.")
    ] = True,
    least: Annotated[int, typer.Option(min=0, max=100, help="Per cent of the rules that cases must exercise.")] = 100,
) -> None:
    """Run the cases of policies through the recognisers and screens that serve requests, and list rules without a case.

    Exit code 1 where a case fails or too few rules are exercised.

    Example:

        guardedvlm policy test healthcare
    """
    todo: list[tuple[Policy, list[Located]]] = []
    for path in policy_files(target):
        policy = require(examine_file(path)).value
        cases, problems = cases_of(path)
        for problem in problems:
            complain(problem)
        if problems:
            raise typer.Exit(USAGE)
        todo.append((policy, [case for case in cases if pictures or case.case.picture is None]))
    good = [_told(policy, report, least) for policy, report in asyncio.run(_run(todo))]
    if not all(good):
        raise typer.Exit(REFUSED)


def lint(
    target: Target = None, strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if any.")] = False
) -> None:
    """Warn of what is legal in a policy and probably not meant.

    Example:

        guardedvlm policy lint policies/ --strict
    """
    found = 0
    for path in policy_files(target):
        document: Document[Policy] = require(examine_file(path))
        for place, text in warnings(document, has_cases=bool(cases_of(path)[0])):
            found += 1
            out.print(f"{escape(str(place))}: {escape(text)}")
    out.print(f"{found} warnings")
    if found and strict:
        raise typer.Exit(REFUSED)


def policy_files(target: str | None) -> list[Path]:
    """The files of the policies that are meant. Raises ConfigurationError."""
    folder = Path(target) if target else default_policies()
    is_one = not folder.is_dir() or (folder / FILE_NAME).is_file()
    if not is_one and (files := sorted(folder.glob(f"*/{FILE_NAME}"))):
        return files
    return [policy_file(target or "")]


async def _run(todo: list[tuple[Policy, list[Located]]]) -> list[tuple[Policy, Report]]:
    async with guard_bench() as bench:
        with err.status("running cases"):
            return [(policy, await run_cases(policy, cases, bench)) for policy, cases in todo]


def _told(policy: Policy, report: Report, least: int) -> bool:
    """Print a report; whether it is good enough."""
    for line in _lines(policy, report):
        out.print(line, markup=False)
    done = len(report.rules) - len(report.unexercised)
    return not report.failed and 100 * done >= least * len(report.rules)


def _lines(policy: Policy, report: Report) -> Iterator[str]:
    for result in report.failed:
        yield from (f"{result.located.place}: {result.located.case.name}: {failure}" for failure in result.failures)
    done = len(report.rules) - len(report.unexercised)
    yield (
        f"{policy.name}: {len(report.results) - len(report.failed)} of {len(report.results)} cases passed, "
        f"{done} of {len(report.rules)} rules exercised"
    )
    yield from (f"{policy.name}: no case exercises {rule}" for rule in report.unexercised)
