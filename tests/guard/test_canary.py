"""The canary picture, and what becomes of who misses it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from guardedvlm.cli.pictures import canary_picture
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Size
from guardedvlm.core.topic import Topic
from guardedvlm.core.word import TextLine
from guardedvlm.errors import Reason, Refused, TimedOut, Unavailable
from guardedvlm.guard import canary
from guardedvlm.guard.decode.isolated import Beside
from guardedvlm.guard.detect.personal import PersonalData, detector
from guardedvlm.guard.roles import SPECS
from guardedvlm.guard.screen.topic_model import TopicModel

LINE = TextLine(Box(1, 1, 9, 9), ((1, 1), (9, 1), (9, 9), (1, 9)), "Harriet Lindqvist", 0.9)
ELSEWHERE = replace(LINE, box=Box(50, 50, 60, 60))
PAGE = tuple(Finding(kind, Box(1, 1, 9, 9), 0.9, "test") for kind in canary.PERSONAL)
SEEN = {
    "read": (LINE,),
    "read_regions": (LINE,),
    "regions": (LINE,),
    "page": PAGE,
    "topics": frozenset({Topic.AGE}),
}


class Pool:
    """A role's processes, which see what is there, or what they are told to."""

    def __init__(self, role):
        self.role = role
        self.says = None
        self.replaced = 0

    async def call(self, method, *_, **__):
        if isinstance(self.says, Exception):
            raise self.says
        return Beside((), (None,), None), [np.zeros((canary.SIZE.height, canary.SIZE.width, 3), np.uint8)]

    async def call_each(self, method, *_, **__):
        if isinstance(self.says, Exception):
            raise self.says
        kind, box = (Kind.FACE, canary.FACE) if "face" in self.role else (Kind.CODE, canary.CODE)
        seen = SEEN.get(method, (Finding(kind, box, 0.9, "test"),))
        return (seen, seen if self.says is None else self.says)

    def replace(self):
        self.replaced += 1


@pytest.fixture
def pools():
    return {role: Pool(role) for role in ("decode", *SPECS)}


def test_the_picture_is_the_one_that_is_drawn():
    with Image.open(io.BytesIO(canary.canary_bytes())) as kept:
        kept = np.asarray(kept.convert("RGB"), float)
    drawn = canary_picture()
    assert Size(*drawn.size) == canary.SIZE
    assert np.abs(kept - np.asarray(drawn, float)).mean() < 2


async def test_who_sees_everything_is_healthy(pools):
    found = canary.Canary(pools)
    found.check()
    assert not found.healthy
    await found.look()
    assert (found.missed, found.healthy) == ((), True)
    assert not any(pool.replaced for pool in pools.values())


WRONG = [
    *((role, ()) for role in SPECS),
    *((role, Refused(Reason.DETECTOR_FAILED)) for role in ("decode", *SPECS)),
    ("faces", (Finding(Kind.FACE, Box(0, 0, 900, 640), 0.9, "test"),)),  # a whole page is no face
    ("codes", (Finding(Kind.CODE, Box(0, 0, 9, 9), 0.9, "test"),)),
    ("code_verifier", (Finding(Kind.FACE, canary.CODE, 0.9, "test"),)),
    ("text_verifier", (ELSEWHERE,)),  # reads the name where others found it, and finds no text there itself
    ("personal", PAGE[:1]),
    ("topics", frozenset({Topic.HEALTH})),
    ("faces", ValueError("canary-4711")),
]


@pytest.mark.parametrize(("role", "says"), WRONG, ids=lambda value: value if isinstance(value, str) else None)
async def test_one_process_of_a_role_that_misses_it_ends_readiness_and_is_replaced(role, says, pools, caplog):
    found = canary.Canary(pools)
    pools[role].says = says
    await found.look()
    assert role in found.missed
    assert not found.healthy
    assert pools[role].replaced == 1
    with pytest.raises(Unavailable) as refused:
        found.check()
    assert refused.value.reason is Reason.CANARY_MISSED
    assert "4711" not in caplog.text
    pools[role].says = None
    await found.look()
    found.check()
    assert found.healthy


async def test_a_busy_guard_is_not_a_blind_one(pools):
    found = canary.Canary(pools)
    await found.look()
    pools["reader"].says = TimedOut(Reason.DEADLINE_EXCEEDED)
    await found.look()
    assert found.healthy
    pools["reader"].says = TimedOut(Reason.STAGE_TIMEOUT)
    await found.look()
    assert found.missed is not None
    assert "reader" in found.missed


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def refusal(found):
    with pytest.raises(Unavailable) as refused:
        found.check()
    return refused.value.reason, refused.value.details["stage"]


async def test_what_was_missed_before_time_ran_out_counts_and_until_a_complete_look(pools):
    found = canary.Canary(pools)
    await found.look()
    pools["faces"].says, pools["code_verifier"].says = (), TimedOut(Reason.DEADLINE_EXCEEDED)
    await found.look()
    assert (found.missed, pools["faces"].replaced) == (("faces",), 1)
    pools["faces"].says = None
    await found.look()  # the faces are found again, and still nobody knows of the rest
    assert refusal(found) == (Reason.CANARY_MISSED, "faces")
    pools["code_verifier"].says = None
    await found.look()
    found.check()


async def test_requests_are_refused_while_the_role_is_still_being_replaced(pools):
    found = canary.Canary(pools)
    await found.look()
    refusals = []
    pools["codes"].says = ()
    pools["codes"].replace = lambda: refusals.append(refusal(found))
    await found.look()
    assert refusals == [(Reason.CANARY_MISSED, "codes")]


async def test_a_served_guard_clears_nothing_before_a_look_was_complete(pools):
    found = canary.Canary(pools)
    pools["code_verifier"].says = TimedOut(Reason.DEADLINE_EXCEEDED)
    await found.look()
    found.check()  # a guard that nobody serves has no canary
    await found.begin()
    assert found.missed is None
    assert refusal(found) == (Reason.CANARY_MISSED, "canary")
    pools["code_verifier"].says = None
    await found.look()
    found.check()


async def test_a_served_guard_clears_nothing_when_the_last_complete_look_is_long_ago(pools):
    clock = Clock()
    found = canary.Canary(pools, 600, clock)
    await found.begin()
    pools["reader"].says = TimedOut(Reason.DEADLINE_EXCEEDED)
    clock.now += 3 * 600
    await found.look()
    found.check()  # busy
    assert found.healthy
    clock.now += 2 * 600
    await found.look()
    assert refusal(found) == (Reason.CANARY_MISSED, "canary")
    assert not found.healthy
    pools["reader"].says = None
    await found.look()
    found.check()
    assert found.healthy


@pytest.fixture(scope="module")
def personal_data():
    return PersonalData()


class Nobody:
    """A named-entity model that has gone blind."""

    def spans(self, _):
        return ()


def test_a_blind_entity_model_meets_no_challenge_and_does_not_start(personal_data, monkeypatch):
    for challenge in (canary.SPANS, canary.PAGE):
        ask = getattr(personal_data, challenge.method)
        assert challenge.holds(ask(**challenge.args))
        assert not challenge.holds(())
        with monkeypatch.context() as patch:
            patch.setattr(personal_data, "_entities", Nobody())
            found = ask(**challenge.args)
        assert {item.kind for item in found} >= {Kind.PERSON, Kind.SSN}  # the lists and rules see what they saw
        assert not challenge.holds(found)
    monkeypatch.setattr(detector, "Entities", lambda _: Nobody())
    with pytest.raises(Refused) as refused:
        PersonalData()
    assert refused.value.reason is Reason.DETECTOR_FAILED


def test_a_blind_classifier_and_blind_rules_each_miss_a_challenge(monkeypatch):
    model = TopicModel()

    def met():
        return [challenge.holds(frozenset(model.topics(**challenge.args))) for challenge in canary.TOPICS]

    assert met() == [True, True]
    with monkeypatch.context() as patch:
        patch.setattr(model, "classified", lambda _: frozenset())
        assert met() == [False, True]
    monkeypatch.setattr("guardedvlm.guard.screen.topic_model.topics_of", lambda _: frozenset())
    assert met() == [True, False]
