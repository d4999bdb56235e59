"""`guardedvlm model`: make, pin and check a checkpoint; errors in one line."""

import os
import subprocess
import sys

import pytest


def model(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "guardedvlm", "model", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "tiny"
    done = model("init-tiny", directory)
    assert done.returncode == 0, done.stderr
    return directory


def test_what_was_made_checks(tiny):
    done = model("check", tiny)
    assert done.returncode == 0, done.stderr
    assert "69 tensors" in done.stdout
    assert "bfloat16" in done.stdout


def test_a_folder_with_something_in_it_is_left_alone(tiny):
    done = model("init-tiny", tiny)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert model("check", tiny).returncode == 0


@pytest.mark.slow
def test_digests_may_stand_elsewhere_and_a_change_is_found(tiny, tmp_path):
    directory, manifest = tmp_path / "copy", tmp_path / "pinned.json"
    directory.mkdir()
    for path in tiny.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    assert model("pin", directory, "--manifest", manifest).returncode == 0
    assert model("check", directory, "--manifest", manifest).returncode == 0
    (directory / "LICENSE").write_text("another")
    done = model("check", directory, "--manifest", manifest)
    assert done.returncode == 2
    assert done.stderr.startswith("error CHECKPOINT_CHANGED")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "modeling_cogvlm.py").write_text("import os"), "CHECKPOINT_CODE"),
        (lambda folder: (folder / "LICENSE").unlink(), "CHECKPOINT_LICENSE"),
        (lambda folder: (folder / "config.json").write_text("{"), "CHECKPOINT_CONFIG"),
        (lambda folder: next(folder.glob("*.safetensors")).write_bytes(b"\0" * 4), "CHECKPOINT_TRUNCATED"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "CHECKPOINT"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_named(tiny, tmp_path, spoil, reason):
    for path in tiny.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    done = model("check", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error {reason}")


def test_a_plan_is_shown(tiny):
    done = model("plan", tiny, "--gpu-memory", "24GiB")
    assert done.returncode == 0, done.stderr
    for words in ("visual experts in host memory", "weights on the GPU", "tokens/s"):
        assert words in " ".join(done.stdout.split())
    assert model("plan", tiny, "--gpu-memory", "much").returncode == 2


def test_a_folder_that_is_not_there(tmp_path):
    assert model("check", tmp_path / "absent").stderr.startswith("error CHECKPOINT_MISSING")
