"""How the command line speaks: consoles, one-line errors, exit codes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.markup import escape

from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason
from guardedvlm.v1 import guard_pb2 as pb

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
    if isinstance(error, ConfigurationError) and error.reason not in _BY_REASON:
        return USAGE
    return exit_code_of(error.reason, error.code)


def exit_code_of(reason: Reason, code: str) -> int:
    """The exit code of a refusal that a table names by reason and code."""
    return _BY_REASON[reason] if reason in _BY_REASON else _BY_CODE[code]


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


def print_response(response: pb.Analysis | pb.ExtractFieldsResponse) -> None:
    """Print a response as JSON, without the redacted document: that goes into a file, with --redacted."""
    shown: dict[str, Any] = MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    shown["redaction"].pop("document", None)
    for page in shown["redaction"]["pages"]:
        del page["content"]
    out.print_json(json.dumps(shown))


def print_facts(response: pb.Analysis | pb.ExtractFieldsResponse) -> None:
    """Say on standard error what was hidden, in how many passes it was verified, which model answered and where the
    audit has it."""
    pages = response.redaction.pages
    hidden = counted(sum((Counter({item.kind: item.count for item in page.counts}) for page in pages), Counter()))
    most = max(page.verification.passes for page in pages)
    passes = f"{most} pass" + ("es" if most > 1 else "")
    told = f"hidden: {hidden}; verified in {passes}; model {escape(response.model)}; audit {response.audit_id}"
    err.print(f"[dim]{told}[/]")
