"""Residual risk: how many of the randomly drawn pictures that a reviewer looked at showed what should be hidden.

Random samples and low-margin ones are counted apart: the second are drawn where a leak is likeliest, and say nothing of
the rest. A sample counts once, as leaked if anybody said so. A row with fewer than `LEAST` reviewed samples is
suppressed: in a cell that small a count can tell whose picture it was; and so is the total of all tenants where such a
row could be told from what the others leave of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.reviewed import Basis, Marked, ReviewVerdict
from guardedvlm.core.finding import Kind
from guardedvlm.core.share import Share, wilson

LEAST = 5
"""Reviewed samples of a row that is shown (k-anonymity's k)."""


@dataclass(frozen=True, slots=True)
class Row:
    """Leaked of reviewed samples, of one tenant and one kind. `share` is None where the row is suppressed; then the
    number that were reviewed is not told either."""

    tenant: str  # pseudonym, "" = all tenants
    kind: Kind | None  # None = of any kind
    basis: Basis
    share: Share | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as all its marks together say."""

    tenant: str
    basis: Basis
    leaked: frozenset[Kind]
    over_redacted: frozenset[Kind]


def reviewed_samples(marks: Iterable[Marked]) -> tuple[Sample, ...]:
    """Samples with a mark, each once, in the order of their first marks."""
    by_sample: dict[str, list[Marked]] = {}
    for mark in marks:
        by_sample.setdefault(mark["sample"], []).append(mark)
    return tuple(
        Sample(
            some[0]["tenant"],
            some[0]["basis"],
            _kinds(some, ReviewVerdict.LEAKED),
            _kinds(some, ReviewVerdict.OVER_REDACTED),
        )
        for some in by_sample.values()
    )


def residual_risk(samples: Iterable[Sample]) -> tuple[Row, ...]:
    """Rows of all tenants together and of each, of any kind and of each kind that leaked, by basis."""
    some = tuple(samples)
    return tuple(row for basis in Basis for row in _rows([one for one in some if one.basis is basis], basis))


def marks_of(records: Iterable[Record]) -> Iterator[Marked]:
    """The marks among a ledger's records."""
    return (record.facts["marked"] for record in records if record.event is LedgerEvent.MARKED)


def _rows(samples: list[Sample], basis: Basis) -> Iterator[Row]:
    sizes = Counter(one.tenant for one in samples)
    hidden = sum(n for n in sizes.values() if n < LEAST)
    if samples:
        # What the shown rows leave of the total is a cell, too.
        yield from _rows_of("", samples, basis, is_shown=not 0 < hidden < LEAST)
    for tenant in sorted(sizes):
        of_tenant = [one for one in samples if one.tenant == tenant]
        yield from _rows_of(tenant, of_tenant, basis, is_shown=True)


def _rows_of(tenant: str, samples: list[Sample], basis: Basis, *, is_shown: bool) -> Iterator[Row]:
    n = len(samples)
    if not is_shown or n < LEAST:
        yield Row(tenant, None, basis, None)  # which kinds leaked would be a count as well
        return
    yield Row(tenant, None, basis, wilson(sum(bool(one.leaked) for one in samples), n))
    for kind in sorted({kind for one in samples for kind in one.leaked}):
        yield Row(tenant, kind, basis, wilson(sum(kind in one.leaked for one in samples), n))


def _kinds(marks: Iterable[Marked], verdict: ReviewVerdict) -> frozenset[Kind]:
    return frozenset(kind for mark in marks if mark["verdict"] is verdict for kind in mark["kinds"])
