"""Verification finds every change that a chain can show, and says where."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.facts import Facts, Method, PolicyUsed, Verification, VerifyVerdict
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import Record, make_entry, record_hash
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.lifecycle import TRANSITIONS, State
from guardedvlm.errors import ConfigurationError, Reason

ORIGIN = "a0" * 16
FIRST = "segment-0000000000000000.jsonl"


@pytest.fixture
async def written(open_ledger: Callable[..., Ledger], folder: Path) -> Path:
    """A closed ledger of one segment with 12 records."""
    ledger = open_ledger()
    for _ in range(5):
        log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
        await log.advance(State.REFUSED, reason=Reason.IMAGE_CORRUPT)
    await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
    ledger.close()
    return folder


def _lines(folder: Path) -> list[bytes]:
    return (folder / FIRST).read_bytes().splitlines(keepends=True)


def _write(folder: Path, lines: list[bytes]) -> None:
    (folder / FIRST).write_bytes(b"".join(lines))


async def test_a_report_of_a_whole_ledger(written: Path) -> None:
    report = verify_ledger(written)
    records = list(read_records(written))
    assert report.chain_ok
    assert (report.records, report.segments, report.broken_at, report.place) == (12, 1, None, "")
    assert (report.first_time, report.last_time) == (records[0].time, records[-1].time)
    assert report.head == record_hash(records[-1].encode())
    assert report.unfinished == (records[-1].request,)


def test_no_ledger_is_not_a_good_one(tmp_path: Path) -> None:
    assert verify_ledger(tmp_path).flaw is Flaw.EMPTY
    with pytest.raises(ConfigurationError) as caught:
        verify_ledger(tmp_path / "none")
    assert caught.value.reason is Reason.INPUT_UNREADABLE
    (tmp_path / FIRST).touch()
    assert verify_ledger(tmp_path).flaw is Flaw.EMPTY


async def test_every_byte_is_covered(written: Path) -> None:
    """Change one byte anywhere but in the last record: verification fails at that record or the one after it."""
    lines = _lines(written)
    choose = random.Random(7)
    for number, line in enumerate(lines[:-1]):
        for at in [*choose.sample(range(len(line)), 40), len(line) - 1]:
            changed = line[:at] + bytes([line[at] ^ choose.choice([1, 2, 4, 8, 16, 32])]) + line[at + 1 :]
            _write(written, [*lines[:number], changed, *lines[number + 1 :]])
            report = verify_ledger(written)
            assert report.broken_at in (number, number + 1), (number, at, report)
            assert report.flaw is not None
            assert report.place in (f"{FIRST}:{number + 1}", f"{FIRST}:{number + 2}")


async def test_a_plausible_change_is_found(written: Path) -> None:
    lines = _lines(written)
    lines[2] = lines[2].replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS")
    _write(written, lines)
    report = verify_ledger(written)
    assert (report.flaw, report.broken_at, report.records) == (Flaw.TAMPERED, 3, 3)


async def test_a_removed_record_is_a_gap(written: Path) -> None:
    lines = _lines(written)
    _write(written, lines[:4] + lines[5:])
    report = verify_ledger(written)
    assert (report.flaw, report.broken_at, report.place) == (Flaw.GAP, 4, f"{FIRST}:5")


async def test_a_gap_beside_a_line_that_is_no_record(written: Path) -> None:
    lines = _lines(written)
    _write(written, [*lines[:4], *lines[5:8], b"{}\n"])
    assert (verify_ledger(written).flaw, verify_ledger(written).broken_at) == (Flaw.GAP, 4)


def test_a_segment_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / FIRST).mkdir()
    with pytest.raises(ConfigurationError) as caught:
        verify_ledger(tmp_path)
    assert caught.value.reason is Reason.INPUT_UNREADABLE


async def test_a_moved_record_is_reordered(written: Path) -> None:
    lines = _lines(written)
    _write(written, [*lines[:4], lines[5], lines[4], *lines[6:]])
    assert (verify_ledger(written).flaw, verify_ledger(written).broken_at) == (Flaw.REORDERED, 4)


async def test_a_repeated_record_is_reordered(written: Path) -> None:
    lines = _lines(written)
    _write(written, lines[:5] + lines[4:])
    assert (verify_ledger(written).flaw, verify_ledger(written).broken_at) == (Flaw.REORDERED, 5)


async def test_a_line_that_is_not_a_record(written: Path) -> None:
    lines = _lines(written)
    for bad in (b"\n", b"{}\n", b"x" * 600_000 + b"\n", json.dumps(json.loads(lines[3])).encode() + b"\n"):
        _write(written, [*lines[:3], bad, *lines[4:]])
        assert (verify_ledger(written).flaw, verify_ledger(written).broken_at) == (Flaw.UNREADABLE, 3)
        with pytest.raises(ConfigurationError) as caught:
            list(read_records(written))
        assert (caught.value.reason, caught.value.place) == (Reason.LEDGER_BROKEN, f"{FIRST}:4")


async def test_a_cut_end_cannot_be_seen(written: Path) -> None:
    """The known limit (`verify.UNSEEN`): a chain says nothing of what came after its end."""
    _write(written, _lines(written)[:-3])
    assert verify_ledger(written).chain_ok
    assert verify_ledger(written).records == 9


def _rewritten(folder: Path, steps: list[tuple[str, State]]) -> None:
    """A ledger with a good chain whose requests take these steps."""
    writer = ChainWriter(folder, ORIGIN)
    for request, state in steps:
        writer.commit([make_entry(state, request, _facts(state))])
    writer.close()


def _facts(state: State) -> Facts:
    needed: dict[State, Facts] = {
        State.RECEIVED: Facts(method=Method.ANALYZE_IMAGE),
        State.ADMITTED: Facts(tenant="0" * 32, caller="1" * 32, policy=PolicyUsed(name="finance", digest="2" * 64)),
        State.REDACTED: Facts(regions={}),
        State.CLEARED: Facts(verification=Verification(verdict=VerifyVerdict.CLEARED, passes=1, residual={})),
        State.REFUSED: Facts(reason=Reason.INTERNAL),
    }
    return needed.get(state, Facts())


@pytest.mark.parametrize(
    "states",
    [
        [State.ADMITTED],
        [State.RECEIVED, State.RECEIVED],
        [State.RECEIVED, State.RELEASED],
        [State.RECEIVED, State.REFUSED, State.RELEASED],
    ],
)
def test_a_step_that_the_table_does_not_have(folder: Path, states: list[State]) -> None:
    _rewritten(folder, [("0" * 32, state) for state in states])
    report = verify_ledger(folder)
    assert (report.flaw, report.broken_at) == (Flaw.LIFE_CYCLE, len(states))
    assert report.records == len(states)


async def test_a_missing_segment_is_a_gap(open_ledger: Callable[..., Ledger], folder: Path) -> None:
    ledger = open_ledger(segment_bytes=1)
    for _ in range(4):
        await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
    ledger.close()
    second = list_segments(folder)[1]
    content = second.path.read_bytes()
    second.path.unlink()
    assert (verify_ledger(folder).flaw, verify_ledger(folder).broken_at) == (Flaw.GAP, 1)
    second.path.write_bytes(content[:-1])  # torn, but not the last segment
    assert verify_ledger(folder).chain_ok
    second.path.write_bytes(content)
    list_segments(folder)[0].path.unlink()
    assert (verify_ledger(folder).flaw, verify_ledger(folder).broken_at) == (Flaw.GAP, 0)


async def test_while_it_is_being_written(ledger: Ledger, folder: Path) -> None:
    stop = False

    async def write() -> None:
        while not stop:
            log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
            await log.advance(State.REFUSED, reason=Reason.IMAGE_CORRUPT)

    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        counts = []
        for _ in range(5):
            report = await asyncio.to_thread(verify_ledger, folder)
            assert report.chain_ok, report
            counts.append(report.records)
        assert counts == sorted(counts)
    finally:
        stop = True
        await asyncio.gather(*writers)


@settings(max_examples=20)
@given(data=st.data())
def test_any_lives_in_any_mix_verify(data: st.DataObject) -> None:
    """Random legal steps of several requests, with restarts in between, always verify, and the open ones are known."""
    running: dict[str, State] = {}
    steps = 0
    with TemporaryDirectory() as name:
        folder = Path(name) / "ledger"
        writer = ChainWriter(folder, ORIGIN, segment_bytes=data.draw(st.sampled_from([1, 2_000, 10**6])))
        openings = 1
        for _ in range(data.draw(st.integers(0, 30))):
            action = data.draw(st.sampled_from(["begin", "step", "step", "step", "restart"]))
            if action == "restart":
                writer.close()
                writer = ChainWriter(folder, ORIGIN, segment_bytes=2_000)
                openings += 1
                continue
            if action == "begin" or not running:
                request, state = f"{steps:032x}", State.RECEIVED
            else:
                request = data.draw(st.sampled_from(sorted(running)))
                state = data.draw(st.sampled_from(sorted(TRANSITIONS[running[request]])))
            writer.commit([make_entry(state, request, _facts(state))])
            steps += 1
            running[request] = state
            if not TRANSITIONS[state]:
                del running[request]
        writer.close()
        report = verify_ledger(folder)
        assert report.chain_ok, report
        assert report.records == steps + openings
        assert set(report.unfinished) == set(running)
        assert len(list(read_records(folder))) == report.records


async def test_records_of_one_request_and_from_a_number(written: Path) -> None:
    records = list(read_records(written))
    request = records[3].request
    assert request is not None
    assert [one.sequence for one in read_records(written, request=request)] == [3, 4]
    assert [one.sequence for one in read_records(written, start=9)] == [9, 10, 11]
    assert list(read_records(written, start=99)) == []
    assert all(isinstance(one, Record) for one in records)


async def test_a_record_that_is_being_written_is_not_read(written: Path) -> None:
    lines = _lines(written)
    _write(written, [*lines[:-1], lines[-1][:50]])
    assert len(list(read_records(written))) == 11
    assert verify_ledger(written).torn_bytes == 50
