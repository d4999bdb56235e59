"""Recogniser of organisations by what their names end with; the statistical one misses those in capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View

_FORMS = (
    r"(?i:sdn\.? ?bhd|sdnbhd|bhd|inc|llc|llp|ltd|limited|gmbh|plc|corp|corporation|s\.a\.r\.l|sarl|s\.p\.a|b\.v|pty|"
    r"enterprise|trading|holdings)|AG|KG|S\.?A|S\.?L|Bank|BANK|Hospital|HOSPITAL|Clinic|CLINIC|"
    r"Medical (?:Center|Centre)|MEDICAL (?:CENTER|CENTRE)|Health System|University|UNIVERSITY|Pharmacy|PHARMACY|"
    r"Insurance|INSURANCE"
)
_ORGANIZATION = re.compile(
    rf"(?<!\w)(?:[A-ZÀ-Þ0-9][\w&.'()/-]{{0,30}} |& ){{1,6}}\(?(?:{_FORMS})\b\.?(?: ?\([^)\n]{{1,12}}\))?"
)


def organizations(view: View) -> Iterator[Span]:
    """Names before a legal form or a word for an institution; they begin with a capital."""
    for match in _ORGANIZATION.finditer(view.text):
        if not any(c.isalpha() for c in match[0].rsplit(" ", 1)[0]):
            continue  # "3 Insurance" is a heading
        yield view.span(*match.span(), Kind.ORGANIZATION, 0.6, "pattern/organization")
