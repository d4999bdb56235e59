"""Limits of tenants: which call is refused, with what, and what is given back."""

import asyncio

import pytest
from google.rpc import error_details_pb2

from guardedvlm.admission import Gate
from guardedvlm.admission.times import ENOUGH, KEEP_SECONDS, PROBE_SECONDS, ServiceTimes
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.quota import Quota, TenantLimits
from guardedvlm.errors import Overloaded, Reason, TimedOut
from guardedvlm.transport.status import status_proto

LONG = 100.0


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def begun(gate, limits, size=10, tenant="clinic"):
    place = gate.place(tenant, limits)
    place.arrive(size)
    return place


async def served(place, tokens=0, megapixels=1.0, wrote=0, seconds=LONG):
    async with place.turn("RedactImage", Deadline.after(seconds), tokens):
        place.charge(megapixels, Deadline.after(seconds))
        if tokens:
            place.wrote(wrote)


async def refused(awaitable, reason, **details):
    with pytest.raises((Overloaded, TimedOut)) as caught:
        await awaitable
    assert caught.value.reason is reason
    assert details.items() <= caught.value.details.items()
    return caught.value


async def test_requests_a_second():
    clock = Clock()
    gate, limits = Gate(4, clock=clock), TenantLimits(requests_per_second=2.0)
    for _ in range(4):  # two seconds' worth are saved up
        await served(begun(gate, limits))
    error = await refused(served(begun(gate, limits)), Reason.QUOTA_EXCEEDED, quota="requests_per_second")
    assert error.details["retry_seconds"] == 0.501
    await served(begun(gate, limits, tenant="bank"))  # another tenant's is another
    clock.now += 0.501
    await served(begun(gate, limits))
    assert (gate.refused, gate.held_bytes) == ({"requests_per_second": 1}, 0)
    kinds = [detail.TypeName() for detail in status_proto(error).details]
    assert kinds == ["google.rpc.ErrorInfo", "google.rpc.QuotaFailure", "google.rpc.RetryInfo"]
    quota = error_details_pb2.QuotaFailure()
    assert status_proto(error).details[1].Unpack(quota)
    assert quota.violations[0].quota_id == "requests_per_second"


async def test_megapixels_a_second_are_charged_when_they_are_known():
    clock = Clock()
    gate, limits = Gate(4, clock=clock), TenantLimits(megapixels_per_second=2.0)
    await served(begun(gate, limits), megapixels=40.0)  # more than may be saved up: once, and then it is owed
    error = await refused(served(begun(gate, limits)), Reason.QUOTA_EXCEEDED, quota="megapixels_per_second")
    assert error.details["retry_seconds"] == 10.001
    clock.now += 10.0
    await refused(served(begun(gate, limits), megapixels=1.0), Reason.QUOTA_EXCEEDED)
    clock.now += 0.5
    await served(begun(gate, limits), megapixels=1.0)


async def test_output_tokens_are_set_aside_and_what_was_not_written_is_given_back():
    clock = Clock()
    gate, limits = Gate(4, clock=clock), TenantLimits(output_tokens_per_minute=1_000.0)
    for _ in range(50):
        await served(begun(gate, limits), tokens=500, wrote=10)
    await served(begun(gate, limits), tokens=500, wrote=500)
    error = await refused(served(begun(gate, limits), tokens=1), Reason.QUOTA_EXCEEDED)
    assert error.details["quota"] == "output_tokens_per_minute"
    clock.now += 30.0
    await served(begun(gate, limits), tokens=500, wrote=None)  # nobody knows how many: all of them
    await refused(served(begun(gate, limits), tokens=1), Reason.QUOTA_EXCEEDED)
    await served(begun(gate, limits))  # who asks no model needs none
    clock.now += 60.0
    place = begun(gate, limits)
    with pytest.raises(KeyError):
        async with place.turn("AnalyzeImage", Deadline.after(LONG), 1_000):
            raise KeyError  # before the model was asked
    await served(begun(gate, limits), tokens=1_000, wrote=1_000)


async def test_every_page_of_a_document_is_charged():
    async def charged(pages, last):
        """Seconds until a bucket of one token a second, with 60 in it, has one again."""
        gate, limits = Gate(1, clock=Clock()), TenantLimits(output_tokens_per_minute=60.0)
        place = begun(gate, limits)
        async with place.turn("AnalyzeImage", Deadline.after(LONG), 50):
            for tokens in pages:
                place.wrote_page(tokens)
            meanwhile = gate.bucket("clinic", Quota.OUTPUT_TOKENS, limits).wait(1.0, 1_000.0)
            place.wrote(last)
        return meanwhile, gate.bucket("clinic", Quota.OUTPUT_TOKENS, limits).wait(60.0, 1_000.0)

    assert await charged([40, 40, 40], 0) == (61.0, 120.0)
    assert await charged([10, 10], 0) == (0.0, 20.0)
    assert await charged([40, 40], None) == (21.0, 130.0)  # the third may have had as many as it was allowed
    assert await charged([], None) == (0.0, 50.0)


async def test_bytes_are_bounded_before_they_are_read():
    gate, limits = Gate(4, queue_mebibytes=3), TenantLimits(queue_mebibytes=2)
    held = [begun(gate, limits, 2**20) for _ in range(2)]
    over = begun(gate, limits, 1)
    assert over.is_refused
    await refused(served(over), Reason.QUEUE_FULL, queue="queue_mebibytes")
    other = begun(gate, limits, 2**20, "bank")
    assert not other.is_refused
    await refused(served(begun(gate, limits, 1, "bank")), Reason.QUEUE_FULL, queue="service_mebibytes")
    for place in (*held, other):
        place.close()
        place.close()
    assert gate.held_bytes == 0
    assert not begun(gate, limits, 2**20).is_refused


async def test_a_queue_is_bounded_and_who_goes_away_frees_the_place():
    gate, limits = Gate(1), TenantLimits(queue=2)
    doors = asyncio.Event()

    async def slow():
        place = begun(gate, limits)
        async with place.turn("RedactImage", Deadline.after(LONG)):
            await doors.wait()

    running = [asyncio.ensure_future(slow()) for _ in range(3)]
    await asyncio.sleep(0)
    assert (gate.turns.running, gate.turns.waiting) == (1, 2)
    error = await refused(served(begun(gate, limits)), Reason.QUEUE_FULL, queue="queue")
    assert [detail.TypeName() for detail in status_proto(error).details] == [
        "google.rpc.ErrorInfo",
        "google.rpc.RetryInfo",
    ]
    running[1].cancel()
    await asyncio.gather(running[1], return_exceptions=True)
    assert (gate.turns.waiting, gate.held_bytes) == (1, 20)
    await refused(served(begun(gate, limits), seconds=0.02), Reason.DEADLINE_EXCEEDED)  # it waits, and its time is up
    doors.set()
    await asyncio.gather(running[0], running[2])
    gate.turns.check_integrity()
    assert (gate.turns.running, gate.turns.waiting, gate.held_bytes) == (0, 0, 0)


async def test_concurrency_counts_until_the_model_has_written():
    gate, limits = Gate(8), TenantLimits(concurrency=1)
    doors = asyncio.Event()

    async def asks(tenant):
        place = begun(gate, limits, tenant=tenant)
        async with place.turn("AnalyzeImage", Deadline.after(LONG), 10):
            place.looked()
            async with place.model_turn(4, Deadline.after(LONG)):
                await doors.wait()

    tasks = [asyncio.ensure_future(asks(tenant)) for tenant in ("clinic", "clinic", "bank")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (gate.turns.running, gate.turns.waiting, gate.model.running) == (0, 1, 2)
    doors.set()
    await asyncio.gather(*tasks)
    assert (gate.turns.running, gate.model.running, gate.waiting()) == (0, 0, {"admission": 0, "model": 0})


async def test_what_cannot_end_in_time_is_not_begun():
    gate, limits = Gate(2), TenantLimits()
    for number in range(ENOUGH):
        gate.times.note("clinic", "RedactImage", 1.0, 5.0 + number)
    error = await refused(served(begun(gate, limits), seconds=4.5), Reason.DEADLINE_EXCEEDED, least_seconds=5.0)
    assert isinstance(error, TimedOut)
    await served(begun(gate, limits), seconds=6.5)
    for _ in range(ENOUGH):
        gate.times.note("clinic", "RedactImage", 30.0, 90.0)
    await served(begun(gate, limits), megapixels=1.0, seconds=50.0)
    assert gate.refused == {"deadline": 1}


async def test_who_would_wait_too_long_is_told_to_come_back():
    gate, limits = Gate(1), TenantLimits()
    for _ in range(ENOUGH):
        gate.times.note("clinic", "RedactImage", 1.0, 10.0)
    doors = asyncio.Event()

    async def slow():
        async with begun(gate, limits).turn("RedactImage", Deadline.after(LONG)):
            await doors.wait()

    tasks = [asyncio.ensure_future(slow()) for _ in range(4)]
    await asyncio.sleep(0)
    error = await refused(served(begun(gate, limits), seconds=35.0), Reason.QUEUE_FULL, queue="deadline")
    assert error.details["retry_seconds"] >= 10.0
    doors.set()
    await asyncio.gather(*tasks)


def test_the_least_is_a_lower_estimate():
    times = ServiceTimes()
    for number in range(ENOUGH - 1):
        times.note("t", "a", float(number), 10.0 + number)
    assert (times.least("t", "a"), times.usual("t", "a"), times.usual("t", "b")) == (0.0, 19.0, 1.0)
    times.note("t", "a", 100.0, 1.0)  # of what size the next one is, nobody knows: it may be as fast
    assert (times.least("t", "a"), times.least("t", "a", 100.0), times.least("t", "a", 5.0)) == (1.0, 10.0, 0.0)
    assert times.least_of_all() == 1.0


async def test_large_documents_of_one_tenant_do_not_refuse_the_small_ones_of_another():
    gate, limits = Gate(2), TenantLimits()
    for _ in range(256):
        gate.times.note("bank", "RedactImage", 60.0, 45.0)
    await refused(served(begun(gate, limits, tenant="bank"), seconds=30.0), Reason.DEADLINE_EXCEEDED)
    await served(begun(gate, limits), seconds=30.0)
    assert gate.times.usual("clinic", "RedactImage") < 1.0


async def test_nor_do_they_lengthen_its_queue():
    gate, limits = Gate(1), TenantLimits()
    for _ in range(ENOUGH):
        gate.times.note("bank", "RedactImage", 60.0, 45.0)
    tasks = [asyncio.ensure_future(served(begun(gate, limits), seconds=30.0)) for _ in range(5)]
    await asyncio.gather(*tasks)


async def test_what_was_long_ago_is_forgotten():
    clock = Clock()
    gate, limits = Gate(2, clock=clock), TenantLimits()
    for _ in range(ENOUGH):
        gate.times.note("clinic", "RedactImage", 60.0, 45.0)
    await refused(served(begun(gate, limits), seconds=30.0), Reason.DEADLINE_EXCEEDED)
    clock.now += KEEP_SECONDS + 1
    assert (gate.times.usual("clinic", "RedactImage"), gate.times.least_of_all()) == (1.0, 0.0)
    await served(begun(gate, limits), seconds=30.0)
    await served(begun(gate, limits), seconds=30.0)


async def test_now_and_then_one_is_let_through_and_corrects_the_estimate():
    clock = Clock()
    gate, limits = Gate(2, clock=clock), TenantLimits()
    for _ in range(2 * ENOUGH):
        gate.times.note("clinic", "RedactImage", 1.0, 45.0)  # somebody else used the machine
    await refused(served(begun(gate, limits), seconds=30.0), Reason.DEADLINE_EXCEEDED)
    clock.now += PROBE_SECONDS
    doors = asyncio.Event()

    async def probe():
        async with begun(gate, limits).turn("RedactImage", Deadline.after(30.0)):
            await doors.wait()

    one = asyncio.ensure_future(probe())
    await asyncio.sleep(0)
    await refused(served(begun(gate, limits), seconds=30.0), Reason.DEADLINE_EXCEEDED)  # one, not all
    doors.set()
    await one
    async with begun(gate, limits).turn("RedactImage", Deadline.after(30.0)):
        pass  # not refused at the door any more
