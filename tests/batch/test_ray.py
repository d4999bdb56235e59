"""Ray itself, with guards that answer at once: killed in the middle, and what it gets to see."""

import hashlib
import sys
from pathlib import Path

import pytest
from archive import PICTURES, Batch, make_archive
from ray_archive import POISON

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
SECONDS = 600


def batch_of(tmp_path, count):
    archive = make_archive(tmp_path / "in", count)
    batch = Batch(archive, tmp_path)
    batch.command = [sys.executable, str(Path(__file__).with_name("ray_archive.py")), str(archive), str(batch.out), "2"]
    return archive, batch


def answers(archive):
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.iterdir())


def test_killed_in_the_middle_each_picture_has_one_row_and_ray_saw_no_name(tmp_path):
    archive, batch = batch_of(tmp_path, PICTURES)
    seen = batch.start().watch_ray(PICTURES // 4, SECONDS)
    done = batch.kill_at(PICTURES // 2, SECONDS)
    batch.wait_for_ray_to_end(60)
    assert batch.start().finish(SECONDS) == 0, batch.log.read_text()[-3000:]
    assert sorted(row["answer"] for row in batch.table("pages")) == answers(archive)
    assert f"{PICTURES - done} to be done" in batch.log.read_text()
    assert seen.logs > 10
    assert seen.store_bytes > 2**20
    assert seen.leaks == []
    assert not list(Path("/tmp").glob("guardedvlm-ray-*"))
    print(f"{done} of {PICTURES} done at the kill; {seen.logs} files of Ray, {seen.store_bytes} bytes of its store")


def test_a_document_that_kills_its_guard_fails_alone(tmp_path):
    archive, batch = batch_of(tmp_path, 12)
    whole = answers(archive)
    (archive / "005b.png").write_bytes(POISON)
    assert batch.start().finish(SECONDS) == 0, batch.log.read_text()[-3000:]
    assert sorted(row["answer"] for row in batch.table("pages")) == whole
    (failure,) = batch.table("failures.parquet")
    assert failure["reason"] == "WORKER_DIED"
