"""What is kept for review is the picture that was cleared, after release, and only where its policy says so."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from test_pages_path import PNG, POLICY
from test_shadow import QUESTION, Page

from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.facts import Method
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review.store import About, SampleStore
from guardedvlm.audit.reviewed import Basis
from guardedvlm.audit.verify import read_ledger, read_records, verify_ledger
from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.lifecycle import State
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason, Unavailable
from guardedvlm.guard import review as review_module
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.guard.review import Reviews
from guardedvlm.guard.run import GuardRequest, Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import ReviewRules, SayRules, TextRules, Topic

KEY = AuditKey(b"k" * 32)


def reviewed(**rules):
    return POLICY.model_copy(update={"review": ReviewRules(**rules)})


class Reviewed:
    """What requests under a policy left for the reviewer."""

    def __init__(self, folder, policy, *, texts=("Total 5 Jane Roe",), method=Method.ANALYZE_IMAGE, **more):
        self.folder, self.policy, self.method, self.more = folder, policy, method, more
        self.scene = Page(list(texts), drafts=dict.fromkeys(range(100, 110), more.pop("draft", "It is 5.")))
        self.store = SampleStore(folder / "review", folder / "keys", max_samples=more.pop("max_samples", 50))
        self.outcomes = []

    async def run(self, times=1):
        ledger = Logs(self.folder / "ledger", "a0" * 16)
        signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
        pipeline = Pipeline(self.scene, self.scene, signer, Witness(ledger, KEY, {}), self.store)
        try:
            for _ in range(times):
                self.outcomes.append(await self._one(pipeline))
            await pipeline.close()
            await pipeline.reviews.sweep()
        finally:
            ledger.close()
        self.records = list(read_ledger(self.folder / "ledger"))
        assert all(verify_ledger(log).chain_ok for log in list_logs(self.folder / "ledger"))
        return self

    async def _one(self, pipeline):
        request = GuardRequest(
            *(Caller("clinic", "ann", frozenset()), self.policy, RawImage(PNG), Deadline.after(30)),
            self.method,
            **self.more,
        )
        try:
            if self.method is Method.REDACT_IMAGE:
                return await pipeline.redact(request)
            return [event async for event in pipeline.analyze(request, Question(QUESTION))]
        except GuardedVLMError as error:
            return error.reason

    @property
    def sampled(self):
        return [one.facts["sampled"] for one in self.records if one.event is LedgerEvent.SAMPLED]


async def test_off_by_default_nothing_is_kept_or_written(tmp_path):
    found = await Reviewed(tmp_path, POLICY).run(3)
    assert found.sampled == []
    assert not (tmp_path / "review").exists()
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("method", [Method.ANALYZE_IMAGE, Method.REDACT_IMAGE])
async def test_the_sample_is_the_raster_that_was_cleared(tmp_path, method):
    found = await Reviewed(tmp_path, reviewed(random=1), method=method).run()
    (told,) = found.sampled
    opened = found.store.read(told["sample"])
    raster = np.asarray(Image.open(io.BytesIO(opened.picture)).convert("RGB"))
    cleared = next(one for one in found.records if one.event is State.CLEARED)
    assert raster_digest(np.ascontiguousarray(raster)) == opened.about.raster
    assert KEY.digest(Purpose.IMAGE, opened.about.raster) == cleared.facts["image_digest"]
    assert raster.shape[:2] == ((200, 300) if method is Method.ANALYZE_IMAGE else (400, 600))
    assert (opened.about.of, opened.about.basis) == (cleared.request, Basis.RANDOM)
    assert opened.about.tenant == told["tenant"] == KEY.pseudonym(Purpose.TENANT, "clinic")
    days = (told["expires"] - time.time()) / (24 * 3600)
    assert 6.9 < days <= 7


async def test_the_sample_is_taken_after_the_release_and_names_no_request(tmp_path):
    found = await Reviewed(tmp_path, reviewed(random=1)).run()
    assert [one.event for one in found.records][-2:] == [State.RELEASED, LedgerEvent.SAMPLED]
    request = next(one.request for one in found.records if one.request)
    assert request not in found.records[-1].encode().decode()


async def test_a_candidate_keeps_nothing(tmp_path):
    """Of a policy that is only tried, what it would keep is not read (test_shadow says the same of its retention)."""
    greedy = reviewed(random=1, margin=0.25).model_copy(update={"version": "2026-01-01"})
    found = await Reviewed(tmp_path, POLICY, candidate=greedy).run(3)
    assert sum(one.event is LedgerEvent.SHADOWED for one in found.records) == 3
    assert found.sampled == []
    assert not (tmp_path / "review").exists()


async def test_a_refused_request_leaves_no_picture(tmp_path):
    policy = reviewed(random=1).model_copy(update={"say": SayRules(forbid=frozenset({Topic.RELIGION}))})
    found = await Reviewed(tmp_path, policy, draft="He is a Muslim.").run()
    assert found.outcomes == [Reason.ANSWER_REFUSED]
    assert found.sampled == []


async def test_a_share_is_drawn_without_looking_at_the_request(tmp_path, monkeypatch):
    class Dice:
        throws = iter([0.4, 0.2, 0.3, 0.1])
        random = staticmethod(lambda: next(Dice.throws))
        choice = staticmethod(lambda some: some[-1])

    monkeypatch.setattr(review_module, "_DICE", Dice)
    found = await Reviewed(tmp_path, reviewed(random=0.3), texts=("Total", "Visit")).run(4)
    assert [told["basis"] for told in found.sampled] == [Basis.RANDOM, Basis.RANDOM]
    assert {found.store.read(told["sample"]).about.page for told in found.sampled} == {1}


@pytest.mark.parametrize(("confidence", "kept"), [(0.99, 0.75), (0.99, 0.95)])
async def test_what_was_barely_read_is_kept_as_low_margin(tmp_path, confidence, kept):
    """The page's lines have a confidence of 0.99."""
    text = TextRules(mode=POLICY.text.mode, min_confidence=kept)
    policy = reviewed(margin=0.1).model_copy(update={"text": text})
    found = await Reviewed(tmp_path, policy, texts=("Total",)).run()
    assert [told["basis"] for told in found.sampled] == ([Basis.LOW_MARGIN] if confidence < kept + 0.1 else [])


async def test_a_random_sample_is_not_counted_as_a_low_margin_one(tmp_path):
    text = TextRules(mode=POLICY.text.mode, min_confidence=0.95)
    found = await Reviewed(tmp_path, reviewed(random=1, margin=0.1).model_copy(update={"text": text})).run(2)
    assert [told["basis"] for told in found.sampled] == [Basis.RANDOM] * 2


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (RuntimeError("Jane Roe"), Reason.INTERNAL),
        (ConfigurationError(Reason.OUTPUT_UNWRITABLE), Reason.OUTPUT_UNWRITABLE),
    ],
)
async def test_a_sample_that_fails_is_a_fact_and_no_error(tmp_path, monkeypatch, breaks, reason):
    def broken(*_):
        raise breaks

    monkeypatch.setattr(SampleStore, "prepare", broken)
    found = await Reviewed(tmp_path, reviewed(random=1)).run()
    assert "".join(event for event in found.outcomes[0] if isinstance(event, str)) == "It is 5."
    (told,) = found.sampled
    assert (told["failure"], "sample" in told) == (reason, False)


async def test_a_full_store_is_a_fact_too(tmp_path):
    found = await Reviewed(tmp_path, reviewed(random=1), max_samples=1).run(3)
    assert [told.get("failure") for told in found.sampled] == [None, Reason.QUOTA_EXCEEDED, Reason.QUOTA_EXCEEDED]
    assert len(found.store.list_kept()) == 1


async def test_more_pictures_than_memory_has_room_for_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(review_module, "MOST_WAITING", 0)
    found = await Reviewed(tmp_path, reviewed(random=1)).run()
    assert [told["failure"] for told in found.sampled] == [Reason.QUOTA_EXCEEDED]


async def test_a_sample_that_no_record_names_is_not_kept(tmp_path, monkeypatch):
    real = Ledger.append

    async def fails(self, entry):
        if entry.event is LedgerEvent.SAMPLED:
            raise GuardedVLMError(Reason.LEDGER_UNWRITABLE)
        return await real(self, entry)

    monkeypatch.setattr(Ledger, "append", fails)
    found = await Reviewed(tmp_path, reviewed(random=1)).run()
    assert found.store.list_kept() == ()
    assert list((tmp_path / "keys").iterdir()) == []


async def test_nobody_is_shown_a_sample_before_its_record_is_there(tmp_path, monkeypatch):
    real, shown = Ledger.append, []
    found = Reviewed(tmp_path, reviewed(random=1))

    async def looks(self, entry):
        if entry.event is LedgerEvent.SAMPLED:
            shown.append(found.store.list_kept())
        return await real(self, entry)

    monkeypatch.setattr(Ledger, "append", looks)
    await found.run()
    assert shown == [()]
    assert [kept.sample for kept in found.store.list_kept()] == [told["sample"] for told in found.sampled]


async def test_a_release_that_is_not_on_record_leaves_no_picture(tmp_path, monkeypatch):
    real = Ledger.append

    async def fails(self, entry):
        if entry.event is State.RELEASED:
            raise Unavailable(Reason.LEDGER_UNWRITABLE)
        return await real(self, entry)

    monkeypatch.setattr(Ledger, "append", fails)
    found = await Reviewed(tmp_path, reviewed(random=1)).run()
    assert found.sampled == []
    assert not (tmp_path / "keys").exists()


@pytest.fixture
def swept(tmp_path):
    """A service's reviews, their store with three samples, and its clock."""
    clock = [1_800_000_000.0]
    store = SampleStore(tmp_path / "review", tmp_path / "keys", clock=lambda: clock[0])
    about = About("11" * 16, "22" * 16, "33" * 32, Basis.RANDOM, 0, "44" * 32)
    samples = sorted(store.put(b"PNG", about, 60).sample for _ in range(3))
    logs = Logs(tmp_path / "ledger", "a0" * 16)
    clock[0] += 60
    yield Reviews(store, logs, KEY), samples
    logs.close()


def destroyed(folder):
    told = read_records(folder / "ledger" / "service")
    return [one.facts["destroyed"]["sample"] for one in told if one.event is LedgerEvent.DESTROYED]


async def test_what_the_ledger_did_not_take_is_recorded_by_the_next_sweep(tmp_path, swept, monkeypatch):
    reviews, samples = swept
    real, taken = Ledger.append, []

    async def fails(self, entry):
        if taken:
            raise Unavailable(Reason.LEDGER_UNWRITABLE)
        taken.append(entry)
        return await real(self, entry)

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "append", fails)
        await reviews.sweep()
    assert destroyed(tmp_path) == samples[:1]
    assert list((tmp_path / "keys").iterdir()) == []
    await reviews.sweep()
    assert destroyed(tmp_path) == samples


async def test_a_key_that_stays_is_told_after_a_while_and_ends_readiness(tmp_path, swept, caplog):
    reviews, samples = swept
    key = tmp_path / "keys" / f"{samples[0]}.key"
    content = key.read_bytes()
    key.unlink()
    key.symlink_to("nothing")
    for _ in range(review_module.PATIENCE):
        assert reviews.healthy
        await reviews.sweep()
    assert destroyed(tmp_path) == samples[1:]
    assert not reviews.healthy
    (told,) = caplog.messages
    assert told.startswith("OUTPUT_UNWRITABLE: ")
    assert not any(sample in told for sample in samples)
    key.unlink()
    key.write_bytes(content)
    await reviews.sweep()
    assert reviews.healthy
    assert sorted(destroyed(tmp_path)) == samples


async def test_the_service_sweeps_and_records(tmp_path):
    found = Reviewed(tmp_path, reviewed(random=1))
    found.store._clock = lambda: time.time() - 8 * 24 * 3600  # kept eight days ago
    await found.run()
    found.store._clock = time.time
    await found.run()
    first, second = (told["sample"] for told in found.sampled)
    destroyed = [one.facts["destroyed"]["sample"] for one in found.records if one.event is LedgerEvent.DESTROYED]
    assert destroyed == [first]
    assert [kept.sample for kept in found.store.list_kept()] == [second]
