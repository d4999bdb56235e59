"""What fuzzing found stays fixed, and its harnesses hold on sound inputs. `make fuzz` looks for more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_seeds import seeds
from fuzz_targets import TARGETS, timed

from guardedvlm.transport.reidentification import SealingKey
from guardedvlm.worker import Worker

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*/*"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_finding_stays_fixed(case):
    timed(TARGETS[case.parent.name], case.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_the_harness_takes_sound_inputs(target):
    found = list(seeds(target))
    assert len(found) >= 3
    for data in found:
        timed(TARGETS[target], data)
        timed(TARGETS[target], data[: len(data) // 2])


def test_a_harness_sees_a_broken_promise(monkeypatch):
    """Else a run without findings would say nothing: the two that were found are found again in the code of then."""
    monkeypatch.setattr(SealingKey, "parse", lambda text: SealingKey(bytes(32)))
    with pytest.raises(AssertionError):
        TARGETS["proto"]((HERE / "cases" / "proto" / "key-with-two-spellings").read_bytes())
    monkeypatch.setattr(Worker, "_exchange", lambda *_: json.loads("[" * 100_000))
    monkeypatch.setattr(Worker, "_death", lambda _: RecursionError())
    with pytest.raises(RecursionError):
        TARGETS["proto"]((HERE / "cases" / "proto" / "reply-too-deep").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_the_fuzzer_runs(target, tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, str(HERE / "fuzz.py"), target, "--seconds", "60", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    report = json.loads(done.stdout)
    assert report["findings"] == []
    assert report["executions"] > 1_000
    assert report["corpus_files"] > len(list(seeds(target))), "nothing was covered that the seeds did not cover"
