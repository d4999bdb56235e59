"""A request's log: the table's steps in order, each durable, finished once."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from guardedvlm.audit.facts import Facts, Method
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Internal, Reason, Unavailable


async def _live(ledger: Ledger, life: dict[State, Facts], until: State) -> RequestLog:
    log: RequestLog | None = None
    for state, facts in life.items():
        if log is None:
            log = await RequestLog.begin(ledger, **facts)
        else:
            await log.advance(state, **facts)
        if state is until:
            break
    assert log is not None
    return log


async def test_a_whole_life(ledger: Ledger, folder: Path, life: dict[State, Facts]) -> None:
    log = await _live(ledger, life, State.RELEASED)
    written = list(read_records(folder, request=log.request))
    assert [record.event for record in written] == list(life)
    assert [record.facts for record in written] == list(life.values())
    assert log.finished
    assert list(log.records) == written
    assert verify_ledger(folder).unfinished == ()


@pytest.mark.parametrize("until", [state for state in State if state not in (State.RELEASED, State.REFUSED)])
async def test_every_state_can_be_refused(ledger: Ledger, folder: Path, life: dict[State, Facts], until: State) -> None:
    log = await _live(ledger, life, until)
    assert verify_ledger(folder).unfinished == (log.request,)
    await log.advance(State.REFUSED, reason=Reason.STAGE_TIMEOUT)
    assert log.state is State.REFUSED
    assert log.records[-1].facts == {"reason": Reason.STAGE_TIMEOUT}
    assert verify_ledger(folder).unfinished == ()


async def test_an_illegal_step_is_an_error_and_leaves_no_record(ledger: Ledger, folder: Path) -> None:
    log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
    for state in (State.RECEIVED, State.DECODED, State.CLEARED, State.RELEASE_OPEN, State.RELEASED):
        with pytest.raises(Internal):
            await log.advance(state)
    assert log.state is State.RECEIVED
    assert len(list(read_records(folder, request=log.request))) == 1


@pytest.mark.parametrize("end", [State.RELEASED, State.REFUSED])
async def test_finishing_twice_is_an_error(ledger: Ledger, life: dict[State, Facts], end: State) -> None:
    log = await _live(ledger, life, State.RELEASE_OPEN)
    facts = Facts(reason=Reason.INTERNAL) if end is State.REFUSED else Facts()
    await log.advance(end, **facts)
    for again in (State.RELEASED, State.REFUSED):
        with pytest.raises(Internal):
            await log.advance(again, **(Facts(reason=Reason.INTERNAL) if again is State.REFUSED else Facts()))


async def test_facts_that_do_not_fit_leave_the_state(ledger: Ledger) -> None:
    log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
    with pytest.raises(Internal) as caught:
        await log.advance(State.ADMITTED, tenant="canary")
    assert "canary" not in repr(caught.value)
    assert log.state is State.RECEIVED


async def test_two_requests_have_two_ids(ledger: Ledger) -> None:
    logs = [await RequestLog.begin(ledger, method=Method.REDACT_IMAGE) for _ in range(2)]
    assert logs[0].request != logs[1].request


async def test_after_a_lost_step_only_a_refusal_is_left(
    ledger: Ledger, folder: Path, life: dict[State, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an answer could leave although the record that it was to leave is missing."""
    log = await _live(ledger, life, State.GENERATING)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(Unavailable):
            await log.advance(State.RELEASE_OPEN)
    assert await ledger.probe()
    with pytest.raises(Unavailable) as caught:
        await log.advance(State.RELEASED)
    assert caught.value.reason is Reason.LEDGER_UNWRITABLE
    await log.advance(State.REFUSED, reason=Reason.LEDGER_UNWRITABLE)
    report = verify_ledger(folder)
    assert report.chain_ok
    assert report.unfinished == ()


async def test_a_cancelled_step_counts_as_lost(ledger: Ledger, life: dict[State, Facts]) -> None:
    log = await _live(ledger, life, State.GENERATING)
    step = asyncio.create_task(log.advance(State.RELEASE_OPEN))
    await asyncio.sleep(0)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    with pytest.raises(Unavailable):
        await log.advance(State.RELEASED)
    await log.advance(State.REFUSED, reason=Reason.DEADLINE_EXCEEDED)


async def test_nothing_begins_without_a_ledger(ledger: Ledger) -> None:
    ledger.close()
    with pytest.raises(Unavailable):
        await RequestLog.begin(ledger, method=Method.ANALYZE_IMAGE)
