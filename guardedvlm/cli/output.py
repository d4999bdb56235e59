"""How the command line speaks: consoles, one-line errors, exit codes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

DONE, REFUSED, USAGE, INPUT, UNAVAILABLE, EVIDENCE, PERMISSION, INTERNAL = 0, 1, 2, 3, 4, 5, 6, 70
_BY_REASON = {
    Reason.LEDGER_BROKEN: EVIDENCE,
    Reason.RECEIPT_BROKEN: EVIDENCE,
    Reason.RECEIPT_MISSING: EVIDENCE,
    Reason.INPUT_UNREADABLE: INPUT,
}
_BY_CODE = {
    "INVALID_ARGUMENT": INPUT,
    "UNAUTHENTICATED": PERMISSION,
    "PERMISSION_DENIED": PERMISSION,
    "ALREADY_EXISTS": INPUT,
    "FAILED_PRECONDITION": REFUSED,
    "RESOURCE_EXHAUSTED": UNAVAILABLE,
    "DEADLINE_EXCEEDED": UNAVAILABLE,
    "UNAVAILABLE": UNAVAILABLE,
    "INTERNAL": INTERNAL,
}


def exit_code(error: GuardedVLMError) -> int:
    """The exit code of an error (see `guardedvlm.cli`)."""
    if error.reason in _BY_REASON:
        return _BY_REASON[error.reason]
    return USAGE if isinstance(error, ConfigurationError) else _BY_CODE[error.code]


def sentence(error: GuardedVLMError) -> str:
    """One line for the person at the terminal."""
    return error.for_operator() if isinstance(error, ConfigurationError) else str(error)


def complain(error: GuardedVLMError, about: str = "") -> None:
    """Print an error as one line on standard error. `about` is what the user typed."""
    lead = f"{escape(about)}: " if about else ""
    err.print(f"[bold red]error[/] {lead}{escape(sentence(error))}")


def counted(counts: Mapping[str, int]) -> str:
    """`FACE 1, PERSON 3` in the order of the counts, or `nothing`."""
    return (
        ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items(), key=lambda item: -item[1])) or "nothing"
    )
