"""The engine in a process of its own: `guardedvlm serve-inference` behind `guardedvlm serve --inference unix:...`."""

import contextlib
import io
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from running_inference import Inference
from running_service import free_port, start_service, stop_service

from guardedvlm.audit.facts import Stage
from guardedvlm.audit.verify import read_ledger
from guardedvlm.backends.remote import RECONNECT_MS, RemoteBackend
from guardedvlm.cli.init import make_site
from guardedvlm.cli.pictures import demo_pictures
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import Reason, Refused, Unavailable
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.transport.clearance_key import PUBLIC_KEY, key_id
from guardedvlm.transport.tls import channel_credentials

QUESTION = "What is the closing balance?"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return make_site(folder / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")


@contextlib.contextmanager
def short_folder():
    # A socket's path has at most 108 bytes; pytest's folders can be longer.
    with tempfile.TemporaryDirectory(prefix="guardedvlm-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def inference(site):
    with short_folder() as folder:
        service = Inference(folder, site.config.parent / "keys" / PUBLIC_KEY)
        service.start()
        yield service
        service.kill()


@pytest.fixture
def cogvlm2(site):
    with short_folder() as folder:
        command = [sys.executable, "-m", "guardedvlm", "model", "init-tiny", str(folder / "model")]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        extra = ("--engine", "transformers", "--model", str(folder / "model"))
        service = Inference(folder, site.config.parent / "keys" / PUBLIC_KEY, *extra)
        service.start()
        yield service
        service.kill()


@pytest.fixture(scope="module")
def statement():
    picture = next(picture for picture in demo_pictures() if "statement" in picture.name)
    buffer = io.BytesIO()
    picture.image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.service
def test_a_guard_answers_through_it_and_refuses_without_it(site, inference, statement, tmp_path):
    guard = start_service(tmp_path, ["--inference", inference.target], site=site)
    try:
        with guard.client("bank") as client:
            assert "6,715.36" in client.analyze(statement, QUESTION).answer
            inference.kill()
            with pytest.raises(Unavailable) as refused:
                client.analyze(statement, QUESTION)
            assert refused.value.reason is Reason.INFERENCE_UNAVAILABLE
            inference.start()
            time.sleep(2 * RECONNECT_MS / 1000)
            assert "6,715.36" in client.analyze(statement, QUESTION).answer
    finally:
        stop_service(guard)


@pytest.mark.service
def test_the_whole_path_runs_on_cogvlm2(site, cogvlm2, statement, tmp_path):
    """Random weights answer with random bytes: the model was asked, and the screen let none of it out."""
    guard = start_service(tmp_path, ["--inference", cogvlm2.target], site=site)
    try:
        with guard.client("bank") as client, pytest.raises(Refused) as refused:
            client.analyze(statement, QUESTION)
    finally:
        stop_service(guard)
    assert refused.value.reason is Reason.ANSWER_REFUSED
    *_, before, last = read_ledger(site.config.parent / "ledger")
    assert (before.event, last.event) == (State.GENERATING, State.REFUSED)
    assert last.facts["timings"][Stage.INFER] > 0
    assert last.facts["answer_digest"]


@pytest.mark.slow
async def test_between_machines_the_two_speak_mutual_tls(tmp_path, statement):
    site = make_site(tmp_path / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    server, guard_pair = site.pki.server, site.pki.clients["bank"]
    extra = (
        "--tls-certificate",
        str(server.certificate),
        "--tls-key",
        str(server.key),
        "--client-ca",
        str(site.pki.ca),
    )
    target = f"localhost:{free_port()}"
    inference = Inference(tmp_path, site.config.parent / "keys" / PUBLIC_KEY, *extra, target=target)
    inference.start()
    tls = {"ca": str(site.pki.ca), "certificate": str(guard_pair.certificate), "key": str(guard_pair.key)}
    site.config.write_text(site.config.read_text().replace("inference: embedded", f"inference: {target}"))
    with site.config.open("a") as config:
        config.write(yaml.safe_dump({"inference_tls": tls}))
    try:
        guard = start_service(tmp_path, site=site)
        try:
            with guard.client("bank") as client:
                assert "6,715.36" in client.analyze(statement, QUESTION).answer
        finally:
            stop_service(guard)
        for credentials in (None, channel_credentials(site.pki.ca)):  # in clear, and without a certificate
            backend = RemoteBackend(target, credentials)
            with pytest.raises(Unavailable):
                await backend.capacity()
            await backend.close()
    finally:
        inference.kill()


async def test_pixels_without_a_known_guards_signature_are_refused(inference):
    private = Ed25519PrivateKey.generate()
    stranger = ClearanceSigner(private, key_id(private.public_key()), bytes(32))
    raster = np.full((32, 32, 3), 255, np.uint8)
    raster.setflags(write=False)
    image, prompt = ClearedImage(raster, raster_digest(raster)), ClearedPrompt(QUESTION, (), "")
    deadline = Deadline.after(30)
    backend = RemoteBackend(inference.target)
    try:
        audience = (await backend.capacity()).audience
        signed = stranger.sign(image, prompt, audience=audience, scope="0" * 64, deadline=deadline)
        with pytest.raises(Refused) as refused:
            async for _ in backend.generate(image, prompt, signed, Sampling(), deadline):
                pass
    finally:
        await backend.close()
    assert refused.value.reason is Reason.CLEARANCE_INVALID


def test_its_socket_is_its_owners_and_taken_by_no_second_one(site, inference):
    path = Path(inference.target.removeprefix("unix:"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = site.config.parent / "keys" / PUBLIC_KEY
    command = [sys.executable, "-m", "guardedvlm", "serve-inference", "--guard-key", str(key)]
    command += ["--listen", inference.target, "--health-listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "PORT_TAKEN" in done.stderr
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0:9000"], "client CA"),
        (["--listen", "nowhere"], "listen"),
        (["--listen", "localhost:0", "--engine", "oracle"], "oracle"),
        (["--listen", "localhost:0", "--tls-key", "key.pem"], "belong together"),
        (["--listen", "localhost:0", "--engine", "transformers"], "model directory"),
        (["--listen", "localhost:0", "--offload"], "belongs to the engine"),
        (["--listen", "localhost:0", "--engine", "vllm"], "model directory"),
        (["--listen", "localhost:0", "--tensor-parallel-size", "2"], "belongs to the engine"),
        (["--listen", "localhost:0", "--engine", "vllm", "--model", "x", "--offload"], "belongs to the engine"),
        (
            ["--listen", "localhost:0", "--engine", "vllm", "--model", "x", "--kv-cache-memory", "much"],
            "a size such as",
        ),
    ],
)
def test_wrong_settings_are_said_at_once(site, arguments, words):
    key = site.config.parent / "keys" / PUBLIC_KEY
    command = [sys.executable, "-m", "guardedvlm", "serve-inference", "--guard-key", str(key), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
