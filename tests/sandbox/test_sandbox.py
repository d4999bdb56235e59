"""What an intruder in a worker tries is refused, each thing by itself, and would be possible without the sandbox."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from guardedvlm.cli import doctor
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.sandbox import Confinement, Sandbox, kernel_has_filters, landlock_version
from guardedvlm.sandbox.attempts import ATTEMPTS
from guardedvlm.worker import Worker, WorkerSpec

SPEC = WorkerSpec("attempts", "guardedvlm.sandbox.attempts:Attempts", call_seconds=20)
PRIVILEGED = {"mount", "namespace", "ring", "kernel program", "raise a limit"}
"""Refused to many a process anyway: what they show depends on who runs the tests."""
ABSENT = set() if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 6) else {"open up anew"}
"""What this kernel does not know yet."""
BY_FILTERS_ALONE = ("signal", "abort another", "queue to another", "queue to another's thread")
"""Signals to others, which newer versions of Landlock refuse too."""
FATAL = {
    "network", "datagram", "unix socket", "process", "program", "trace", "other memory", "signal", "mount", "namespace",
    "ring", "kernel program",
}  # fmt: skip
"""Nobody but an intruder does these: they end a decoder."""
needs_filters = pytest.mark.skipif(not kernel_has_filters(), reason="this kernel has no system call filters")
needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
TRY_ALL = """
import json, os, sys
from guardedvlm.sandbox import Confinement, confine_calls, confine_files, drop_privileges
from guardedvlm.sandbox.attempts import Attempts

def tried(name):  # in a process of its own: 0 possible, 1 refused, else the signal that ended it
    with open(sys.argv[2], "w"):
        pass
    child = os.fork()
    if child == 0:
        if sys.argv[3]:
            drop_privileges()
            landlock = confine_files()
            assert confine_calls(Confinement(sys.argv[3]), files_confined=landlock > 0)
        os._exit(not Attempts().attempt(name=name, path=sys.argv[2]))
    return os.waitpid(child, 0)[1]

print(json.dumps({name: tried(name) for name in json.loads(sys.argv[1])}))
"""
POSSIBLE, REFUSED = 0, 1 << 8


def outcomes(names, path, confinement=""):
    """What becomes of attempts: a wait status each."""
    command = [sys.executable, "-c", TRY_ALL, json.dumps(sorted(names)), str(path), confinement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("canary-4711")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def detector():
    worker = Worker(SPEC)
    worker.start()
    yield worker
    worker.stop()


def test_without_a_sandbox_all_of_it_is_possible(secret):
    """Else a refusal below would prove nothing."""
    names = ATTEMPTS.keys() - PRIVILEGED - ABSENT
    assert outcomes(names, secret) == dict.fromkeys(names, POSSIBLE)


@needs_filters
def test_a_decoder_can_do_none_of_it_and_ends_with_the_worst(secret):
    found = outcomes(ATTEMPTS, secret, Confinement.DECODER)
    assert found == {name: signal.SIGSYS if name in FATAL else REFUSED for name in ATTEMPTS}


@needs_filters
def test_a_decode_worker_that_is_ended_is_replaced(secret):
    worker = Worker(dataclasses.replace(SPEC, confinement=Confinement.DECODER))
    worker.start()
    process = worker._process
    with pytest.raises(Unavailable) as failure:
        worker.call_sync("attempt", bool, name="network", path=str(secret))
    assert failure.value.reason is Reason.WORKER_DIED
    assert process.returncode == -signal.SIGSYS
    assert worker.call_sync("attempt", bool, name="write", path=str(secret))[0] is False
    assert worker.restarts == 1
    worker.stop()


@needs_filters
@pytest.mark.parametrize("name", sorted(ATTEMPTS.keys() - {"own code", "read", "list"}))
def test_it_is_refused_to_a_detector(detector, name, secret):
    assert detector.call_sync("attempt", bool, name=name, path=str(secret))[0] is False
    assert secret.read_text() == "canary-4711"
    assert os.listdir(secret.parent) == ["secret"]


@needs_filters
def test_no_detector_signals_another_where_landlock_does_not_forbid_it(kernel_without, secret):
    kernel_without("landlock")
    worker = Worker(dataclasses.replace(SPEC, sandbox=Sandbox.WHEN_POSSIBLE))
    worker.start()
    assert (worker.sandboxed.landlock, worker.sandboxed.filtered) == (0, True)
    for name in BY_FILTERS_ALONE:
        assert worker.call_sync("attempt", bool, name=name, path=str(secret))[0] is False, name
    worker.stop()


@needs_landlock
@pytest.mark.parametrize("name", ["read", "list"])
def test_no_detector_reads_what_is_not_its_own(detector, name, secret):
    assert detector.sandboxed.landlock == landlock_version()
    assert detector.call_sync("attempt", bool, name=name, path=str(secret))[0] is False


@needs_landlock
def test_what_a_role_names_it_may_read_and_not_write(secret):
    worker = Worker(dataclasses.replace(SPEC, readable=(str(secret.parent),)))
    assert worker.call_sync("attempt", bool, name="read", path=str(secret))[0] is True
    assert worker.call_sync("attempt", bool, name="list", path=str(secret))[0] is True
    assert worker.call_sync("attempt", bool, name="write", path=str(secret))[0] is False
    worker.stop()


@needs_landlock
def test_the_working_folder_is_nobodys(secret, monkeypatch):
    """A site starts the service in the folder that holds its keys."""
    monkeypatch.chdir(secret.parent)
    worker = Worker(SPEC)
    assert worker.call_sync("attempt", bool, name="read", path=str(secret))[0] is False
    worker.stop()


# ---------------------------------------------------------------- a kernel that cannot

KERNELS = {
    "filters": "guardedvlm.sandbox.confinement.install",
    "landlock": "guardedvlm.sandbox.landlock.landlock_version",
}


@pytest.fixture
def kernel_without(tmp_path, monkeypatch):
    """The environment of workers on a kernel that lacks something."""

    def lacking(what):
        module, _, name = KERNELS[what].rpartition(".")
        text = f"import {module}\n{module}.{name} = lambda *_: 0\n"
        (tmp_path / "sitecustomize.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    return lacking


def test_without_filters_no_worker_starts(kernel_without):
    kernel_without("filters")
    worker = Worker(SPEC)
    with pytest.raises(Unavailable) as failure:
        worker.start()
    assert failure.value.reason is Reason.SANDBOX_MISSING
    assert worker.pid is None


def test_without_filters_it_starts_where_the_site_says_so_and_tells(kernel_without):
    kernel_without("filters")
    worker = Worker(dataclasses.replace(SPEC, sandbox=Sandbox.WHEN_POSSIBLE))
    worker.start()
    assert worker.sandboxed.filtered is False
    worker.stop()


@needs_filters
def test_without_landlock_no_detector_starts(kernel_without):
    """It could read keys and the ledger."""
    kernel_without("landlock")
    worker = Worker(SPEC)
    with pytest.raises(Unavailable) as failure:
        worker.start()
    assert failure.value.reason is Reason.SANDBOX_MISSING
    assert "Landlock" in str(failure.value)
    assert worker.pid is None


@needs_filters
def test_without_landlock_the_doctor_says_what_a_detector_reads(kernel_without, monkeypatch, capsys):
    kernel_without("landlock")
    monkeypatch.setattr("guardedvlm.cli.doctor.landlock_version", lambda: 0)
    assert not doctor._sandbox()
    told = " ".join(capsys.readouterr().out.split())
    assert "a detector can read keys and the ledger" in told
    assert "to read a secret file" in told
    assert "possible" in told
    assert "sandbox: when-possible" in told


@needs_filters
def test_without_landlock_a_decoder_opens_no_file(kernel_without, secret):
    kernel_without("landlock")
    worker = Worker(dataclasses.replace(SPEC, confinement=Confinement.DECODER))
    worker.start()
    assert (worker.sandboxed.landlock, worker.sandboxed.filtered) == (0, True)
    for path in (secret, np.__file__, os.devnull):
        assert worker.call_sync("attempt", bool, name="read", path=str(path))[0] is False
    worker.stop()
