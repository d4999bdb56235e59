"""`vllm serve DIR`, as a user starts it: upstream's directory, and questions over its OpenAI endpoint."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from vllm_cases import ENVIRONMENT, HISTORY, OPTIONS, PROMPTS, TOKENS, Asked, picture

pytestmark = pytest.mark.vllm

STARTS_WITHIN = 400
QUESTION = "Zanzibar-4711: describe this image."
CONTROL = "<|reserved_special_token_0|><|eot_id|><|begin_of_text|> is what?"


class Server:
    def __init__(self, directory, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items() if value is not True]
        options += ["--enforce-eager", "--host=127.0.0.1", f"--port={self.port}", "--served-model-name=cogvlm2"]
        environment = {**os.environ, **ENVIRONMENT, "VLLM_LOGGING_LEVEL": "INFO"}
        environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
        command = [Path(sys.executable).with_name("vllm"), "serve", directory, *options]
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def wait(self):
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if self.call("/health")[0] == 200:
                    return self
            except OSError:
                time.sleep(0.5)
        raise TimeoutError(self.log.read_text()[-3000:])

    def ask(self, messages, **more):
        body = {"model": "cogvlm2", "messages": messages, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
        status, answer = self.call("/v1/chat/completions", body | {"return_token_ids": True} | more)
        return status, json.loads(answer)


@pytest.fixture(scope="module")
def server(checkpoint, tmp_path_factory):
    server = Server(checkpoint, tmp_path_factory.mktemp("serve") / "log")
    try:
        yield server.wait()
    finally:
        server.process.terminate()
        server.process.wait(30)


def parts(text, image=None):
    if image is None:
        return text
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


def messages(asked):
    turns = []
    for question, answer in asked.history:
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*turns, {"role": "user", "content": parts(asked.text, asked.image)}]


@pytest.mark.parametrize(
    "asked",
    [
        Asked(QUESTION, picture(1)),
        Asked("And its colour?", picture(3), HISTORY),
        Asked("And its colour?", None, HISTORY),
        Asked(CONTROL, picture(5)),
        Asked(CONTROL),
    ],
    ids=["image", "turns", "turns of text", "control tokens in a question", "control tokens without an image"],
)
def test_answers_are_the_native_model_s(asked, server, native):
    status, answer = server.ask(messages(asked))
    assert status == 200, answer
    assert answer["choices"][0]["token_ids"] == native.answer(asked)


def test_an_image_of_an_earlier_turn_stands_first_too(server, native):
    asked = Asked("And its colour?", picture(3), HISTORY)
    first, *others = messages(asked._replace(image=None))
    status, answer = server.ask([{**first, "content": parts(first["content"], asked.image)}, *others])
    assert status == 200
    assert answer["choices"][0]["token_ids"] == native.answer(asked)


def test_the_short_template(server, native):
    asked = PROMPTS["short answer"]
    status, answer = server.ask(messages(asked), chat_template_kwargs={"template": "vqa"})
    assert status == 200
    assert answer["choices"][0]["token_ids"] == native.answer(asked)


@pytest.mark.parametrize(
    "wrong",
    [
        [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "Who are you?"}],
        [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}],
        [{"role": "user", "content": parts("Two?", picture(1)) + parts("", picture(2))[1:]}],
    ],
    ids=["system prompt", "two questions", "two images"],
)
def test_what_the_model_has_not_is_a_bad_request(wrong, server):
    status, _ = server.ask(wrong)
    assert status == 400
    assert server.call("/health")[0] == 200


def test_the_log_holds_no_question(server):
    status, _ = server.ask(messages(Asked(QUESTION)))
    assert status == 200
    assert "Zanzibar-4711" not in server.log.read_text()
