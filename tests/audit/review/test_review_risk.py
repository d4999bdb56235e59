"""Residual risk counts what a slow count counts, and no cell is small."""

from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.review.risk import LEAST, residual_risk, reviewed_samples
from guardedvlm.audit.reviewed import Basis, ReviewVerdict
from guardedvlm.core.finding import Kind
from guardedvlm.core.share import wilson

TENANTS = ["a1" * 16, "b2" * 16, "c3" * 16]
OF_SAMPLE = [(TENANTS[n % 3] if n % 4 else TENANTS[0], Basis.RANDOM if n % 3 else Basis.LOW_MARGIN) for n in range(40)]


@st.composite
def marks(draw):
    sample = draw(st.integers(0, 39))
    tenant, basis = OF_SAMPLE[sample]
    verdict = draw(st.sampled_from(ReviewVerdict))
    kinds = draw(st.sets(st.sampled_from([Kind.FACE, Kind.PERSON, Kind.DATE]), min_size=1))
    return {
        "sample": f"{sample:032x}",
        "reviewer": "d4" * 16,
        "verdict": verdict,
        "kinds": () if verdict is ReviewVerdict.CLEAN else tuple(sorted(kinds)),
        "of": "e5" * 16,
        "tenant": tenant,
        "policy": "f6" * 32,
        "basis": basis,
    }


def slowly(some, tenant, kind, basis):
    """Leaked and reviewed samples, by asking each sample about all marks."""
    leaked = reviewed = 0
    for sample in {one["sample"] for one in some}:
        own = [one for one in some if one["sample"] == sample]
        if own[0]["basis"] is not basis or (tenant and own[0]["tenant"] != tenant):
            continue
        reviewed += 1
        said = [one for one in own if one["verdict"] is ReviewVerdict.LEAKED]
        leaked += any(kind is None or kind in one["kinds"] for one in said)
    return leaked, reviewed


@given(st.lists(marks(), max_size=120))
def test_rows_count_what_a_slow_count_counts(some):
    rows = residual_risk(reviewed_samples(some))
    assert len({(row.tenant, row.kind, row.basis) for row in rows}) == len(rows)
    for row in rows:
        leaked, reviewed = slowly(some, row.tenant, row.kind, row.basis)
        if row.share is None:
            assert row.kind is None
            assert reviewed < LEAST or row.tenant == ""
        else:
            assert row.share == wilson(leaked, reviewed)
            assert reviewed >= LEAST
    told = {(row.tenant, row.basis) for row in rows}
    assert told == {(t, one["basis"]) for one in some for t in ("", one["tenant"])}


@given(st.lists(marks(), max_size=120))
def test_no_small_cell_is_left_when_the_shown_ones_are_taken_from_the_total(some):
    rows = residual_risk(reviewed_samples(some))
    for basis in Basis:
        total = [row.share for row in rows if (row.tenant, row.kind, row.basis) == ("", None, basis)]
        if not total or total[0] is None:
            continue
        shown = sum(row.share.n for row in rows if row.tenant and row.kind is None and row.basis is basis and row.share)
        assert total[0].n - shown == 0 or total[0].n - shown >= LEAST


def test_low_margin_samples_say_nothing_of_the_random_ones():
    some = [
        {"sample": f"{n:032x}", "tenant": TENANTS[0], "basis": basis, "verdict": verdict, "kinds": kinds}
        for n, (basis, verdict, kinds) in enumerate(
            [(Basis.RANDOM, ReviewVerdict.CLEAN, ())] * 9 + [(Basis.LOW_MARGIN, ReviewVerdict.LEAKED, (Kind.FACE,))] * 9
        )
    ]
    rows = residual_risk(reviewed_samples(some))
    assert {row.basis: row.share.hits for row in rows if row.kind is None} == {Basis.RANDOM: 0, Basis.LOW_MARGIN: 9}
