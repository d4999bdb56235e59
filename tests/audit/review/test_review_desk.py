"""The reviewer is blind, a view is on record before the picture is shown, a leak is neither kept nor forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.grid import CELLS, hidden_grid
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review import desk as desk_module
from guardedvlm.audit.review.desk import LOG, ReviewDesk, grid_of
from guardedvlm.audit.review.store import About, SampleStore
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.audit.verify import verify_ledger
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Size
from guardedvlm.errors import ConfigurationError, GuardedVLMError, InvalidInput, Reason, Refused

ABOUT = About("11" * 16, "22" * 16, "33" * 32, Basis.LOW_MARGIN, 0, "44" * 32)
PICTURE = b"\x89PNG picture"
KEY = AuditKey(b"k" * 32)
ANN = "ann@example.org"


class Office:
    def __init__(self, folder):
        self.folder = folder
        self.now = 1_800_000_000.0
        self.store = SampleStore(folder / "review", folder / "keys", clock=lambda: self.now)
        self.desk = ReviewDesk(self.store, folder / "ledger", KEY, "a0" * 16)

    def sample(self, days=7):
        return self.store.put(PICTURE, ABOUT, days * 24 * 3600).sample

    def seen(self):
        self.desk.view(sample := self.sample(), ANN)
        return sample

    def events(self, *wanted):
        return [one.facts[one.event.value.lower()] for one in self.desk.records() if one.event in wanted]


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


def test_before_the_mark_a_reviewer_learns_a_name_a_date_and_a_picture(office):
    sample = office.sample()
    (waiting,) = office.desk.queue()
    assert {name: getattr(waiting, name) for name in waiting.__slots__} == {
        "sample": sample,
        "expires": int(office.now) + 7 * 24 * 3600,
    }
    assert office.desk.view(sample, ANN) == PICTURE


def test_each_view_is_a_record_and_names_a_pseudonym(office):
    sample = office.sample()
    office.desk.view(sample, ANN)
    office.desk.view(sample, ANN)
    pseudonym = office.desk.pseudonym(ANN)
    assert office.events(LedgerEvent.VIEWED) == [{"sample": sample, "reviewer": pseudonym}] * 2
    written = b"".join(path.read_bytes() for path in (office.folder / "ledger" / LOG).glob("segment*"))
    assert b"ann" not in written
    assert verify_ledger(office.folder / "ledger" / LOG).chain_ok
    assert list_logs(office.folder / "ledger") == [office.folder / "ledger" / LOG]


def test_without_a_record_nothing_is_shown(office, monkeypatch):
    sample = office.sample()
    monkeypatch.setattr(desk_module, "WAIT_SECONDS", 0)
    monkeypatch.setattr(ChainWriter, "commit", _fails)
    with pytest.raises(GuardedVLMError):
        office.desk.view(sample, ANN)


def _fails(*_):
    raise ConfigurationError(Reason.LEDGER_UNWRITABLE)


def test_who_has_not_looked_does_not_mark(office):
    sample = office.seen()
    with pytest.raises(Refused) as refused:
        office.desk.mark(sample, "bob", ReviewVerdict.CLEAN)
    assert refused.value.reason is Reason.SAMPLE_UNSEEN
    assert office.events(LedgerEvent.MARKED) == []


def test_a_mark_tells_whose_it_is_and_takes_the_sample_off_the_queue(office):
    sample = office.seen()
    office.desk.mark(sample, ANN, ReviewVerdict.OVER_REDACTED, [Kind.DATE], [(0, 0), (31, 31)])
    (marked,) = office.events(LedgerEvent.MARKED)
    assert marked == {
        "sample": sample,
        "reviewer": office.desk.pseudonym(ANN),
        "verdict": ReviewVerdict.OVER_REDACTED,
        "kinds": (Kind.DATE,),
        "cells": "8" + "0" * 254 + "1",
        "of": ABOUT.of,
        "tenant": ABOUT.tenant,
        "policy": ABOUT.policy,
        "basis": ABOUT.basis,
    }
    assert office.desk.queue() == ()
    assert [one.sample for one in office.desk.queue(marked=True)] == [sample]
    assert office.store.read(sample).picture == PICTURE


def test_a_leak_destroys_the_sample_and_opens_an_incident(office):
    sample = office.seen()
    office.desk.mark(sample, ANN, ReviewVerdict.CLEAN)
    office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.PERSON, Kind.PERSON])  # a second look
    assert office.events(LedgerEvent.INCIDENT) == [
        {"sample": sample, "of": ABOUT.of, "tenant": ABOUT.tenant, "policy": ABOUT.policy, "kinds": (Kind.PERSON,)}
    ]
    assert office.events(LedgerEvent.DESTROYED) == [{"sample": sample, "cause": Destruction.LEAKED}]
    assert not list((office.folder / "keys").iterdir())
    assert not list((office.folder / "review").iterdir())
    for again in (lambda: office.desk.view(sample, ANN), lambda: office.desk.mark(sample, ANN, ReviewVerdict.CLEAN)):
        with pytest.raises(Refused) as refused:
            again()
        assert refused.value.reason is Reason.SAMPLE_GONE


def test_a_leak_that_could_not_be_recorded_is_destroyed_and_recorded_later(office, monkeypatch):
    sample = office.seen()
    with monkeypatch.context() as broken:
        broken.setattr(desk_module, "WAIT_SECONDS", 0)
        broken.setattr(ChainWriter, "commit", _fails)
        with pytest.raises(GuardedVLMError):
            office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.FACE])
    assert not list((office.folder / "keys").iterdir())
    assert office.events(LedgerEvent.INCIDENT) == []
    office.desk.sweep()
    assert [one["sample"] for one in office.events(LedgerEvent.INCIDENT)] == [sample]
    assert not list((office.folder / "review").iterdir())


def test_a_disk_that_is_full_keeps_no_leak(office, monkeypatch):
    sample = office.seen()
    monkeypatch.setattr(desk_module.json, "dump", _full)
    with pytest.raises(ConfigurationError):
        office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.FACE])
    assert not list((office.folder / "keys").iterdir())


def _full(*_):
    raise OSError("no space")


@pytest.mark.parametrize(
    ("verdict", "kinds", "cells"),
    [
        (ReviewVerdict.LEAKED, [], []),
        (ReviewVerdict.OVER_REDACTED, [], [(1, 1)]),
        (ReviewVerdict.CLEAN, [Kind.FACE], []),
        (ReviewVerdict.CLEAN, [], [(1, 1)]),
        (ReviewVerdict.LEAKED, [Kind.FACE], [(32, 0)]),
        (ReviewVerdict.LEAKED, [Kind.FACE], [(0, -1)]),
    ],
)
def test_a_mark_that_does_not_fit_its_verdict(office, verdict, kinds, cells):
    sample = office.seen()
    with pytest.raises(InvalidInput):
        office.desk.mark(sample, ANN, verdict, kinds, cells)
    assert office.store.read(sample).picture == PICTURE


def test_the_sweep_records_what_expired(office):
    sample = office.sample(days=1)
    office.now += 2 * 24 * 3600
    assert office.desk.sweep() == (sample,)
    assert office.events(LedgerEvent.DESTROYED) == [{"sample": sample, "cause": Destruction.EXPIRED}]
    before = len(list(office.desk.records()))
    assert office.desk.sweep() == ()
    assert len(list(office.desk.records())) == before


def test_two_desks_take_turns(office, monkeypatch):
    monkeypatch.setattr(desk_module, "WAIT_SECONDS", 0.2)
    other = ReviewDesk(office.store, office.folder / "ledger", KEY, "a0" * 16)
    sample = office.seen()
    assert other.view(sample, "bob") == PICTURE
    held = ChainWriter(office.folder / "ledger" / LOG, "a0" * 16)
    with pytest.raises(ConfigurationError) as busy:
        other.view(sample, "bob")
    held.close()
    assert busy.value.reason is Reason.LEDGER_UNWRITABLE
    assert other.view(sample, "bob") == PICTURE


@given(st.sets(st.tuples(st.integers(0, CELLS - 1), st.integers(0, CELLS - 1)), max_size=40))
def test_cells_are_written_as_the_ledger_writes_what_was_hidden(cells):
    boxes = [Box(column, row, column + 1, row + 1) for row, column in cells]
    assert grid_of(cells) == (hidden_grid(boxes, Size(CELLS, CELLS)) if cells else "")
