"""`guardedvlm batch --server` as a process that is killed: a real gRPC service, which answers at once and counts."""

import hashlib
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from archive import CANARY, Batch, make_archive

from guardedvlm.batch.store import PARTS
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies
from guardedvlm.transport.status import rich_status
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceServicer, add_GuardServiceServicer_to_server

POLICY = load_policy(default_policies() / "finance" / "policy.yaml")
SECONDS = 120


class Counting(GuardServiceServicer):
    """Answers with the digest of what it got, after `delay` seconds; refuses what `refuses`."""

    def __init__(self):
        self.asked = Counter()
        self.delay = 0.02
        self.refuses = set()
        self._lock = threading.Lock()

    def GetPolicy(self, request, context):
        return pb.GetPolicyResponse(name=POLICY.name, digest=POLICY.digest(), policy_json=POLICY.canonical())

    def AnalyzeImage(self, request, context):
        digest = hashlib.sha256(request.document.content).hexdigest()
        with self._lock:
            self.asked[request.request_id] += 1
        time.sleep(self.delay)
        if digest in self.refuses:
            status = rich_status(InvalidInput(Reason.IMAGE_CORRUPT))
            context.abort_with_status(status)
        page = pb.RedactedPage(counts=[pb.KindCount(kind="PERSON", count=1)], verification=pb.Verification(passes=1))
        analysis = pb.Analysis(
            answer=digest,
            finish_reason=pb.FINISH_REASON_STOP,
            redaction=pb.Redaction(pages=[page], policy_digest=POLICY.digest()),
            audit_id=digest[:32],
        )
        return pb.AnalyzeImageResponse(analysis=analysis)


@pytest.fixture
def service():
    counting = Counting()
    server = grpc.server(ThreadPoolExecutor(8))
    add_GuardServiceServicer_to_server(counting, server)
    counting.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield counting
    server.stop(None).wait()


def check_tables(batch, archive, count):
    """Every file has one document, and every document one page with the digest of that file's bytes."""
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.iterdir()}
    rows = batch.table(PARTS)
    assert len(rows) == count
    assert {row["answer"] for row in rows} == digests
    assert len({row["row"] for row in rows}) == count
    assert {row["document"] for row in rows} == {row["document"] for row in batch.table("files.parquet")}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [[100], [20, 60, 120, 180]])
def test_200_pictures_killed_on_the_way(service, tmp_path, kills):
    archive = make_archive(tmp_path / "in", 200)
    batch = Batch(archive, tmp_path, "--server", service.address, "-j", "4")
    for count in kills:
        batch.start().kill_when(lambda count=count: len(service.asked) >= count, SECONDS)
    before = len(service.asked)
    assert before < 200
    assert batch.start().finish(SECONDS) == 0, batch.log.read_text()[-3000:]
    check_tables(batch, archive, 200)
    again = service.asked.total() - len(service.asked)
    assert len(service.asked) == 200
    assert again <= 4 * len(kills)  # what was in work at a kill, under the same request_id
    total = service.asked.total()
    assert batch.start().finish(SECONDS) == 0
    assert service.asked.total() == total
    print(f"killed {len(kills)} times, {before} known at the last kill, {again} asked again")
    said = batch.log.read_text()
    assert CANARY not in said


@pytest.mark.slow
def test_failures_interrupts_and_files_that_change(service, tmp_path):
    archive = make_archive(tmp_path / "in", 30)
    paths = sorted(archive.iterdir())
    (archive / "copy.png").write_bytes(paths[3].read_bytes())
    bad = hashlib.sha256(paths[5].read_bytes()).hexdigest()
    service.refuses.add(bad)
    batch = Batch(archive, tmp_path, "--server", service.address)
    service.delay = 0.2
    batch.start().wait_until(lambda: len(service.asked) >= 4, SECONDS)
    os.kill(batch.process.pid, signal.SIGINT)
    assert batch.finish(SECONDS) == 130
    assert service.asked.total() == len(batch.table(PARTS)) + len(batch.table("failures.parquet")) < 30
    service.delay = 0.0
    assert batch.start().finish(SECONDS) == 3
    (failure,) = batch.table("failures.parquet")
    assert failure["reason"] == "IMAGE_CORRUPT"
    assert len(batch.table(PARTS)) == 29
    assert max(service.asked.values()) == 1  # the copy and the failure too
    status = batch.status("--failed")
    assert re.fullmatch(r"IMAGE_CORRUPT\tfile://\S+\n", status)
    assert "/005%20Orla" in status
    assert CANARY not in batch.status() + batch.log.read_text()

    service.refuses.clear()
    assert batch.start("--retry-failed").finish(SECONDS) == 0
    assert batch.table("failures.parquet") == []
    paths[7].write_bytes(paths[7].read_bytes() + b"more")
    paths[8].unlink()
    assert batch.start().finish(SECONDS) == 0
    assert len(service.asked) == 31
    assert Counter(row["presence"] for row in batch.table("files.parquet")) == {"present": 30, "gone": 1}

    other = Batch(archive, tmp_path, "--server", service.address)
    other.command[other.command.index("What is the total?")] = "What else?"
    assert other.start().finish(SECONDS) == 2
    assert "another question" in other.log.read_text()
    for text in (json.dumps(batch.table(PARTS)), json.dumps(batch.table("failures.parquet"))):
        assert CANARY not in text


@pytest.mark.slow
def test_a_service_that_is_not_there_ends_the_run(tmp_path):
    archive = make_archive(tmp_path / "in", 2)
    batch = Batch(archive, tmp_path, "--server", "localhost:1")
    assert batch.start().finish(SECONDS) == 4
    assert "SERVICE_UNAVAILABLE" in batch.log.read_text()
    assert not (tmp_path / "out" / PARTS).exists() or not list((tmp_path / "out" / PARTS).iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "code"), [(("--dry-run",), 0), (("--ray",), 2), (("--fields", "absent.json"), 2), (("-j", "0"), 2)]
)
def test_what_is_wrong_is_told_before_anything_is_written(service, tmp_path, more, code):
    batch = Batch(make_archive(tmp_path / "in", 2), tmp_path, "--server", service.address, *more)
    assert batch.start().finish(SECONDS) == code, batch.log.read_text()
    assert not batch.out.exists()
    assert not service.asked
    if more == ("--dry-run",):
        assert re.search(r"would be asked about +2\b", batch.log.read_text())
