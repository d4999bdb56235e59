"""The tailer, with a sink in this process: what is delivered, in which order, and where it goes on."""

import asyncio
import errno
import itertools
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_collector import values, wait_until

from guardedvlm.audit import conventions as names
from guardedvlm.audit import durable, log_reader, open_requests, tail
from guardedvlm.audit import writer as audit_writer
from guardedvlm.audit.cursor import CursorFile
from guardedvlm.audit.facts import Facts, Method, Verdict
from guardedvlm.audit.lag import Lagging, LagWatch
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.log_reader import LogReader
from guardedvlm.audit.otlp import Exporter, NotDelivered
from guardedvlm.audit.record import Entry, LedgerEvent, make_entry, record_hash
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.signals import Told, logs_request, span_id
from guardedvlm.audit.summary import Summary
from guardedvlm.audit.tail import BATCH_RECORDS, LONGEST_BACK_OFF, BackOff, Tailer
from guardedvlm.audit.telemetry_counts import Counts
from guardedvlm.audit.verify import read_records
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

ORIGIN = "a0" * 16
GRPC_BYTES = 4 * 2**20
"""What a gRPC server receives unless told otherwise."""


class Memory:
    """A sink that keeps what it takes; `fails` says which attempts it does not, after having kept them or not."""

    def __init__(self, fails: Callable[[], str] = lambda: "") -> None:
        self.requests = []
        self._fails = fails

    def send(self, request) -> int:
        how = self._fails()
        if how != "lost":
            self.requests.append(request)
        if how:
            raise NotDelivered
        return 0

    def close(self) -> None: ...

    def records(self) -> list:
        return [
            record
            for request in self.requests
            if isinstance(request, ExportLogsServiceRequest)
            for one in request.resource_logs
            for scope in one.scope_logs
            for record in scope.log_records
        ]

    def spans(self) -> list:
        return [
            span
            for request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for one in request.resource_spans
            for scope in one.scope_spans
            for span in scope.spans
        ]

    def sequences(self) -> list[int]:
        return [values(record)[names.SEQUENCE] for record in self.records()]


class Following:
    """Tailers of one ledger, one after the other, with one sink."""

    def __init__(self, ledger: Path, sink: Memory) -> None:
        self.ledger = ledger
        self.sink = sink
        self.counts = Counts()
        self.finished: list[Summary] = []
        self._tailer: Tailer | None = None

    @property
    def tailer(self) -> Tailer:
        if self._tailer is None:
            exporter = Exporter(self.sink, self.counts)
            self._tailer = Tailer(self.ledger, self.ledger / "tail", exporter, "0.1.0", self.finished.append)
        return self._tailer

    def crash(self) -> None:
        """What kill -9 leaves: the files."""
        if self._tailer is not None:
            self._tailer.close()
        self._tailer = None


@pytest.fixture
def following(folder: Path) -> Iterator[Following]:
    made = Following(folder, Memory())
    yield made
    made.crash()


@pytest.fixture
def writer(folder: Path) -> Iterator[ChainWriter]:
    made = ChainWriter(folder, ORIGIN, segment_bytes=2_000)
    yield made
    made.close()


def received(number: int) -> Entry:
    return make_entry(State.RECEIVED, f"{number:032x}", {"method": Method.REDACT_IMAGE})


def refused(number: int) -> Entry:
    return make_entry(State.REFUSED, f"{number:032x}", {"reason": Reason.STAGE_TIMEOUT})


async def live(ledger: Ledger, life: dict[State, Facts]) -> RequestLog:
    (_, first), *rest = life.items()
    log = await RequestLog.begin(ledger, **first)
    for state, facts in rest:
        await log.advance(state, **facts)
    return log


def test_every_record_in_order_across_segments(folder: Path, following: Following, writer: ChainWriter) -> None:
    for number in range(40):
        writer.commit([received(number)])
    assert len(list_segments(folder)) > 3
    assert following.tailer.drain() == 41
    lines = [(record.sequence, record_hash(record.encode())) for record in read_records(folder)]
    told = [values(record) for record in following.sink.records()]
    assert [(one[names.SEQUENCE], one[names.RECORD_HASH]) for one in told] == lines
    assert [one[names.UID] for one in told] == [f"{ORIGIN}/ledger/{number}" for number in range(41)]
    assert following.counts.delivered == {"ledger": 41}
    assert following.tailer.drain() == 0
    writer.commit([received(99)])
    assert following.tailer.deliver() == 1
    assert following.sink.sequences() == list(range(42))


def test_a_record_that_is_being_written_waits(folder: Path, following: Following, writer: ChainWriter) -> None:
    writer.commit([received(0)])
    newest = list_segments(folder)[-1].path
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-1])
    assert following.tailer.drain() == 1
    newest.write_bytes(whole)
    assert following.tailer.drain() == 1
    assert following.sink.sequences() == [0, 1]


def test_what_a_restart_cuts_off_was_not_delivered(folder: Path, following: Following) -> None:
    writer = ChainWriter(folder, ORIGIN)
    writer.commit([received(0)])
    writer.close()
    with list_segments(folder)[-1].path.open("ab") as stream:
        stream.write(b'{"event":"RECEI')
    assert following.tailer.drain() == 2
    ChainWriter(folder, ORIGIN).close()
    assert following.tailer.drain() == 1
    last = values(following.sink.records()[-1])
    assert (last[names.EVENT], last["guardedvlm.torn_bytes"]) == ("OPENED", 15)


def test_nothing_is_delivered_that_is_not_durable(
    following: Following, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer may still cut off what it could not sync."""
    (following.ledger / durable.NAME).unlink()  # of an earlier version

    def fail(_: int) -> None:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(ConfigurationError) as caught:
            following.tailer.drain()
    assert caught.value.reason is Reason.INPUT_UNREADABLE
    assert not following.sink.requests
    assert following.tailer.drain() == 1


class Disk:
    """A disk that is full after the first record of a batch, or takes it and cannot sync."""

    def __init__(self, following: Following, patched: pytest.MonkeyPatch) -> None:
        self._following = following
        self._patched = patched
        self.looked = 0

    def fill(self) -> None:
        def some(descriptor: int, block: bytes) -> None:
            os.write(descriptor, bytes(block[: block.index(b"\n") + 1]))
            self._fail(descriptor)

        self._patched.setattr(audit_writer, "_write_all", some)

    def break_sync(self) -> None:
        self._patched.setattr(audit_writer.os, "fdatasync", self._fail)

    def _fail(self, _: int) -> None:
        self._patched.undo()
        self._following.tailer.deliver()  # looks in just now
        self.looked += 1
        raise OSError(errno.ENOSPC, "full")


@pytest.mark.parametrize("how", [Disk.fill, Disk.break_sync])
@pytest.mark.parametrize("segment_bytes", [2_000, 1])
def test_nothing_is_delivered_that_the_writer_takes_back(
    folder: Path, following: Following, how: Callable[[Disk], None], segment_bytes: int
) -> None:
    writer = ChainWriter(folder, ORIGIN, segment_bytes=segment_bytes)
    following.tailer.drain()
    with pytest.MonkeyPatch.context() as patched:
        how(disk := Disk(following, patched))
        with pytest.raises(Unavailable):
            writer.commit([received(1), received(2)])
    assert disk.looked == 1
    assert writer.mend()
    writer.commit([received(3)])
    following.tailer.drain()
    writer.close()
    assert following.sink.sequences() == [record.sequence for record in read_records(folder)] == [0, 1, 2]


def test_what_a_cursor_says_was_durable_whatever_the_mark_says(
    folder: Path, following: Following, writer: ChainWriter
) -> None:
    """After a loss of power the mark is an old one, or torn."""
    mark = folder / durable.NAME
    old = mark.read_bytes()
    for number in range(30):
        writer.commit([received(number)])
    assert following.tailer.drain() == 31
    for content in (old, b"", mark.read_bytes()[:-1] + b"?"):
        mark.write_bytes(content)
        following.crash()
        assert following.tailer.drain() == 0
        assert LagWatch(folder, folder / "tail").lags()["ledger"].records == 0
    writer.commit([refused(number) for number in range(30)])
    assert following.tailer.drain() == 30
    assert len(following.finished) == 30
    assert following.counts.untold == 0


def test_a_log_of_an_earlier_version_says_nothing_and_is_read(folder: Path, following: Following) -> None:
    ChainWriter(folder, ORIGIN).close()
    (folder / durable.NAME).unlink()
    assert following.tailer.drain() == 1


def test_a_mark_that_is_read_while_it_is_written_is_right_or_says_nothing(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    mark = durable.DurableMark(folder)
    for one, other in itertools.pairwise((0, 255, 256, 65_535, 65_536, 2**40)):
        mark.publish(one)
        before = (folder / durable.NAME).read_bytes()
        mark.publish(other)
        after = (folder / durable.NAME).read_bytes()
        assert durable.durable_sequence(folder) == other
        for cut in range(1, len(after)):
            (folder / durable.NAME).write_bytes(after[:cut] + before[cut:])
            assert durable.durable_sequence(folder) in {0, one, other}
    mark.close()


def test_logs_that_appear_are_followed_each_by_itself(tmp_path: Path) -> None:
    following = Following(tmp_path, Memory())
    assert following.tailer.drain() == 0
    logs = {name: ChainWriter(tmp_path / name, ORIGIN) for name in ("service", "years-6")}
    logs["service"].commit([received(1)])
    assert following.tailer.drain() == 3
    logs["A site's own"] = ChainWriter(tmp_path / "A site's own", ORIGIN)
    logs["years-6"].commit([received(2), refused(2)])
    assert following.tailer.drain() == 3
    found: dict[str, list[int]] = {}
    for record in map(values, following.sink.records()):
        found.setdefault(record[names.LEDGER_LOG], []).append(record[names.SEQUENCE])
    assert len(found) == 3
    assert found.pop("service") == [0, 1]
    assert found.pop("years-6") == [0, 1, 2]
    ((other, sequences),) = found.items()
    assert other.startswith("log-")
    assert sequences == [0]
    assert b"site" not in b"".join(request.SerializeToString() for request in following.sink.requests)
    following.crash()
    for writer in logs.values():
        writer.close()


def test_one_log_does_not_hold_up_another(tmp_path: Path) -> None:
    writers = [ChainWriter(tmp_path / name, ORIGIN) for name in ("service", "years-6")]
    (path,) = [segment.path for segment in list_segments(tmp_path / "service")]
    path.write_bytes(b"not a record\n")
    following = Following(tmp_path, Memory())
    for _ in range(2):
        with pytest.raises(ConfigurationError) as caught:
            following.tailer.deliver()
        assert (caught.value.reason, caught.value.place) == (Reason.LEDGER_BROKEN, "service")
    assert [values(record)[names.LEDGER_LOG] for record in following.sink.records()] == ["years-6"]
    following.crash()
    for writer in writers:
        writer.close()


def test_the_cursor_never_runs_ahead(folder: Path, following: Following, writer: ChainWriter) -> None:
    """After a failure at any point of a batch, the very same batch comes again, and only then the next."""
    writer.commit([received(1), refused(1)])
    outcomes = iter(["lost", "kept", "", "lost", "kept", ""])
    following.sink._fails = lambda: next(outcomes)
    cursor = CursorFile(folder / "tail", "ledger")
    for _ in range(4):
        with pytest.raises(NotDelivered):
            following.tailer.deliver()
        assert cursor.load() is None
    assert following.tailer.deliver() == 3
    assert cursor.load().sequence == 3
    assert following.counts.failures == {"logs": 2, "traces": 2}
    first, second = following.sink.records()[:3], following.sink.records()[3:]
    assert first == second
    spans = following.sink.spans()
    assert len(spans) == 2
    assert spans[0] == spans[1]


def test_a_request_is_told_whole_although_the_tailer_died_in_it(
    folder: Path, following: Following, writer: ChainWriter
) -> None:
    writer.commit([received(1), received(2), refused(2)])
    following.tailer.drain()
    following.crash()
    writer.commit([refused(1)])
    following.tailer.drain()
    assert following.sink.sequences() == [0, 1, 2, 3, 4]
    assert [values(span)[names.REQUEST_ID] for span in following.sink.spans()] == [f"{2:032x}", f"{1:032x}"]
    assert [summary.request for summary in following.finished] == [f"{2:032x}", f"{1:032x}"]
    assert CursorFile(folder / "tail", "ledger").load().open_from == 5


def test_a_request_whose_process_died_is_told_as_unfinished(folder: Path, following: Following) -> None:
    writer = ChainWriter(folder, ORIGIN)
    writer.commit([received(1)])
    writer.close()
    following.tailer.drain()
    assert following.sink.spans() == []
    following.crash()
    ChainWriter(folder, ORIGIN).close()
    following.tailer.drain()
    (span,) = following.sink.spans()
    assert values(span)[names.OUTCOME] == "UNFINISHED"
    assert following.finished[0].outcome == "UNFINISHED"


def test_a_request_whose_beginning_is_gone_is_counted(folder: Path, following: Following, writer: ChainWriter) -> None:
    """The oldest segments were pruned before anything was delivered."""
    writer.commit([received(number) for number in range(20)])
    writer.commit([refused(number) for number in range(20)])
    oldest, *_ = list_segments(folder)
    oldest.path.unlink()
    left = following.tailer.drain()
    assert following.sink.sequences() == list(range(41 - left, 41))
    assert 0 < following.counts.untold == 20 - len(following.sink.spans())


async def test_ids_come_from_the_audit_id(ledger: Ledger, life: dict[State, Facts], following: Following) -> None:
    trace = life[State.RECEIVED]["trace"]
    joined = await live(ledger, life)
    del life[State.RECEIVED]["trace"]
    alone = await live(ledger, life)
    following.tailer.drain()
    spans = {values(span).get(names.REQUEST_ID): span for span in following.sink.spans()}
    first, second = spans[alone.request], spans[joined.request]
    assert (first.trace_id.hex(), first.parent_span_id) == (alone.request, b"")
    assert (second.trace_id.hex(), second.parent_span_id.hex()) == (trace["id"], trace["parent"])
    assert second.span_id == span_id(joined.request, "")
    for record in following.sink.records()[1:]:
        root = spans[values(record)[names.REQUEST_ID]]
        assert (record.trace_id, record.span_id) == (root.trace_id, root.span_id)
    assert len({span.span_id for span in following.sink.spans()}) == len(following.sink.spans()) == 14
    assert following.counts.dropped == 0


def test_a_batch_of_the_largest_records_fits_a_message(life: dict[State, Facts], writer: ChainWriter) -> None:
    facts: Facts = {}
    for state in life.values():
        facts.update(state)
    full = writer.commit([make_entry(State.RELEASED, "1" * 32, facts)])[0]
    told = [Told(full, "f" * 64, "1" * 32)] * BATCH_RECORDS
    assert logs_request(told, "years-6", "0.1.0").ByteSize() * 3 < GRPC_BYTES


def test_two_tailers_of_one_ledger_are_refused(folder: Path, following: Following, writer: ChainWriter) -> None:
    following.tailer.drain()
    with pytest.raises(ConfigurationError) as caught:
        Following(folder, Memory()).tailer.drain()
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE


def test_a_log_that_was_cut_after_its_delivery(folder: Path, following: Following) -> None:
    writer = ChainWriter(folder, ORIGIN)
    writer.commit([received(1)])
    writer.close()
    following.tailer.drain()
    following.crash()
    (path,) = [segment.path for segment in list_segments(folder)]
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.drain()
    assert caught.value.reason is Reason.LEDGER_BROKEN
    ChainWriter(folder, ORIGIN).commit([received(2)])  # another record takes the number of the one that was cut off
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.drain()
    assert caught.value.reason is Reason.LEDGER_BROKEN
    assert following.sink.sequences() == [0, 1]


def test_records_pruned_before_their_delivery(folder: Path, following: Following, writer: ChainWriter) -> None:
    following.tailer.drain()
    following.crash()
    for number in range(30):
        writer.commit([received(number)])
    oldest, second, *_ = list_segments(folder)
    oldest.path.unlink()
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.drain()
    assert caught.value.reason is Reason.LEDGER_BROKEN
    (folder / "tail" / "ledger.json").unlink()  # an operator says: go on with what there is
    following.crash()
    following.tailer.drain()
    assert following.sink.sequences() == [0, *range(second.first, 31)]


def test_segments_pruned_after_their_delivery(folder: Path, following: Following, writer: ChainWriter) -> None:
    for number in range(30):
        writer.commit([received(number)])
    following.tailer.drain()
    for segment in list_segments(folder)[:-1]:
        segment.path.unlink()
    writer.commit([refused(1)])
    following.crash()
    assert following.tailer.drain() == 1
    assert following.sink.sequences() == list(range(32))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 1, "sequence": -1}', b"\xff"])
def test_a_damaged_cursor_is_an_error(folder: Path, following: Following, writer: ChainWriter, content: bytes) -> None:
    following.tailer.drain()
    following.crash()
    (folder / "tail" / "ledger.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.drain()
    assert (caught.value.reason, caught.value.place) == (Reason.INPUT_UNREADABLE, "ledger.json")


def test_a_cursor_that_cannot_be_written(
    folder: Path, following: Following, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError

    tailer = following.tailer
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ConfigurationError) as caught:
            tailer.deliver()
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
    assert CursorFile(folder / "tail", "ledger").load() is None
    assert tailer.deliver() == 1


def test_long_lines_end_a_reading(folder: Path, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "READ_BYTES", 500)
    writer.commit([received(number) for number in range(9)])
    reader = LogReader(folder, 0)
    assert len(reader.read(100)) == 2
    reader.skip_to(8)
    assert reader.sequence == 8
    assert json.loads(reader.peek())["sequence"] == 8
    assert [json.loads(line)["sequence"] for line in reader.read(9)] == [8, 9]


def test_a_line_that_is_too_long_is_no_record(folder: Path) -> None:
    folder.mkdir()
    (folder / f"segment-{0:016d}.jsonl").write_bytes(b"x" * (log_reader.MAX_LINE + 2))
    with pytest.raises(ConfigurationError) as caught:
        LogReader(folder, 0).read(1)
    assert caught.value.reason is Reason.LEDGER_BROKEN


def test_back_off_grows_with_jitter_up_to_a_limit() -> None:
    back_off = BackOff()
    waits = [back_off.fail() for _ in range(12)]
    limits = [min(0.5 * 2**number, LONGEST_BACK_OFF) for number in range(12)]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert len(set(waits)) == 12
    assert back_off.fail(asked=3_600) == LONGEST_BACK_OFF
    back_off.succeed()
    assert back_off.fail() <= 0.5
    back_off.succeed()
    assert back_off.fail(asked=7) == 7


def test_the_thread_goes_on_whatever_happens(
    folder: Path,
    following: Following,
    writer: ChainWriter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A collector that is away, a log that cannot be read, a defect of ours: said once, and tried again."""
    monkeypatch.setattr(tail, "FIRST_BACK_OFF", 0.01)
    monkeypatch.setattr(tail, "LONGEST_BACK_OFF", 0.01)
    problems = itertools.chain(["lost"] * 3, [ValueError("canary")] * 2, [ConfigurationError(Reason.LEDGER_BROKEN)])

    def fails() -> str:
        problem = next(problems, "")
        if isinstance(problem, Exception):
            raise problem
        return problem

    following.sink._fails = fails
    stop = threading.Event()
    thread = threading.Thread(target=following.tailer.run, args=(stop,))
    thread.start()
    wait_until(lambda: following.counts.delivered["ledger"] == 1)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert [record.message.split(":")[1].strip() for record in caplog.records] == [
        "the collector does not take the ledger's records",
        "internal error ValueError",
        "LEDGER_BROKEN",
    ]
    assert "canary" not in caplog.text


def test_lag_and_its_bound(folder: Path, following: Following, writer: ChainWriter) -> None:
    watch = LagWatch(folder, folder / "tail")
    (lag,) = watch.lags().values()
    assert lag.records == 1
    following.tailer.drain()
    assert watch.lags()["ledger"].records == watch.lags()["ledger"].seconds == 0
    for number in range(40):
        writer.commit([received(number)])
    assert watch.lags()["ledger"].records == 40
    assert 0 < watch.lags()["ledger"].seconds < 60
    assert not Lagging(watch, 40, 60).is_beyond_bound()
    assert Lagging(watch, 39, 60).is_beyond_bound()
    assert Lagging(watch, 40, 0.0).is_beyond_bound()
    following.tailer.drain()
    assert not Lagging(watch, 39, 0.001).is_beyond_bound()
    list_segments(folder)[-1].path.write_bytes(b"")
    assert Lagging(LagWatch(folder, folder / "tail")).is_beyond_bound()  # the log does not hold what was delivered


def test_lag_from_a_damaged_line_is_age_zero(folder: Path) -> None:
    folder.mkdir()
    (folder / f"segment-{0:016d}.jsonl").write_bytes(b"no record\n")
    lag = LagWatch(folder, folder / "tail").lags()["ledger"]
    assert lag.records == 1
    assert lag.seconds < 1


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["write", "open", "deliver", "crash", "restart"]), max_size=25),
    st.randoms(use_true_random=False),
)
def test_whatever_happens_all_is_delivered_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], chance: random.Random
) -> None:
    """Writes, restarts of both sides and failures in any order: first deliveries are 0, 1, 2 ..., every repetition is
    identical with what it repeats, and every request that ended is told."""
    folder = tmp_path_factory.mktemp("ledger")
    following = Following(folder, Memory(lambda: chance.choice(["", "", "lost", "kept"])))
    writer = ChainWriter(folder, ORIGIN, segment_bytes=1_500)
    number, running = 0, []
    for step in steps:
        if step == "write":
            number += 1
            writer.commit([received(number)])
            running.append(number)
        elif step == "open" and running:
            writer.commit([refused(running.pop(chance.randrange(len(running))))])
        elif step == "deliver":
            _attempt(following)
        elif step == "crash":
            following.crash()
        elif step == "restart":
            writer.close()
            writer = ChainWriter(folder, ORIGIN, segment_bytes=1_500)
            running.clear()
    following.sink._fails = lambda: ""
    following.tailer.drain()
    following.crash()
    writer.close()
    _check_delivered(folder, following)


def _attempt(following: Following) -> None:
    try:
        following.tailer.deliver()
    except NotDelivered:
        return


def _check_delivered(folder: Path, following: Following) -> None:
    seen: dict[int, bytes] = {}
    for record in following.sink.records():
        record.observed_time_unix_nano = 0
        sequence, content = values(record)[names.SEQUENCE], record.SerializeToString()
        assert sequence <= len(seen)
        assert seen.setdefault(sequence, content) == content
    records = list(read_records(folder))
    assert list(seen) == [record.sequence for record in records]
    spans: dict[bytes, bytes] = {}
    for span in following.sink.spans():
        assert spans.setdefault(span.span_id, span.SerializeToString()) == span.SerializeToString()
    ended = {record.request for record in records if record.event is State.REFUSED}
    told = {values(span)[names.REQUEST_ID] for span in following.sink.spans()}
    assert ended <= told


async def test_live_writing_and_delivery_side_by_side(folder: Path, following: Following) -> None:
    ledger = Ledger(folder, ORIGIN, segment_bytes=5_000)
    stop = threading.Event()
    thread = threading.Thread(target=following.tailer.run, args=(stop,))
    thread.start()

    async def append(which: int) -> None:
        for number in range(60):
            await ledger.append(received(which * 1_000 + number))

    await asyncio.gather(*(append(which) for which in range(1, 5)))
    ledger.close()
    await asyncio.to_thread(wait_until, lambda: following.counts.delivered["ledger"] == 241)
    stop.set()
    thread.join(5)
    assert following.sink.sequences() == list(range(241))


def test_a_segment_that_is_pruned_under_the_reader(folder: Path, writer: ChainWriter) -> None:
    for number in range(30):
        writer.commit([received(number)])
    reader = LogReader(folder, 0)
    reader.read(1)
    first, second, *_ = list_segments(folder)
    first.path.unlink()
    assert reader.read(9) == []
    with pytest.raises(ConfigurationError):  # what it had not read is gone
        reader.read(9)
    reader = LogReader(folder, None)
    assert json.loads(reader.peek())["sequence"] == second.first


def test_segments_that_do_not_follow_one_another(folder: Path, writer: ChainWriter) -> None:
    for number in range(30):
        writer.commit([received(number)])
    list_segments(folder)[1].path.unlink()
    reader = LogReader(folder, 0)
    assert reader.read(99)
    with pytest.raises(ConfigurationError) as caught:
        reader.read(99)
    assert caught.value.reason is Reason.LEDGER_BROKEN


def test_a_log_without_segments_has_nothing_yet(folder: Path) -> None:
    folder.mkdir()
    reader = LogReader(folder, None)
    assert reader.read(9) == []
    assert log_reader.newest_sequence(folder) == 0
    writer = ChainWriter(folder, ORIGIN)
    assert len(reader.read(9)) == log_reader.newest_sequence(folder) == 1
    writer.close()


def test_a_segment_that_cannot_be_opened(folder: Path) -> None:
    (folder / f"segment-{0:016d}.jsonl").mkdir(parents=True)
    for look in (lambda: LogReader(folder, 0).read(1), lambda: log_reader.newest_sequence(folder)):
        with pytest.raises(ConfigurationError) as caught:
            look()
        assert caught.value.reason is Reason.INPUT_UNREADABLE


def test_a_folder_for_cursors_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError) as caught:
        Tailer(tmp_path, tmp_path / "file" / "tail", Exporter(Memory(), Counts()), "0.1.0")
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE


def test_records_before_a_flaw_are_delivered(folder: Path, following: Following) -> None:
    writer = ChainWriter(folder, ORIGIN)
    writer.commit([received(number) for number in range(5)])
    writer.close()
    (path,) = [segment.path for segment in list_segments(folder)]
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], lines[4], b""]))
    assert following.tailer.deliver() == 3
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.deliver()
    assert caught.value.explanation.endswith("gap")
    assert following.sink.sequences() == [0, 1, 2]


def test_a_first_line_that_is_no_record(folder: Path, following: Following) -> None:
    folder.mkdir()
    (folder / f"segment-{7:016d}.jsonl").write_bytes(b"no record\n")
    with pytest.raises(ConfigurationError) as caught:
        following.tailer.deliver()
    assert caught.value.reason is Reason.LEDGER_BROKEN


def test_more_requests_than_can_run_are_given_up(
    following: Following, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_requests, "MOST", 3)
    writer.commit([received(number) for number in range(1, 6)])
    following.tailer.drain()
    assert [(one.request, one.outcome) for one in following.finished] == [
        (f"{1:032x}", "UNFINISHED"),
        (f"{2:032x}", "UNFINISHED"),
    ]


async def test_a_request_with_every_event_of_the_ledger_beside_it(ledger: Ledger, following: Following) -> None:
    """Policies and trials are told as log records, in no trace."""
    used = {"name": "finance", "digest": "e4" * 32}
    said = {"verdict": Verdict.ALLOW, "complete": True, "hidden": {}}
    shadow = {"of": "c1" * 16, "policy": used, "candidate": used, "said": said, "would_say": said, "milliseconds": 3}
    await ledger.append(make_entry(LedgerEvent.POLICIES, None, {"policies": (used,), "policy_problems": 2}))
    await ledger.append(make_entry(LedgerEvent.SHADOWED, None, {"shadow": shadow}))
    following.tailer.drain()
    opened, policies, shadowed = following.sink.records()
    assert opened.trace_id == policies.trace_id == shadowed.trace_id == b""
    assert values(policies)["guardedvlm.policy_problems"] == 2
    told = values(shadowed)
    assert (told["guardedvlm.shadow.of"], told["guardedvlm.shadow.would_say"]) == ("c1" * 16, "allow")
    assert following.counts.dropped == 0
