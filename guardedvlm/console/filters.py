"""What a reviewer may ask the index for: a closed set of filters, read from a query string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from guardedvlm.audit.facts import Method
from guardedvlm.console.fold import UNFINISHED
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import FINAL
from guardedvlm.errors import Reason

OUTCOMES = (*sorted(state.value for state in FINAL), UNFINISHED)
DIGITS = {"request": 32, "tenant": 32, "policy": 64}
"""Hex digits of the whole; a search may give the first ones."""
PAGE = 50
"""Requests of one page."""
_HEX = re.compile(r"[0-9a-f]{1,64}")
_AFTER = re.compile(r"([0-9]{1,15})\.([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Filters:
    """One search; "" and None ask for nothing. `tenant`, `policy` and `request` are beginnings in hex, `since` and
    `until` (exclusive) milliseconds, `before` the last row of the page before this one."""

    since: int | None = None
    until: int | None = None
    request: str = ""
    tenant: str = ""
    policy: str = ""
    outcome: str = ""
    reason: str = ""
    kind: str = ""
    method: str = ""
    before: tuple[int, int] | None = None
    wrong: tuple[str, ...] = ()
    """Names of fields that could not be understood; they filter nothing, and the page says so."""

    def query(self, **changed: object) -> str:
        """This search as a query string, without the page."""
        values = {
            "from": _written(self.since),
            "to": _written(self.until),
            **{name: getattr(self, name) for name in ("request", "tenant", "policy", *CHOICES)},
            **changed,
        }
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def written_since(self) -> str:
        """`since` as a form field writes it."""
        return _written(self.since)

    @property
    def written_until(self) -> str:
        """`until` as a form field writes it."""
        return _written(self.until)

    @property
    def by_kind(self) -> bool:
        """Whether a kind is the rarest thing that is asked for."""
        return bool(self.kind) and not self.reason and not self.request

    @property
    def narrowed(self) -> bool:
        """Whether anything is asked for."""
        return replace(self, before=None, wrong=()) != Filters()


CHOICES: Mapping[str, frozenset[str]] = {
    "outcome": frozenset(OUTCOMES),
    "reason": frozenset(reason.value for reason in Reason),
    "kind": frozenset(kind.value for kind in Kind),
    "method": frozenset(method.value for method in Method),
}


def read_filters(query: Mapping[str, str]) -> Filters:
    """The search that a query string asks for. Raises nothing."""
    wrong: list[str] = []
    values: dict[str, str] = {}
    for name, known in CHOICES.items():
        value = query.get(name, "")
        values[name] = value if value in known else ""
        if value and value not in known:
            wrong.append(name)
    for name in DIGITS:
        value = query.get(name, "").strip().lower()
        values[name] = value if _HEX.fullmatch(value) else ""
        if value and not values[name]:
            wrong.append(name)
    times = {name: _time(query.get(name, ""), wrong, name) for name in ("from", "to")}
    after = _AFTER.fullmatch(query.get("before", ""))
    before = (int(after[1]), int(after[2])) if after else None
    return Filters(since=times["from"], until=times["to"], before=before, wrong=tuple(wrong), **values)


def _time(text: str, wrong: list[str], name: str) -> int | None:
    """A date or a time without zone is UTC, as in the ledger."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        at = int(when.astimezone(UTC).timestamp() * 1000)
        _written(at)  # an offset, or rounding, can lead out of the calendar
        return at
    except (ValueError, OverflowError):
        wrong.append(name)
        return None


def _written(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
