"""Which log a record goes to, and how long it stays: one log for each number of years that policies ask for.

The caller is known before a request's first record: the service refuses a call without identity before it is one, and
an identity has a policy. So a request is written from RECEIVED to its end into one log, the one of the policy that it
began with; a policy that is changed meanwhile counts from the next request on. `service` has what belongs to no tenant
(policies in force), and `pruning` what was removed and when; of both every record stays.
"""

from __future__ import annotations

import re

SERVICE, PRUNING = "service", "pruning"
DAYS_A_YEAR = 366
"""So that "6 years" are never shorter than the 2,192 days of a policy."""
_YEARS = re.compile(r"years-([1-9][0-9]{0,2})\Z")


def log_name(days: int) -> str:
    """Name of the log for records that must stay `days` days."""
    return f"years-{-(-days // DAYS_A_YEAR)}"


def days_kept(log: str) -> int | None:
    """How long records of the log stay; None for one whose records stay for good."""
    match = _YEARS.match(log)
    return int(match[1]) * DAYS_A_YEAR if match else None
