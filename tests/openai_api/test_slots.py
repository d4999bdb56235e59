"""Slots, bodies and streams: what a caller who takes much, sends slowly or stops reading can hold."""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from guardedvlm.errors import Overloaded, Reason, TimedOut
from guardedvlm.openai_api import app, events, slots
from guardedvlm.openai_api.app import Front, Routes
from guardedvlm.openai_api.events import Ahead, EventStream, unless_gone
from guardedvlm.openai_api.slots import Slots
from guardedvlm.web.body import Pace, read_in_time

GONE = {"type": "http.disconnect"}


def part(content, more=True):
    return {"type": "http.request", "body": content, "more_body": more}


def receiving(*messages):
    """Gives the messages; then waits for ever."""
    left = list(messages)

    async def receive():
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def request(receive, token="t"):
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.05)


async def test_a_token_has_its_part_and_the_others_theirs(at_once):
    found = Slots(8)
    async with AsyncExitStack() as all_held:
        mine = AsyncExitStack()
        for _ in range(2):
            await found.take("mine", mine)
        for _ in range(3):
            with pytest.raises(Overloaded) as full:
                await found.take("mine", all_held)
            assert (full.value.reason, full.value.retry_after) == (Reason.QUEUE_FULL, slots.RETRY_SECONDS)
        for other in "abc":
            for _ in range(2):
                await found.take(other, all_held)
        with pytest.raises(Overloaded):
            async with AsyncExitStack() as more:
                await found.take("d", more)
        await mine.aclose()
        await found.take("d", all_held)
    async with AsyncExitStack() as again:
        for other in "abcd":
            for _ in range(2):
                await found.take(other, again)


async def test_nothing_is_kept_of_who_has_gone(at_once):
    found = Slots(1)

    async def asked(token):
        async with AsyncExitStack() as held:
            await found.take(token, held)
            await asyncio.sleep(0.1)

    said = await asyncio.gather(*(asyncio.ensure_future(asked(name)) for name in "ab"), return_exceptions=True)
    assert [type(one) for one in said] == [type(None), Overloaded]
    assert not found._parts
    assert not found._requests


async def test_who_goes_away_waits_for_no_slot():
    routes = Routes(Front("x", most_requests=1))

    async def policy():
        return SimpleNamespace(name="finance")

    routes.client = SimpleNamespace(as_caller=lambda _: SimpleNamespace(policy=policy))
    async with AsyncExitStack() as held:
        await routes._slots.take("t", held)
        for messages in ([GONE], [part(b"{}", more=False), GONE]):
            async with asyncio.timeout(2):
                assert (await routes.chat(request(receiving(*messages)))).status_code == 499


async def test_what_was_looked_at_is_still_to_be_read():
    ahead = Ahead(receiving(part(b"a"), part(b"b"), part(b"c", more=False)))
    assert await unless_gone(ahead.look, asyncio.sleep(0.05, "slot")) == "slot"
    assert await read_in_time(request(ahead.receive), 10, Pace(1, 1, 1)) == b"abc"


@pytest.mark.parametrize("pace", [Pace(0.1, 60, 1000), Pace(60, 0.1, 1000)], ids=["too long", "too slow"])
async def test_a_body_that_drips_lets_go(pace):
    async def drip():
        await asyncio.sleep(0.02)
        return part(b"x")

    async with asyncio.timeout(2):
        with pytest.raises(TimedOut):
            await read_in_time(request(drip), 10**6, pace)


async def test_a_body_at_its_pace_comes_whole():
    left = [part(b"x" * 100)] * 9 + [part(b"", more=False)]

    async def steady():
        await asyncio.sleep(0.02)
        return left.pop(0)

    assert await read_in_time(request(steady), 10**6, Pace(60, 0.15, 500)) == b"x" * 900


async def test_the_front_gives_a_body_a_pace(monkeypatch):
    monkeypatch.setattr(app, "PACE", Pace(0.05, 0.05, 1000))
    routes = Routes(Front("x"))

    async def policy():
        return SimpleNamespace(name="finance")

    routes.client = SimpleNamespace(as_caller=lambda _: SimpleNamespace(policy=policy))
    async with asyncio.timeout(2):
        with pytest.raises(TimedOut):
            await routes.chat(request(receiving(part(b"{"))))


@pytest.mark.parametrize(("write", "whole"), [(0.05, 60.0), (60.0, 0.05)])
async def test_who_stops_reading_lets_go(monkeypatch, write, whole):
    monkeypatch.setattr(events, "WRITE_SECONDS", write)
    held, told, sent = AsyncExitStack(), [], []
    held.callback(told.append, "let go")

    async def pieces():
        while True:
            yield b"data: x\n\n"

    async def send(message):
        sent.append(message)
        if len(sent) > 3:
            await asyncio.Event().wait()

    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await EventStream(pieces(), held, whole)({}, receiving(), send)
            told.append("ended")
    assert told == ["let go", "ended"]
    assert len(sent) == 4
