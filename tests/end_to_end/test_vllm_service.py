"""`guardedvlm serve-inference --engine vllm` in the environment that has vLLM, asked from this one over a socket.

`make test-slow` runs it after `make install-vllm`, with the project's own environment, which has the guard;
VLLM_PYTHON names the other one's interpreter where that is not `.venv-vllm`.
"""

import io
import json
import os
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from running_inference import Inference
from running_service import free_port, start_service, stop_service

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import GuardedVLMError, Reason, Refused, Unavailable

ROOT = Path(__file__).parent.parent.parent
PYTHON = Path(os.environ.get("VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
SMALL = ("--eager", "--kv-cache-memory", "64MiB", "--max-num-seqs", "4")
START_SECONDS = 800
CANARY = "Kowalczyk-4711"
ANSWER_CANARY = "Zwetschgen-0815"
SCHEMA = parse_fields(
    json.dumps({"type": "object", "properties": {"who": {"enum": [ANSWER_CANARY]}}, "required": ["who"]})
).encoded()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no environment with vLLM"),
    pytest.mark.skipif(find_spec("rapidocr") is None, reason="the guard is not installed in this environment"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from guardedvlm.cli.init import make_site

    folder = tmp_path_factory.mktemp("vllm")
    return make_site(folder / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def inference(site):
    from guardedvlm.transport.clearance_key import PUBLIC_KEY

    with tempfile.TemporaryDirectory(prefix="guardedvlm-test-") as name:
        folder = Path(name)
        command = [str(PYTHON), "-m", "guardedvlm", "model", "init-tiny", str(folder / "model")]
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        (folder / "home").mkdir()
        extra = ("--engine", "vllm", "--model", str(folder / "model"), *SMALL)
        key = site.config.parent / "keys" / PUBLIC_KEY
        home = {name: str(folder / "home") for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT")}
        service = Inference(folder, key, *extra, python=PYTHON, seconds=START_SECONDS, **home)
        service.start()
        yield service
        service.kill()


def statement():
    from guardedvlm.cli.pictures import demo_pictures

    picture = next(picture for picture in demo_pictures() if "statement" in picture.name)
    buffer = io.BytesIO()
    picture.image.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_whole_path_runs_on_vllm(site, inference, tmp_path):
    """Random weights answer with random bytes: the model was asked, and the screen let none of it out."""
    from guardedvlm.audit.facts import Stage
    from guardedvlm.audit.verify import read_ledger

    guard = start_service(tmp_path, ["--inference", inference.target], site=site)
    try:
        with guard.client("bank", timeout=300) as client, pytest.raises(Refused) as refused:
            client.analyze(statement(), "What is the closing balance?")
    finally:
        stop_service(guard)
    assert refused.value.reason is Reason.ANSWER_REFUSED
    *_, before, last = read_ledger(site.config.parent / "ledger")
    assert (before.event, last.event) == (State.GENERATING, State.REFUSED)
    assert last.facts["timings"][Stage.INFER] > 0
    assert last.facts["answer_digest"]


async def asked(site, inference, question, schema="", **sampling):
    """Drafts of one cleared request, as the guard would send it."""
    from guardedvlm.backends.remote import RemoteBackend
    from guardedvlm.guard.verify import ClearanceSigner
    from guardedvlm.transport.clearance_key import key_id, load_or_create_signing_key

    private: Ed25519PrivateKey = load_or_create_signing_key(site.config.parent / "keys")
    signer = ClearanceSigner(private, key_id(private.public_key()), bytes(32))
    backend = RemoteBackend(inference.target)
    try:
        capacity = await backend.capacity()
        side = capacity.geometry.width
        raster = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
        raster.setflags(write=False)
        image, prompt = ClearedImage(raster, raster_digest(raster)), ClearedPrompt(question, (), schema)
        deadline = Deadline.after(120)
        signed = signer.sign(image, prompt, audience=capacity.audience, scope="0" * 64, deadline=deadline)
        async for draft in backend.generate(image, prompt, signed, Sampling(**sampling), deadline):
            yield draft
    finally:
        await backend.close()


def descendants(pid):
    """Process ids below `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def is_worker(pid):
    return b"Worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def spellings(canary):
    """How a string would stand in a log or a file: as it is, as its tokens (here its bytes), in wider characters."""
    tokens = ", ".join(str(byte) for byte in canary.encode())
    return [canary.encode(), canary.encode().hex().encode(), tokens.encode(), canary.encode("utf-16-le")]


async def test_no_word_of_a_request_is_in_a_log_or_a_file_also_when_vllm_fails(site, inference):
    """Runs last: the engine does not live through it, and the service ends."""
    question = f"Who is {CANARY}?"
    answer = "".join([draft.text async for draft in asked(site, inference, question, SCHEMA, max_tokens=64)])
    assert json.loads(answer) == {"who": ANSWER_CANARY}
    stream = asked(site, inference, question, max_tokens=2000, temperature=2.0)
    await anext(stream)
    workers = [pid for pid in descendants(inference.process.pid) if is_worker(pid)]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(GuardedVLMError) as ended:
        async for _ in stream:
            pass
    assert isinstance(ended.value, Unavailable)
    assert inference.process.wait(timeout=90) == 4  # whoever started it starts another
    folder = inference.log.parent
    assert not inference.marker.exists()  # nothing was looked up or asked outside this machine
    held = [path for path in folder.rglob("*") if path.is_file() and "model" not in path.relative_to(folder).parts]
    assert inference.log in held
    for path in held:
        content = path.read_bytes()
        for canary in (CANARY, ANSWER_CANARY):
            assert not any(spelling in content for spelling in spellings(canary)), path.name
    said = inference.log.read_text()
    assert "INFERENCE_UNAVAILABLE" in said
    assert "Traceback" not in said
