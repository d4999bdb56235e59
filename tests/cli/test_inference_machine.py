"""The command line where no guard is installed: two commands, and nothing of zone 1 is imported for them."""

import subprocess
import sys

SCRIPT = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "presidio_analyzer" else real(name, *rest)

ABSENT = {"phonenumbers", "presidio_analyzer", "rapidocr", "pypdfium2", "onnxruntime", "cv2"}

class NoGuard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT or name.startswith("guardedvlm.guard"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoGuard())
from guardedvlm.cli import main
main()
"""


def run(*arguments):
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_inference_and_checkpoints_have_their_commands_and_the_others_are_none():
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert "serve-inference" in done.stdout
    assert "model" in done.stdout
    assert "redact " not in done.stdout
    refused = run("redact", "x.png")
    assert refused.returncode == 2
    assert "No such command" in refused.stderr


def test_an_engines_settings_are_checked_there():
    done = run("serve-inference", "--listen", "localhost:0", "--guard-key", "k", "--engine", "vllm")
    assert done.returncode == 2
    assert "model directory" in done.stderr
