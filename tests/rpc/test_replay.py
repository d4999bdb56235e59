"""Idempotency."""

import asyncio

import pytest

from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import Conflict, InvalidInput, NotPermitted, Reason
from guardedvlm.rpc import replay
from guardedvlm.rpc.replay import KEEP_SECONDS, Replays

ANN = Caller("clinic", "ann", frozenset())
BOB = Caller("clinic", "bob", frozenset())
EVE = Caller("bank", "ann", frozenset())


class Work:
    """Counts how often it is done."""

    def __init__(self):
        self.done = 0

    async def __call__(self):
        self.done += 1
        await asyncio.sleep(0)
        return f"output {self.done}"


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def replays(now):
    found = Replays(len, clock=lambda: now[0])
    yield found
    found.check_integrity()


async def test_a_repeated_call_gets_the_released_output(replays):
    work = Work()
    assert await replays.once(ANN, "r", "d", work) == await replays.once(ANN, "r", "d", work) == "output 1"
    assert work.done == 1


async def test_another_payload_is_refused(replays):
    await replays.once(ANN, "r", "d", Work())
    with pytest.raises(Conflict) as failure:
        await replays.once(ANN, "r", "other", Work())
    assert failure.value.reason is Reason.REQUEST_ID_REUSED


async def test_ids_belong_to_a_tenant_and_a_caller(replays):
    work = Work()
    outputs = {await replays.once(who, "r", "d", work) for who in (ANN, BOB, EVE)}
    assert len(outputs) == 3


async def test_who_comes_with_other_roles_gets_nothing_that_was_released_before(replays):
    full = Caller("clinic", "ann", frozenset({Role.CALLER, Role.REIDENTIFY}))
    less = Caller("clinic", "ann", frozenset({Role.CALLER}))
    assert await replays.once(full, "r", "d", Work()) == "output 1"

    async def refuse():
        raise NotPermitted(Reason.ROLE_MISSING)

    with pytest.raises(NotPermitted):
        await replays.once(less, "r", "d", refuse)
    assert await replays.once(full, "r", "d", refuse) == "output 1"


async def test_no_id_means_no_replay(replays):
    work = Work()
    await replays.once(ANN, "", "d", work)
    await replays.once(ANN, "", "d", work)
    assert work.done == 2


async def test_a_call_that_comes_while_the_first_runs_waits_for_it(replays):
    work = Work()
    outputs = await asyncio.gather(*(replays.once(ANN, "r", "d", work) for _ in range(5)))
    assert set(outputs) == {"output 1"}


async def test_a_failure_leaves_nothing_and_reaches_everyone_who_waits(replays):
    async def fail():
        await asyncio.sleep(0)
        raise InvalidInput(Reason.IMAGE_CORRUPT)

    results = await asyncio.gather(*(replays.once(ANN, "r", "d", fail) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, InvalidInput) for result in results)
    assert await replays.once(ANN, "r", "d", Work()) == "output 1"


async def test_when_the_first_is_cancelled_one_who_waits_takes_over(replays):
    started = asyncio.Event()

    async def slow():
        started.set()
        await asyncio.sleep(60)

    first = asyncio.ensure_future(replays.once(ANN, "r", "d", slow))
    await started.wait()
    second = asyncio.ensure_future(replays.once(ANN, "r", "d", Work()))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "output 1"


async def test_after_ten_minutes_it_is_forgotten(replays, now):
    work = Work()
    await replays.once(ANN, "r", "d", work)
    now[0] += KEEP_SECONDS + 1
    assert await replays.once(ANN, "r", "d", work) == "output 2"


async def test_memory_is_bounded(replays, monkeypatch):
    monkeypatch.setattr(replay, "MAX_BYTES", 20)
    for number in range(10):
        await replays.once(ANN, f"r{number}", "d", Work())
        replays.check_integrity()
    work = Work()
    await replays.once(ANN, "r0", "d", work)
    assert work.done == 1  # the oldest was dropped, so it was done again
    monkeypatch.setattr(replay, "MAX_ENTRIES", 1)
    await replays.once(ANN, "r-last", "d", Work())
    replays.check_integrity()


async def test_one_large_output_does_not_drive_out_the_others(replays, monkeypatch):
    monkeypatch.setattr(replay, "LARGEST", 20)
    small, large = Work(), Work()

    async def long():
        return await large() * 10

    assert await replays.once(ANN, "small", "d", small) == "output 1"
    assert await replays.once(EVE, "large", "d", long) == "output 1" * 10
    assert await replays.once(EVE, "large", "d", long) == "output 2" * 10
    assert await replays.once(ANN, "small", "d", small) == "output 1"


async def test_one_tenant_does_not_drive_out_anothers(replays, monkeypatch):
    monkeypatch.setattr(replay, "MAX_BYTES", 80)
    work = Work()
    await replays.once(EVE, "r", "d", work)
    for number in range(30):
        await replays.once(ANN, f"r{number}", "d", Work())
        replays.check_integrity()
    monkeypatch.setattr(replay, "MAX_ENTRIES", 4)
    for number in range(30):
        await replays.once(BOB, f"r{number}", "d", Work())
        replays.check_integrity()
    assert await replays.once(EVE, "r", "d", work) == "output 1"
    assert len(replays._entries) == 3


async def test_a_full_service_drops_from_the_tenant_that_holds_most(replays, monkeypatch):
    monkeypatch.setattr(replay, "MAX_ENTRIES", 4)
    work = Work()
    await replays.once(EVE, "r", "d", work)
    for number in range(6):
        await replays.once(Caller("ab"[number % 2], "ann", frozenset()), f"r{number}", "d", Work())
        replays.check_integrity()
    assert await replays.once(EVE, "r", "d", work) == "output 1"
