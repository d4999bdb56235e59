"""The caller's place in its own trace: the W3C `traceparent` header, strictly read, and nothing else of the caller's.

`tracestate` and `baggage` hold free text and are never read. The ids are 24 bytes that a caller chooses. They must
stand in the ledger, since telemetry is made from it alone, and so the decision is:

  - Only what passes the standard's grammar is an id; version and flags are dropped.
  - Trace and span are replaced by keyed digests of themselves (`Traces.DERIVE`). The calls of one trace stay together,
    and nobody without the key learns what was written.
  - A site that trusts its callers with 24 bytes may have them taken as they are (`Traces.JOIN`), so that the spans join
    the caller's trace. Ids are random (W3C Trace Context, 3.2.2.3): one that reads as text or as a number of a card's
    length is not, and is replaced even then. What is shorter (an SSN), broken up or enciphered passes as random.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from enum import StrEnum

from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.facts import Facts
from guardedvlm.audit.random_id import may_hold_content

# Version 00 only (https://www.w3.org/TR/trace-context/): a later version may mean something else by the same fields.
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
TRACE_DIGITS, SPAN_DIGITS = 32, 16


class Traces(StrEnum):
    """What becomes of a caller's trace and span ids."""

    JOIN = "join"
    """Those that do not read as content are taken as they are, so that the spans join the caller's trace: what a caller
    hides in them reaches ledger and collector."""
    DERIVE = "derive"
    """All are replaced by keyed digests."""


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Trace and span of the caller; neither is zero."""

    trace_id: int
    span_id: int


def parse_traceparent(header: str | None) -> TraceParent | None:
    """The parent that `header` names, or None when there is none or it is not exactly of the standard's form."""
    found = _FORM.match(header or "")
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return TraceParent(trace_id, span_id) if trace_id and span_id else None


def trace_fact(parent: TraceParent | None, key: AuditKey, traces: Traces) -> Facts:
    """What the record says of the caller's trace: nothing without a parent, else its ids or digests of them."""
    if parent is None:
        return Facts()
    trace, span = f"{parent.trace_id:0{TRACE_DIGITS}x}", f"{parent.span_id:0{SPAN_DIGITS}x}"
    if traces is Traces.DERIVE or may_hold_content(trace) or may_hold_content(span):
        trace, span = _derived(key, TRACE_DIGITS, trace), _derived(key, SPAN_DIGITS, trace, span)
    return Facts(trace={"id": trace, "parent": span})  # type: ignore[typeddict-item]  # pydantic's hook is no key


def _derived(key: AuditKey, digits: int, *ids: str) -> str:
    """The first keyed digest that does not read as content by chance: the record would refuse it."""
    found = (key.digest(Purpose.TRACE, *ids, str(attempt))[:digits] for attempt in itertools.count())
    return next(one for one in found if one.strip("0") and not may_hold_content(one))
