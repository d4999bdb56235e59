"""The table of errors in docs/developer.md: every reason that a caller may meet, the codes that the product's own code
raises it with, and what to do.

    PYTHONPATH=. .venv/bin/python tests/errors_table.py      # writes it into docs/developer.md
"""

import ast
from collections import defaultdict
from pathlib import Path

from guardedvlm import errors
from guardedvlm.errors import SENTENCES, GuardedVLMError, Overloaded, Reason, Unavailable
from guardedvlm.transport.status import NO_RETRY

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "developer.md"
BEGIN, END = "<!-- errors: begin -->\n", "<!-- errors: end -->\n"
TREE = (cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, GuardedVLMError))
CLASSES = {cls.__name__: cls for cls in TREE}
APART = ("cli/", "console/", "playground/", "evaluation/", "audit/review/", "audit/report/", "audit/otlp", "batch")
"""Commands and pages of their own, which no caller of the service meets."""
BY_OTHERS = {Reason.DOCUMENT_ENCRYPTED: {"InvalidInput"}, Reason.SERVICE_UNAVAILABLE: {"Unavailable"}}
"""Raised where the scan does not see it: a reason is named here, and a class put around it there."""
NOT_MET = {Reason.COLLECTOR_UNAVAILABLE, Reason.INPUT_UNREADABLE, Reason.POSITIONS_UNKNOWN, Reason.IMAGE_TOKENS}
"""Of the exporter, and of the model's own checks of what the engine hands it."""
CLIENTS = {Reason.RECEIPT_MISSING, Reason.RECEIPT_BROKEN}
"""Raised by the client itself about a response."""


def raised():
    """Reason -> names of the classes that are made with it anywhere in the package."""
    found = defaultdict(set)
    package = ROOT / "guardedvlm"
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).as_posix().startswith(APART):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and getattr(node.func, "id", "") in CLASSES:
                for inner in ast.walk(node.args[0]):
                    if isinstance(inner, ast.Attribute) and getattr(inner.value, "id", "") == "Reason":
                        found[inner.attr].add(node.func.id)
    return found


def advice(reason, classes):
    """What a caller may do."""
    codes = {cls.code for cls in classes}
    if reason in CLIENTS:
        return "do not use the response; tell the operator"
    if any(issubclass(cls, Unavailable | Overloaded) for cls in classes) and reason not in NO_RETRY:
        return "wait `retry_after`, then again" + (" (the client does)" if "UNAVAILABLE" in codes else "")
    if "DEADLINE_EXCEEDED" in codes:
        return "again with more time, or fewer pages"
    if codes & {"INVALID_ARGUMENT", "ALREADY_EXISTS"} or reason.name.startswith("QUESTION_"):
        return "change the request"
    if codes & {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return "ask the operator for access"
    if codes == {"INTERNAL"} or not codes:
        return "report it, with `audit_id`"
    return "the same request is refused again"


def table():
    """The lines of the table."""
    found = raised()
    assert not BY_OTHERS.keys() & {Reason[name] for name in found}
    lines = ["| reason | code | meaning | what to do |", "|---|---|---|---|"]
    for reason in Reason:
        names = found[reason.name] | BY_OTHERS.get(reason, set())
        classes = {CLASSES[name] for name in names} - {errors.ConfigurationError}
        if not classes or reason in NOT_MET:
            continue  # of settings, files and checkpoints: no caller of the service meets it
        codes = ", ".join(sorted({cls.code for cls in classes}))
        lines.append(f"| {reason} | {codes} | {SENTENCES[reason]} | {advice(reason, classes)} |")
    return "\n".join(lines) + "\n"


def page_with(made):
    """The page with this table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + made + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
