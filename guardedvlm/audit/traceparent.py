"""The caller's place in its own trace: the W3C `traceparent` header, strictly read, and nothing else of the caller's.

`tracestate` and `baggage` hold free text and are never read. The ids are 24 bytes that a caller chooses, so they go
into span contexts, where a trace needs them, and nowhere else: not into the ledger, not into an attribute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Version 00 only (https://www.w3.org/TR/trace-context/): a later version may mean something else by the same fields.
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")


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
