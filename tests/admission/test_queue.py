"""Turns: nobody starves, nothing is lost, and a tenant's flood is its own."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guardedvlm.admission.queue import SAVED_TURNS, FairQueue

TENANTS = ("a", "b", "c")


class Turns(RuleBasedStateMachine):
    """Requests that come, go away, end and leave in any order."""

    @initialize(slots=st.integers(1, 4), most=st.integers(1, 3))
    def begin(self, slots, most):
        self.loop = asyncio.new_event_loop()
        self.queue, self.most = FairQueue(slots), most
        self.waiting, self.running, self.resting = [], [], []
        self.came = self.went = 0

    def settle(self):
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [one for one in self.waiting if one[1].done()]:
            self.waiting.remove(task)
            if task[1].cancelled():
                self.went += 1
            else:
                task[1].result()
                self.running.append(task)

    @rule(tenant=st.sampled_from(TENANTS), weight=st.integers(1, 3))
    def come(self, tenant, weight):
        task = self.loop.create_task(self.queue.take(tenant, 1.0, weight, self.most))
        self.waiting.append((tenant, task))
        self.came += 1
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def go_away(self, data):
        data.draw(st.sampled_from(self.waiting))[1].cancel()
        self.settle()

    @precondition(lambda self: self.running and self.waiting)
    @rule(data=st.data())
    def end_and_go_away_at_once(self, data):
        """The turn is given to one who leaves in the same moment."""
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.queue.release(one[0], 1.0, 0.5)
        self.queue.leave(one[0])
        self.went += 1
        for _, task in self.waiting:
            task.cancel()
        self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), took=st.floats(0, 5))
    def end(self, data, took):
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.queue.release(one[0], 1.0, took)
        self.resting.append(one)
        self.settle()

    @precondition(lambda self: self.resting)
    @rule(data=st.data())
    def leave(self, data):
        one = data.draw(st.sampled_from(self.resting))
        self.resting.remove(one)
        self.queue.leave(one[0])
        self.went += 1
        self.settle()

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "queue"):
            return
        self.queue.check_integrity()
        assert self.came == self.went + len(self.waiting) + len(self.running) + len(self.resting)
        assert (self.queue.running, self.queue.waiting) == (len(self.running), len(self.waiting))
        assert len(self.running) <= self.queue.slots
        held = Counter(tenant for tenant, _ in (*self.running, *self.resting))
        assert all(count <= self.most for count in held.values())

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        for tenant, _ in self.running:
            self.queue.release(tenant, 1.0, 1.0)
            self.resting.append((tenant, None))
        for tenant, _ in self.resting:
            self.queue.leave(tenant)
        self.running, self.resting = [], []
        while self.waiting:  # everybody who waits gets a turn: nobody starves
            self.settle()
            assert self.running
            for tenant, _ in self.running:
                self.queue.release(tenant, 1.0, 1.0)
                self.queue.leave(tenant)
            self.running = []
        self.queue.check_integrity()
        self.loop.close()


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=30, stateful_step_count=25)


async def given_order(queue, requests):
    """The order in which turns are given on one place, each of the cost that is told."""
    order, gone = [], []

    async def one(tenant, cost, weight):
        await queue.take(tenant, 1.0, weight)
        order.append(tenant)
        gone.append((tenant, cost))

    tasks = [asyncio.ensure_future(one(*request)) for request in requests]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        while gone:
            tenant, cost = gone.pop()
            queue.release(tenant, 1.0, cost)
            queue.leave(tenant)
    return order


async def test_those_of_another_tenant_wait_for_one_turn():
    queue = FairQueue(1)
    await given_order(queue, [("other", 1.0, 1)] + [("flood", 1.0, 1)] * 20)
    order = await given_order(queue, [("flood", 1.0, 1)] * 50 + [("other", 1.0, 1)] * 3)
    assert order[:5] == ["flood", "other", "other", "other", "flood"]


async def test_turns_are_charged_what_they_took():
    """Five times as long: a fifth of the turns."""
    order = await given_order(FairQueue(1), [("long", 5.0, 1)] * 20 + [("short", 1.0, 1)] * 60)
    assert 8 <= order[:60].count("long") <= 12


async def test_weights():
    order = await given_order(FairQueue(1), [("three", 1.0, 3)] * 60 + [("one", 1.0, 1)] * 60)
    assert 28 <= order[16:56].count("three") <= 32  # after what both had saved up


async def test_who_was_idle_has_saved_up_a_few_turns_and_no_more():
    queue = FairQueue(1)
    await given_order(queue, [("idle", 1.0, 1)] + [("busy", 1.0, 1)] * 100)
    order = await given_order(queue, [("busy", 1.0, 1)] * 40 + [("idle", 1.0, 1)] * 40)
    assert order[1 : SAVED_TURNS + 1] == ["idle"] * SAVED_TURNS
    assert abs(order[:40].count("idle") - 20 - SAVED_TURNS / 2) <= 1


async def test_who_is_new_is_next_and_has_saved_up_nothing():
    """Also where turns were thought to be longer than they are when the others came."""
    queue = FairQueue(1)
    await given_order(queue, [("flood", 0.1, 1)] * 20)
    order = await given_order(queue, [("flood", 0.1, 1)] * 20 + [("new", 0.1, 1)] * 20)
    assert "new" in order[1:3]
    assert 8 <= order[:20].count("new") <= 12


async def test_who_comes_and_goes_has_no_more_than_its_share():
    queue = FairQueue(1)
    counts = Counter()
    flood = [("flood", 1.0, 1)] * 400
    gone = []

    async def one(tenant):
        await queue.take(tenant, 1.0)
        counts[tenant] += 1
        gone.append(tenant)

    tasks = [asyncio.ensure_future(one(tenant)) for tenant, _, _ in flood]
    guest: list = []
    while counts["flood"] < 100:
        if all(task.done() for task in guest):  # it comes back as soon as its line is empty
            guest = [asyncio.ensure_future(one("guest")) for _ in range(SAVED_TURNS)]
        await asyncio.sleep(0)
        while gone:
            tenant = gone.pop()
            queue.release(tenant, 1.0, 1.0)
            queue.leave(tenant)
    assert counts["guest"] <= 100 + 2 * SAVED_TURNS
    for task in (*tasks, *guest):
        task.cancel()
    await asyncio.gather(*tasks, *guest, return_exceptions=True)


@settings(max_examples=40)
@given(st.integers(1, 5), st.lists(st.sampled_from(TENANTS), min_size=1, max_size=40))
def test_everybody_is_served_once(slots, tenants):
    async def all_of_them():
        queue = FairQueue(slots)
        order = await given_order(queue, [(tenant, 1.0, 1) for tenant in tenants])
        queue.check_integrity()
        assert (queue.running, queue.waiting) == (0, 0)
        return order

    assert Counter(asyncio.run(all_of_them())) == Counter(tenants)
