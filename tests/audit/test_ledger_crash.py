"""kill -9, a full file system, a read-only folder: nothing acknowledged is lost, nothing unacknowledged is promised."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guardedvlm.audit.checkpoint import CHECKPOINTS, read_checkpoints
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import record_hash
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.verify import read_records, verify_ledger

ORIGIN = "a0" * 16

APPENDER = """
import asyncio, os, sys
from pathlib import Path
from guardedvlm.audit.checkpointer import Cadence, Checkpointer
from guardedvlm.audit.facts import Method
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import make_entry, record_hash
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import GuardedVLMError
from guardedvlm.audit.verify import verify_ledger

ledger = Ledger(Path(sys.argv[1]), "a0" * 16, segment_bytes=20_000)
ring = create_keys(Path(sys.argv[1]).parent / "keys")
checkpointer = Checkpointer(ring, ring.public.find, None, Cadence(20, 0.02))
checkpointer.watch(ledger)

async def appender(which):
    number = 0
    while True:
        number += 1
        entry = make_entry(State.RECEIVED, f"{os.getpid():016x}{which * 1_000_000 + number:016x}",
                           {"method": Method.ANALYZE_IMAGE})
        record = await ledger.append(entry)
        os.write(1, f"{record.sequence} {record_hash(record.encode())}\\n".encode())
"""
RUN = """
async def main():
    await asyncio.gather(*(appender(which) for which in range(8)))

asyncio.run(main())
"""
FULL = """
import resource
async def main():
    # The limit stands for a full disk: write() is cut short, then refused (EFBIG).
    resource.setrlimit(resource.RLIMIT_FSIZE, (@LIMIT@, resource.RLIM_INFINITY))
    number = 0
    while await ledger.probe():  # a record alone may still fit where eight did not
        number += 8
        appenders = (appender(number + which) for which in range(8))
        outcomes = await asyncio.gather(*appenders, return_exceptions=True)
    assert {str(outcome.reason) for outcome in outcomes} == {"LEDGER_UNWRITABLE"}, outcomes
    assert {type(outcome).__name__ for outcome in outcomes} == {"Unavailable"}, outcomes
    assert not ledger.healthy and not await ledger.probe()
    assert verify_ledger(Path(sys.argv[1])).chain_ok
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await ledger.probe() and ledger.healthy
    os.write(1, b"full\\n")
    checkpointer.close()
    ledger.close()

asyncio.run(main())
"""


def _acknowledged(output: bytes) -> dict[int, str]:
    complete = output[: output.rfind(b"\n") + 1].decode().splitlines()
    return {int(line.split()[0]): line.split()[1] for line in complete if line != "full"}


def _check_checkpoints(folder: Path, kills: int) -> None:
    """Those that were written under load hold against what is there, whenever the process died."""
    found = read_checkpoints(folder / CHECKPOINTS)
    assert len(found.found) >= kills
    report = verify_ledger(folder, sizes=[signed.checkpoint.size for signed in found.found])
    for signed in found.found:
        assert report.roots[signed.checkpoint.size] == signed.checkpoint.root


def _on_disk(folder: Path) -> dict[int, str]:
    return {record.sequence: record_hash(record.encode()) for record in read_records(folder)}


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_that_was_acknowledged(folder: Path, kills: int) -> None:
    """At random moments under load; the seed is fixed, the machine is not."""
    choose = random.Random(kills)
    acknowledged: dict[int, str] = {}
    for _ in range(kills):
        child = subprocess.Popen([sys.executable, "-c", APPENDER + RUN, str(folder)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        output = child.stdout.readline()
        assert output, "the child did not start"
        time.sleep(choose.uniform(0.02, 0.4))
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.stdout.close()
        child.wait()
        acknowledged |= _acknowledged(output)
        report = verify_ledger(folder)
        assert report.chain_ok, report
        on_disk = _on_disk(folder)
        assert acknowledged.items() <= on_disk.items()
    assert len(acknowledged) > 100
    assert report.segments > 1
    Ledger(folder, ORIGIN).close()
    whole = verify_ledger(folder)
    assert whole.chain_ok
    assert verify_ledger(folder, fast=False) == whole
    assert len(whole.unfinished) >= len(acknowledged)
    _check_checkpoints(folder, kills)


@pytest.mark.parametrize("limit", [4_000, 10_001])
def test_a_full_disk_refuses_and_recovers(folder: Path, limit: int) -> None:
    script = APPENDER + FULL.replace("@LIMIT@", str(limit))
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.endswith(b"full\n")
    acknowledged = _acknowledged(done.stdout)
    assert acknowledged
    assert acknowledged.items() <= _on_disk(folder).items()
    assert verify_ledger(folder).chain_ok
    assert max(segment.path.stat().st_size for segment in list_segments(folder)) > limit - 500


def test_a_file_system_without_space(tmp_path: Path) -> None:
    """ENOSPC itself, on a file system of 64 KB, where mounting one is permitted."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        script = APPENDER + FULL.replace("@LIMIT@", "resource.RLIM_INFINITY")
        script = script.replace("    assert await ledger.probe() and ledger.healthy\n", "")
        folder = mount / "ledger"
        done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        acknowledged = _acknowledged(done.stdout)
        assert acknowledged
        assert acknowledged.items() <= _on_disk(folder).items()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_the_lock_goes_with_the_process(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", APPENDER + RUN, str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    Ledger(folder, ORIGIN).close()
