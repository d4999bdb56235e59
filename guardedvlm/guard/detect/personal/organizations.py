"""Recogniser of organisations by what their names end with; the statistical one misses those in capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View

_FORMS = (
    r"sdn\.? ?bhd|sdnbhd|bhd|inc|llc|llp|ltd|limited|gmbh|ag|kg|plc|corp|corporation|s\.?a\.?r\.?l|s\.a|s\.l|s\.p\.a|b\.v|pty|"
    r"enterprise|trading|holdings|bank|hospital|clinic|medical center|medical centre|health system|university|pharmacy|insurance"
)
_ORGANIZATION = re.compile(
    rf"(?<!\w)(?:[A-ZÀ-Þ0-9][\w&.'()/-]* |& ?){{1,6}}\(?(?:{_FORMS})\b\.?(?: ?\([^)\n]{{1,12}}\))?", re.IGNORECASE
)


def organizations(view: View) -> Iterator[Span]:
    """Names before a legal form or a word for an institution; they begin with a capital."""
    for match in _ORGANIZATION.finditer(view.text):
        if match[0][0].isupper() or match[0][0].isdigit():
            yield view.span(*match.span(), Kind.ORGANIZATION, 0.6, "pattern/organization")
