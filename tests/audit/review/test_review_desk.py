"""The reviewer is blind, a view is on record before the picture is shown, a leak is neither kept nor forgotten."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.grid import CELLS, hidden_grid
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review import desk as desk_module
from guardedvlm.audit.review import pending as pending_module
from guardedvlm.audit.review.desk import LOG, ReviewDesk, grid_of
from guardedvlm.audit.review.store import About, SampleStore
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.audit.sink import SinkFailed
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
        self.rest = (folder / "ledger", KEY, "a0" * 16)
        self.desk = ReviewDesk(self.store, *self.rest)

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
    monkeypatch.setattr(pending_module, "replace", _full)
    office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.FACE])
    assert not list((office.folder / "keys").iterdir())
    assert not list((office.folder / "review").iterdir())
    assert [one["sample"] for one in office.events(LedgerEvent.INCIDENT)] == [sample]


def _full(*_):
    raise OSError(errno.ENOSPC, "no space")


def test_a_clean_mark_goes_into_the_ledger_though_the_samples_disk_is_full(office, monkeypatch):
    sample = office.seen()
    monkeypatch.setattr(pending_module, "replace", _full)
    office.desk.mark(sample, ANN, ReviewVerdict.CLEAN)
    assert [one["sample"] for one in office.events(LedgerEvent.MARKED)] == [sample]
    assert office.store.read(sample).picture == PICTURE


@pytest.mark.parametrize("takes_facts", [True, False])
def test_a_leak_outlives_a_full_disk_and_a_ledger_that_cannot_be_written(office, monkeypatch, takes_facts):
    sample = office.seen()
    with monkeypatch.context() as broken:
        broken.setattr(pending_module, "replace", _full)
        broken.setattr(desk_module, "WAIT_SECONDS", 0)
        broken.setattr(ChainWriter, "commit", _fails)
        if not takes_facts:
            broken.setattr("os.ftruncate", _full)
            broken.setattr("os.write", lambda descriptor, content, real=os.write: real(descriptor, content[:9]))
        with pytest.raises(GuardedVLMError):
            office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.FACE])
    assert not list((office.folder / "keys").iterdir())
    assert [path.name for path in (office.folder / "review").iterdir()] == [f"{sample}.leaked"]
    assert PICTURE not in (office.folder / "review" / f"{sample}.leaked").read_bytes()
    later = ReviewDesk(SampleStore(office.folder / "review", office.folder / "keys"), *office.rest)
    later.view(later_sample := office.sample(), "bob")
    assert [one["sample"] for one in office.events(LedgerEvent.INCIDENT)] == ([sample] if takes_facts else [])
    assert office.events(LedgerEvent.DESTROYED) == [{"sample": sample, "cause": Destruction.LEAKED}]
    assert [path.name for path in (office.folder / "review").iterdir()] == [f"{later_sample}.sample"]


class Died(BaseException):
    """A process that was killed."""


def _dies(*_):
    raise Died


@pytest.fixture
def crashed(office, monkeypatch):
    """A leak whose process died between the word of it and the destruction."""
    sample = office.seen()
    with monkeypatch.context() as dying:
        dying.setattr(SampleStore, "destroy", _dies)
        with pytest.raises(Died):
            office.desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.PERSON])
    assert office.store.read(sample).picture == PICTURE
    return sample


def test_after_a_crash_a_leak_is_destroyed_before_the_ledger_says_so(office, crashed):
    other = office.sample()
    assert [one.sample for one in office.desk.queue()] == [other]
    office.desk.view(other, "bob")
    assert office.events(LedgerEvent.DESTROYED) == [{"sample": crashed, "cause": Destruction.LEAKED}]
    assert [path.stem for path in (office.folder / "keys").iterdir()] == [other]
    assert [path.name for path in (office.folder / "review").iterdir()] == [f"{other}.sample"]


def test_after_a_crash_a_leak_is_not_shown_once_more(office, crashed):
    with pytest.raises(Refused) as refused:
        office.desk.view(crashed, "bob")
    assert refused.value.reason is Reason.SAMPLE_GONE
    assert not list((office.folder / "keys").iterdir())


def test_a_leak_that_stays_is_not_said_to_be_destroyed(office, crashed, monkeypatch):
    with monkeypatch.context() as stuck:
        stuck.setattr(SampleStore, "destroy", _stuck)
        office.desk.view(office.sample(), "bob")  # another one's leak holds up nobody
        with pytest.raises(ConfigurationError) as failed:
            office.desk.sweep()
        with pytest.raises(Refused):
            office.desk.view(crashed, "bob")
    assert failed.value.reason is Reason.OUTPUT_UNWRITABLE
    assert office.events(LedgerEvent.DESTROYED, LedgerEvent.INCIDENT) == []
    office.desk.sweep()
    assert [one["sample"] for one in office.events(LedgerEvent.DESTROYED, LedgerEvent.INCIDENT)] == [crashed] * 2


def _stuck(*_):
    raise ConfigurationError(Reason.OUTPUT_UNWRITABLE)


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


def test_what_the_ledger_could_not_take_is_recorded_by_the_next_sweep(office, monkeypatch):
    sample = office.sample(days=1)
    office.now += 2 * 24 * 3600
    with monkeypatch.context() as broken:
        broken.setattr(ChainWriter, "commit", _fails)
        broken.setattr(desk_module, "WAIT_SECONDS", 0)
        with pytest.raises(GuardedVLMError):
            office.desk.sweep()
    assert not list((office.folder / "keys").iterdir())
    office.desk.sweep()
    assert office.events(LedgerEvent.DESTROYED) == [{"sample": sample, "cause": Destruction.EXPIRED}]


def test_a_sweep_tells_what_it_destroyed_and_then_what_stays(office):
    samples = sorted(office.sample(days=1) for _ in range(3))
    key = office.folder / "keys" / f"{samples[0]}.key"
    key.unlink()
    key.symlink_to("nothing")
    office.now += 2 * 24 * 3600
    with pytest.raises(ConfigurationError) as failed:
        office.desk.sweep()
    assert (failed.value.reason, failed.value.explanation) == (Reason.OUTPUT_UNWRITABLE, "2 destroyed; 1 cannot be")
    assert [one["sample"] for one in office.events(LedgerEvent.DESTROYED)] == samples[1:]


def test_every_batch_has_a_checkpoint_and_one_that_failed_is_made_up_for(office):
    told, outage = [], []

    def checkpoint(log):
        if outage:
            raise SinkFailed
        told.append((log.folder, log.head.size, log.head.root()))

    desk = ReviewDesk(office.store, *office.rest, checkpoint)
    sample = office.sample()

    def holds():
        found = verify_ledger(office.folder / "ledger" / LOG)
        return told[-1] == (office.folder / "ledger" / LOG, found.records, found.root)

    desk.view(sample, ANN)
    assert holds()
    outage.append(True)
    desk.mark(sample, ANN, ReviewVerdict.LEAKED, [Kind.FACE])
    assert not holds()
    outage.clear()
    desk.sweep()
    assert holds()
    before = len(told)
    desk.sweep()
    assert len(told) == before


def test_the_log_has_short_segments_because_each_batch_checks_the_newest(office, monkeypatch):
    monkeypatch.setattr(desk_module, "SEGMENT_BYTES", 2_000)
    sample = office.sample()
    for _ in range(9):
        office.desk.view(sample, ANN)
    sizes = [path.stat().st_size for path in (office.folder / "ledger" / LOG).glob("segment*")]
    assert len(sizes) > 1
    assert max(sizes) < 4_000
    assert verify_ledger(office.folder / "ledger" / LOG).chain_ok


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
