"""The ledger: durable before `append` returns, one chain whoever writes, one writer, recovery, rotation."""

import asyncio
import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.facts import Method
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import LedgerEvent, Record, make_entry
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

ORIGIN = "a0" * 16
Open = Callable[..., Ledger]


def received(number: int = 0) -> object:
    return make_entry(State.RECEIVED, f"{number:032x}", {"method": Method.ANALYZE_IMAGE})


def lines(folder: Path) -> list[bytes]:
    return [line for segment in list_segments(folder) for line in segment.path.read_bytes().splitlines()]


async def test_an_append_returns_what_is_on_disk(ledger: Ledger, folder: Path) -> None:
    record = await ledger.append(received())
    assert lines(folder)[-1] == record.encode()
    assert [one.event for one in read_records(folder)] == [LedgerEvent.OPENED, State.RECEIVED]
    assert record.origin == ORIGIN
    assert ledger.healthy


async def test_an_append_returns_after_the_sync(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    synced = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (gate.wait(), synced(descriptor)))
    waiting = asyncio.create_task(ledger.append(received()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    gate.set()
    assert (await waiting).sequence == 1


async def test_concurrent_appends_make_one_chain(ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    synced = os.fdatasync

    def count(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        synced(descriptor)

    monkeypatch.setattr(os, "fdatasync", count)

    async def appender(which: int) -> list[Record]:
        return [await ledger.append(received(which * 100 + step)) for step in range(25)]

    written = [record for some in await asyncio.gather(*map(appender, range(32))) for record in some]
    assert {record.encode() for record in written} == set(lines(folder)[1:])
    report = verify_ledger(folder)
    assert (report.records, report.chain_ok) == (801, True)
    assert len({record.salt for record in written}) == 800
    assert syncs < 400  # shared: one each would be 800


async def test_an_appender_sees_its_own_order(ledger: Ledger) -> None:
    """More at once than a batch takes."""
    records = await asyncio.gather(*(ledger.append(received(number)) for number in range(1_000)))
    assert [record.sequence for record in records] == list(range(1, 1_001))


def test_several_event_loops_share_a_ledger(ledger: Ledger, folder: Path) -> None:
    threads = [
        threading.Thread(target=lambda which=which: asyncio.run(ledger.append(received(which)))) for which in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify_ledger(folder).records == 9


async def test_a_cancelled_append_does_not_stop_others(ledger: Ledger, folder: Path) -> None:
    gone = asyncio.create_task(ledger.append(received(1)))
    await asyncio.sleep(0)
    gone.cancel()
    await ledger.append(received(2))
    assert verify_ledger(folder).chain_ok
    with pytest.raises(asyncio.CancelledError):
        await gone


def test_a_loop_that_is_gone_stops_nobody(ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    synced = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (gate.wait(), synced(descriptor)))

    async def leave() -> asyncio.Task[Record]:
        task = asyncio.create_task(ledger.append(received(1)))
        await asyncio.sleep(0.05)
        return task

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave()).cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    gate.set()
    asyncio.run(ledger.append(received(2)))
    assert verify_ledger(folder).records == 3


def test_files_are_private(ledger: Ledger, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_second_writer_is_refused(ledger: Ledger, folder: Path, open_ledger: Open) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Ledger(folder, ORIGIN)
    assert caught.value.reason is Reason.LEDGER_UNWRITABLE
    ledger.close()
    assert open_ledger().healthy


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        Ledger(tmp_path / "file" / "ledger", ORIGIN)
    assert caught.value.reason is Reason.LEDGER_UNWRITABLE


def test_a_ledger_that_cannot_write_its_first_record_does_not_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch, open_ledger: Open
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _fail)
        with pytest.raises(ConfigurationError) as caught:
            Ledger(folder, ORIGIN)
    assert caught.value.reason is Reason.LEDGER_UNWRITABLE
    assert open_ledger().healthy  # the lock was given back
    assert verify_ledger(folder).records == 1


def _fail(*_: object) -> None:
    raise OSError(errno.EIO, "canary")


async def test_restart_goes_on_with_the_chain(open_ledger: Open, folder: Path) -> None:
    for start in range(3):
        ledger = open_ledger()
        await ledger.append(received(start))
        ledger.close()
    report = verify_ledger(folder)
    assert (report.records, report.segments, report.chain_ok) == (6, 1, True)


async def test_segments_rotate_by_size(open_ledger: Open, folder: Path) -> None:
    for start in range(3):
        ledger = open_ledger(segment_bytes=1_000)
        for number in range(10):
            await ledger.append(received(start * 10 + number))
        ledger.close()
    report = verify_ledger(folder)
    assert (report.records, report.chain_ok) == (33, True)
    assert report.segments > 8
    firsts = [segment.first for segment in list_segments(folder)]
    assert [record.sequence for record in read_records(folder, start=firsts[3])] == list(range(firsts[3], 33))


async def test_a_torn_last_line_is_cut_off_and_recorded(open_ledger: Open, folder: Path) -> None:
    ledger = open_ledger()
    record = await ledger.append(received())
    ledger.close()
    segment = list_segments(folder)[-1].path
    for length in (1, 100, len(record.encode())):
        with segment.open("ab") as stream:
            stream.write(record.encode()[:length])
        assert verify_ledger(folder).torn_bytes == length
        assert verify_ledger(folder).chain_ok
        open_ledger().close()
        report = verify_ledger(folder)
        assert (report.chain_ok, report.torn_bytes) == (True, 0)
        assert list(read_records(folder))[-1].facts == {"torn_bytes": length}


def test_an_empty_newest_segment_is_used(open_ledger: Open, folder: Path) -> None:
    """What a crash between the creation of a segment and its first record leaves."""
    open_ledger(segment_bytes=1).close()
    (folder / "segment-0000000000000001.jsonl").touch(mode=0o600)
    open_ledger(segment_bytes=1).close()
    assert (verify_ledger(folder).records, verify_ledger(folder).segments) == (2, 2)


def _change_byte(folder: Path) -> None:
    path = list_segments(folder)[-1].path
    content = path.read_bytes()
    path.write_bytes(content.replace(b"AnalyzeImage", b"RedactImage", 1))


def _cut_a_complete_line(folder: Path) -> None:
    path = list_segments(folder)[-1].path
    path.write_bytes(path.read_bytes()[:-5] + b"\n")


def _remove_a_line(folder: Path) -> None:
    path = list_segments(folder)[-1].path
    first, _, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, *rest]))


def _remove_a_segment(folder: Path) -> None:
    list_segments(folder)[-2].path.unlink()


def _remove_the_beginning(folder: Path) -> None:
    for segment in list_segments(folder)[:-1]:
        segment.path.unlink()


def _change_the_end_of_the_predecessor(folder: Path) -> None:
    path = list_segments(folder)[-2].path
    path.write_bytes(path.read_bytes()[:-20] + b"\n")


def _change_the_last_record_of_the_predecessor(folder: Path) -> None:
    path = list_segments(folder)[-2].path
    start, _, end = path.read_bytes().rpartition(b"AnalyzeImage")
    path.write_bytes(start + b"RedactImage" + end)


def _tear_the_predecessor(folder: Path) -> None:
    path = list_segments(folder)[-2].path
    path.write_bytes(path.read_bytes()[:-1])


def _empty_the_predecessor(folder: Path) -> None:
    list_segments(folder)[-2].path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "flaw"),
    [
        (_change_byte, Flaw.TAMPERED),
        (_cut_a_complete_line, Flaw.UNREADABLE),
        (_remove_a_line, Flaw.GAP),
        (_remove_a_segment, Flaw.GAP),
        (_remove_the_beginning, Flaw.GAP),
        (_change_the_end_of_the_predecessor, Flaw.UNREADABLE),
        (_change_the_last_record_of_the_predecessor, Flaw.TAMPERED),
        (_tear_the_predecessor, Flaw.UNREADABLE),
        (_empty_the_predecessor, Flaw.UNREADABLE),
    ],
)
async def test_a_broken_chain_stops_the_start(
    open_ledger: Open, folder: Path, damage: Callable[[Path], None], flaw: Flaw
) -> None:
    ledger = open_ledger(segment_bytes=2_000)
    for number in range(17):
        await ledger.append(received(number))
    ledger.close()
    assert len(list_segments(folder)) >= 3
    damage(folder)
    before = lines(folder)
    with pytest.raises(ConfigurationError) as caught:
        Ledger(folder, ORIGIN)
    assert caught.value.reason is Reason.LEDGER_BROKEN
    assert flaw in caught.value.explanation
    assert caught.value.place.startswith("segment-")
    assert lines(folder) == before  # evidence is left as it was found


async def test_a_failed_sync_refuses_until_a_probe(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.append(received(1))
    before = lines(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _fail)
        outcomes = await asyncio.gather(*(ledger.append(received(n)) for n in range(2, 9)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 7
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, Unavailable)} == {
            Reason.LEDGER_UNWRITABLE
        }
        assert not any("canary" in repr(outcome) for outcome in outcomes)
        assert not await ledger.probe()
        assert not ledger.healthy
    with pytest.raises(Unavailable):  # the disk is well again, the ledger does not know yet
        await ledger.append(received(9))
    assert lines(folder) == before
    assert ledger.failures == 8
    assert await ledger.probe()
    assert await ledger.probe()
    assert ledger.healthy
    await ledger.append(received(10))
    events = [record.event for record in read_records(folder)][-2:]
    assert events == [LedgerEvent.RESUMED, State.RECEIVED]
    assert verify_ledger(folder).chain_ok


async def test_a_cancelled_append_that_fails_too(ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", lambda _: (gate.wait(), _fail()))
        gone = asyncio.create_task(ledger.append(received(1)))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert not await ledger.probe()
    assert gone.cancelled()
    assert await ledger.probe()


async def test_a_restart_on_a_disk_that_fails_is_refused(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.close()
    monkeypatch.setattr(os, "fsync", _fail)
    with pytest.raises(ConfigurationError) as caught:
        Ledger(folder, ORIGIN)
    assert caught.value.reason is Reason.LEDGER_UNWRITABLE


async def test_a_failed_rotation_refuses(open_ledger: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_ledger(segment_bytes=1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _fail)  # of the folder: the new segment's name would not survive
        with pytest.raises(Unavailable):
            await ledger.append(received(1))
    assert len(list_segments(folder)) == 1
    assert await ledger.probe()
    await ledger.append(received(2))
    assert verify_ledger(folder).chain_ok


async def test_a_cut_that_fails_is_made_by_the_probe(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch reached the file, was not acknowledged, and could not be taken back at once."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _fail)
        patched.setattr(os, "ftruncate", _fail)
        with pytest.raises(Unavailable):
            await ledger.append(received(1))
        assert not await ledger.probe()
    assert len(lines(folder)) == 2
    assert await ledger.probe()
    assert [record.event for record in read_records(folder)] == [LedgerEvent.OPENED, LedgerEvent.RESUMED]
    assert verify_ledger(folder).chain_ok


async def test_a_defect_in_the_writer_refuses_and_does_not_hang(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Record, "encode", defect)
        with pytest.raises(Unavailable):
            await ledger.append(received(1))
    assert not ledger.healthy
    assert await ledger.probe()
    await ledger.append(received(2))
    assert verify_ledger(folder).chain_ok


async def test_close_writes_what_waits_and_refuses_the_rest(ledger: Ledger, folder: Path) -> None:
    waiting = [asyncio.create_task(ledger.append(received(number))) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(ledger.close)
    assert len(await asyncio.gather(*waiting)) == 50
    assert verify_ledger(folder).records == 51
    with pytest.raises(Unavailable):
        await ledger.append(received(99))
    assert not await ledger.probe()
    assert not ledger.healthy
    ledger.close()


async def test_lines_are_canonical_json(ledger: Ledger, folder: Path) -> None:
    await ledger.append(received())
    for line in lines(folder):
        assert line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode()
