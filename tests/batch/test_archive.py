"""200 pictures, killed in the middle: each has its row in the end, none has two. Without Ray and with it."""

import os
import signal
import time
from pathlib import Path

import pytest
from archive import CANARY, PICTURES, Batch, Engine, inference_site, make_archive

from guardedvlm.audit.verify import read_ledger
from guardedvlm.core.lifecycle import State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SECONDS = 1700
"""For 200 pictures on two cores that others use too; alone it is a few minutes."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "in", PICTURES)


def check_tables(batch):
    """Every picture has its own total, once, and its file can be found."""
    pages, files = batch.table("pages"), batch.table("files.parquet")
    assert len(pages) == len({row["document"] for row in pages}) == PICTURES
    assert batch.table("failures.parquet") == []
    numbers = {row["document"]: int(Path(row["uri"]).name[:3]) for row in files}
    for row in pages:
        assert f"{100 + numbers[row['document']]}.50" in row["answer"]
        assert dict(row["regions"])["PERSON"] >= 1


def twice(ledger):
    """Requests by which documents were asked about again, and those that were released."""
    admitted = [record for record in read_ledger(ledger) if record.event is State.ADMITTED]
    names = {record.facts["caller_request"] for record in admitted}
    return len(admitted) - len(names), len(names)


def test_killed_at_half_the_same_command_makes_the_rest(archive, tmp_path):
    batch = Batch(archive, tmp_path)
    done = batch.start().kill_at(PICTURES // 2, SECONDS)
    assert PICTURES // 2 <= done < PICTURES
    assert batch.start().finish(SECONDS) == 0, batch.log.read_text()[-3000:]
    check_tables(batch)
    again, documents = twice(tmp_path / "state" / "guardedvlm" / "ledger")
    assert documents == PICTURES
    assert again <= 2  # what was in work at the kill
    began = time.monotonic()
    assert batch.start().finish(SECONDS) == 0
    assert twice(tmp_path / "state" / "guardedvlm" / "ledger") == (again, documents)
    print(f"{done} were done at the kill, {again} asked again; nothing to do took {time.monotonic() - began:.1f} s")
    assert CANARY not in batch.log.read_text()


def test_with_ray_too_and_ray_sees_no_name_and_no_picture(archive, tmp_path):
    site, address = inference_site(tmp_path)
    with Engine(site, address, tmp_path):
        batch = Batch(archive, tmp_path, "--ray", "--guards", "1", "-c", site.config)
        batch.start()
        seen = batch.watch_ray(PICTURES // 4, SECONDS)
        done = batch.kill_at(PICTURES // 2, SECONDS)
        assert PICTURES // 2 <= done < PICTURES
        batch.wait_for_ray_to_end(60)
        assert batch.start().finish(SECONDS) == 0, batch.log.read_text()[-3000:]
    check_tables(batch)
    assert seen.logs > 10
    assert seen.store_bytes > 2**20
    assert seen.leaks == []
    again, documents = twice(site.config.parent / "ledger" / "guard-0")
    assert documents == PICTURES
    assert again <= 2
    assert CANARY not in batch.log.read_text()
    assert not list(Path("/tmp").glob("guardedvlm-ray-*"))
    looked = f"{seen.logs} files of Ray, {seen.store_bytes} bytes of its store"
    print(f"{done} were done at the kill, {again} asked again; {looked}")


def test_ctrl_c_lets_what_is_in_work_end(archive, tmp_path):
    batch = Batch(archive, tmp_path)
    batch.start()
    batch.wait_for(3, SECONDS)
    os.kill(batch.process.pid, signal.SIGINT)
    assert batch.finish(SECONDS) == 130
    done = len(batch.table("pages"))
    assert 3 <= done < PICTURES
    assert "stopping when what is in work is done" in batch.log.read_text()
    states = {}
    for record in read_ledger(tmp_path / "state" / "guardedvlm" / "ledger"):
        if record.request:
            states[record.request] = record.event
    assert set(states.values()) == {State.RELEASED}
    assert len(states) == done
