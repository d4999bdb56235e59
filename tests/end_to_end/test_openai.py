"""The OpenAI front as an operator starts it, in front of a real service, asked by the real `openai` package."""

import base64
import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import openai
import pytest
from PIL import Image, ImageDraw, ImageFont
from running_service import TESTS, free_port

from guardedvlm.audit.receipt import Receipt

pytestmark = pytest.mark.service

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": ["number", "null"]}},
    "required": ["total"],
    "additionalProperties": False,
}


def picture():
    image = Image.new("RGB", (320, 130), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    for number, line in enumerate(("Customer: Jane Sample", "Rolls 4.20", "TOTAL 17.80")):
        draw.text((20, 14 + 40 * number), line, "black", font)
    found = io.BytesIO()
    image.save(found, "PNG")
    return found.getvalue()


@contextmanager
def front(service):
    """`guardedvlm openai` in a process of its own; gives its base URL."""
    command = [sys.executable, "-m", "guardedvlm", "openai", "--server", service.listen, "--ca", service.site.pki.ca]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    process = subprocess.Popen(
        [*map(str, command), "--listen", f"127.0.0.1:{free_port()}"], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def client(service):
    with front(service) as url, openai.OpenAI(base_url=url, api_key=token(service), max_retries=0) as found:
        yield found


def token(service):
    return service.site.tokens["bank"].read_text().strip()


def messages(content):
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    question = {"type": "text", "text": "What is the total?"}
    return [{"role": "user", "content": [question, {"type": "image_url", "image_url": {"url": url}}]}]


def test_a_tool_that_knows_openai_asks_the_guard(client, service):
    (model,) = client.models.list()
    assert model.id == "guardedvlm/finance"
    found = client.chat.completions.create(model=model.id, messages=messages(picture()))
    assert "17.80" in found.choices[0].message.content
    assert found.guardedvlm["hidden"]["PERSON"] >= 1
    assert found.usage.completion_tokens > 0
    receipt = Receipt.decode(base64.b64decode(found.guardedvlm["receipt"]))
    assert receipt.statement.audit_id == found.guardedvlm["audit_id"] == found._request_id


def test_it_streams_and_extracts(client):
    chunks = list(client.chat.completions.create(model="guardedvlm", messages=messages(picture()), stream=True))
    assert "17.80" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    wanted = {"type": "json_schema", "json_schema": {"name": "receipt", "schema": SCHEMA}}
    found = client.chat.completions.create(model="finance", messages=messages(picture()), response_format=wanted)
    assert json.loads(found.choices[0].message.content) == {"total": 17.8}


def test_refusals_have_the_services_reasons(client):
    with pytest.raises(openai.BadRequestError) as failure:
        client.chat.completions.create(model="finance", messages=messages(b"GIF89a"))
    assert failure.value.code in {"IMAGE_CORRUPT", "FORMAT_MISMATCH"}
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="gvlm_nobody").models.list()
