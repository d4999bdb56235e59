"""The front as tools meet it: the real `openai` package, a real HTTP server, a real gRPC service behind it."""

import base64
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import openai
import pytest
from pydantic import BaseModel
from scripted_guard import HANG, ScriptedGuard, issuing, serving

from guardedvlm.cli.web import web_server
from guardedvlm.config import Tls
from guardedvlm.errors import (
    Conflict,
    InvalidInput,
    NotIdentified,
    NotPermitted,
    Overloaded,
    Reason,
    Refused,
    Unavailable,
)
from guardedvlm.openai_api import slots
from guardedvlm.openai_api.app import Front, build_openai
from guardedvlm.transport.dev_pki import write_dev_pki

PNG = b"\x89PNG not really"
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE = {"type": "image_url", "image_url": {"url": URL}}


@contextmanager
def front(target, tls=None, **options):
    """A running front; gives its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = web_server(build_openai(Front(target, https=tls is not None, **options)), tls)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    found = ScriptedGuard()
    found.receipts, _ = issuing(tmp_path_factory.mktemp("evidence"))
    return found


@pytest.fixture(scope="module")
def base_url(guard):
    with serving(guard) as target, front(target, body_bytes=2**16) as url:
        yield url


@pytest.fixture
def client(base_url, guard):
    for told in (guard.script, guard.requests, guard.tokens, guard.contents, guard.asked):
        told.clear()
    guard.fails_after = None
    guard.began.clear()
    guard.cancelled.clear()
    with openai.OpenAI(base_url=base_url, api_key="gvlm_mine", max_retries=0) as found:
        yield found


def user(*parts):
    return {"role": "user", "content": list(parts)}


def text(said):
    return {"type": "text", "text": said}


def asks(client, **options):
    """A completion; the defaults are a picture and a question."""
    given = {"model": "guardedvlm/finance", "messages": [user(text("What?"), PICTURE)], **options}
    return client.chat.completions.create(**given)


def test_a_question_about_a_picture(client, guard):
    found = asks(client, max_tokens=9, seed=3)
    assert found.choices[0].message.content == "What?"
    assert found.choices[0].finish_reason == "stop"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (5, 2, 7)
    assert (found.model, found._request_id) == ("guardedvlm/finance", "heard")
    assert found.guardedvlm["audit_id"] == "heard"
    assert guard.contents[-1] == PNG
    assert set(guard.tokens) == {"Bearer gvlm_mine"}
    assert (guard.asked[-1].query.max_tokens, guard.asked[-1].query.seed) == (9, 3)
    assert guard.asked[-1].document.media_type == "image/png"


def test_earlier_turns_are_history(client, guard):
    turns = [user(PICTURE, text("One?")), {"role": "assistant", "content": "1"}, {"role": "user", "content": "Two?"}]
    asks(client, messages=turns)
    query = guard.asked[-1].query
    assert (query.question, [(turn.question, turn.answer) for turn in query.history]) == ("Two?", [("One?", "1")])


def test_a_pdf_comes_as_a_file(client, guard):
    data = "data:application/pdf;base64," + base64.b64encode(b"%PDF").decode()
    asks(client, messages=[user(text("?"), {"type": "file", "file": {"file_data": data, "filename": "jane.pdf"}})])
    assert guard.contents[-1] == b"%PDF"
    assert b"jane" not in guard.asked[-1].SerializeToString()


def test_a_stream(client):
    chunks = list(asks(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "One. "
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 7
    assert chunks[-2].guardedvlm["audit_id"] == "heard"
    assert len({chunk.id for chunk in chunks}) == 1


class Receipt(BaseModel):
    company: str | None
    lines: list["Line"]


class Line(BaseModel):
    name: str
    amount: float | None


def test_a_schema_asks_for_fields(client, guard):
    found = client.chat.completions.parse(
        model="finance", messages=[user(text("Of the shop"), PICTURE)], response_format=Receipt
    )
    schema = json.loads(guard.asked[-1].schema)
    assert schema["properties"]["company"]["type"] == ["string", "null"]
    assert schema["properties"]["lines"]["items"]["properties"]["amount"]["type"] == ["number", "null"]
    assert schema["description"] == "Of the shop"
    assert "$defs" not in schema
    assert found.choices[0].message.parsed.company == "a"
    streamed = list(
        asks(
            client, stream=True, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        )
    )
    assert json.loads(streamed[1].choices[0].delta.content) == {"company": "a", "lines": []}


def test_the_services_schema_takes_what_was_made_plain(client, guard):
    from guardedvlm.core.field_schema import parse_fields

    client.chat.completions.parse(
        model="finance", messages=[user(text("Two\nlines"), PICTURE)], response_format=Receipt
    )
    assert set(parse_fields(guard.asked[-1].schema).properties) == {"company", "lines"}


def test_models(client):
    assert [model.id for model in client.models.list()] == ["guardedvlm/finance"]
    assert client.models.retrieve("guardedvlm/finance").owned_by == "guardedvlm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (InvalidInput(Reason.IMAGE_CORRUPT), openai.BadRequestError, 400),
        (NotPermitted(Reason.ROLE_MISSING), openai.PermissionDeniedError, 403),
        (Conflict(Reason.REQUEST_ID_REUSED), openai.ConflictError, 409),
        (Refused(Reason.RESIDUAL_FOUND, kind="FACE"), openai.UnprocessableEntityError, 422),
        (Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=7), openai.RateLimitError, 429),
        (Unavailable(Reason.DETECTOR_MISSING), openai.InternalServerError, 503),
    ],
    ids=lambda value: getattr(value, "reason", None),
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_openais_shape_and_our_reason(client, guard, error, kind, status, stream):
    guard.script.extend([None, error])  # the first call asks for the policy
    with pytest.raises(kind) as failure:
        asks(client, stream=stream)
    assert (failure.value.status_code, failure.value.code) == (status, error.reason.value)
    assert failure.value.body["message"] == str(error)
    again = failure.value.response.headers["x-should-retry"]
    assert again == ("true" if isinstance(error, Overloaded) else "false")
    assert failure.value.response.headers.get("retry-after") == ("7" if isinstance(error, Overloaded) else None)


def test_a_refusal_in_the_middle_of_a_stream_ends_it(client, guard):
    guard.fails_after = 3
    guard.script.extend([None, Refused(Reason.ANSWER_REFUSED)])
    told = []
    with pytest.raises(openai.APIError) as failure:
        told.extend(chunk.choices[0].delta.content for chunk in asks(client, stream=True))
    assert failure.value.code == "ANSWER_REFUSED"


def test_an_unknown_caller_is_not_read(client, guard):
    guard.script.append(NotIdentified(Reason.UNAUTHENTICATED))
    with pytest.raises(openai.AuthenticationError) as failure:
        asks(client)
    assert failure.value.code == "UNAUTHENTICATED"
    assert guard.asked == []


def test_no_token_no_call(base_url, client, guard):
    status, headers, body = post(base_url, b"{}", {})
    assert (status, json.loads(body)["error"]["code"]) == (401, "UNAUTHENTICATED")
    assert headers["www-authenticate"] == "Bearer"
    assert guard.tokens == []


REFUSED = {
    "n": {"n": 2},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "logprobs": {"logprobs": True},
    "stop": {"stop": ["x"]},
    "presence_penalty": {"presence_penalty": 0.5},
    "store": {"store": True},
    "max_tokens": {"max_tokens": -1},
    "temperature": {"temperature": 3},
    "request": {"extra_body": {"Jane Sample": 1}},
    "messages.0.content.0.image_url.url": {
        "messages": [user({"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}})]
    },
    "messages.0.role": {"messages": [{"role": "system", "content": "Be brief."}, user(PICTURE)]},
    "messages.1.role": {"messages": [user(PICTURE), user(text("?"))]},
    "messages": {"messages": [{"role": "user", "content": "no picture"}]},
    "messages.0.content.0.type": {"messages": [user({"type": "input_audio", "input_audio": {}})]},
    "response_format.type": {"response_format": {"type": "json_object"}},
    "model": {"model": "gpt-4o"},
    "Idempotency-Key": {"extra_headers": {"Idempotency-Key": "two words"}},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_kept_is_refused(client, guard, param):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as failure:
        asks(client, **REFUSED[param])
    assert (failure.value.code, failure.value.param) == ("FIELD_INVALID", param)
    assert guard.asked == []
    assert "Jane" not in failure.value.response.text
    assert "169" not in failure.value.response.text


def test_two_documents_are_refused_and_one_twice_is_one(client, guard):
    other = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    asks(client, messages=[user(PICTURE, PICTURE, text("?"))])
    with pytest.raises(openai.BadRequestError):
        asks(client, messages=[user(PICTURE, other, text("?"))])


def test_neutral_fields_ask_for_nothing(client):
    asks(client, n=1, tools=[], logprobs=False, presence_penalty=0.0, user="jane.sample@example.com", store=False)


def test_a_request_id_is_passed_on(client, guard):
    asks(client, extra_headers={"Idempotency-Key": "order-7"})
    assert guard.requests[-1] == "order-7"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 50_000, b'{"seed": NaN}', b"\xff"])
def test_bodies_that_are_none(base_url, body):
    status, _, answer = post(base_url, body)
    assert status == 400
    assert json.loads(answer)["error"]["code"] == "FIELD_INVALID"


@pytest.mark.parametrize("said", ["\\ud800", "\\udc00x", b"\xed\xa0\x80"], ids=["high", "low", "raw"])
@pytest.mark.parametrize("place", ["question", "history", "media type", "schema"])
def test_half_a_pair_is_no_text(base_url, client, guard, said, place):
    asked = {"model": "finance", "messages": [user(PICTURE, text("?"))]}
    if place == "question":
        asked["messages"][0] = user(PICTURE, text("HERE"))
    elif place == "history":
        asked["messages"] = [user(PICTURE), {"role": "assistant", "content": "HERE"}, user(text("?"))]
    elif place == "media type":
        asked["messages"] = [user({"type": "image_url", "image_url": {"url": "data:HERE;base64,QUJD"}})]
    else:
        schema = {"type": "object", "properties": {"HERE": {"type": "string"}}}
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    body = json.dumps(asked).encode().replace(b"HERE", said.encode() if isinstance(said, str) else said)
    status, _, answer = post(base_url, body)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "FIELD_INVALID")
    assert guard.asked == []


def test_a_body_has_a_limit(base_url):
    status, _, answer = post(base_url, b" " * (2**16 + 1))
    assert (status, json.loads(answer)["error"]["code"]) == (413, "MESSAGE_TOO_LARGE")


def test_other_paths_have_openais_shape(base_url, client):
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="x", input="y")
    assert post(base_url, b"{}", path="/models")[0] == 405


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_cancels_the_call(base_url, client, guard, stream):
    guard.script.extend([None, HANG])
    body = {"model": "finance", "messages": [user(PICTURE, text("?"))], "stream": stream}
    with socket.create_connection(("127.0.0.1", int(base_url.split(":")[2].split("/")[0]))) as line:
        content = json.dumps(body).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
        line.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        end = time.monotonic() + 10
        while len(guard.requests) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert guard.cancelled.wait(10)


def test_requests_above_the_limit_wait_and_each_slot_comes_back(guard, client):
    with (
        serving(guard) as target,
        front(target, most_requests=1) as url,
        openai.OpenAI(base_url=url, api_key="t", max_retries=0) as one,
    ):
        for stream in (True, False, True, False):
            found = asks(one, stream=stream)
            assert not stream or list(found)
        guard.script.extend([None, Refused(Reason.RESIDUAL_FOUND)])
        with pytest.raises(openai.UnprocessableEntityError):
            asks(one, stream=True)
        assert asks(one).choices


def test_one_token_does_not_keep_the_others_out(guard, client, monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.2)
    with serving(guard) as target, front(target, most_requests=4) as url:
        mine, other = (openai.OpenAI(base_url=url, api_key=name, max_retries=0) for name in ("mine", "other"))
        with mine, other:
            guard.script.append(None)
            with hanging(url, guard, "mine"):
                with pytest.raises(openai.RateLimitError) as full:
                    asks(mine)
                assert (full.value.code, full.value.response.headers["retry-after"]) == ("QUEUE_FULL", "5")
                assert full.value.response.headers["x-should-retry"] == "true"
                assert asks(other).choices
            assert guard.cancelled.wait(10)
            assert asks(mine).choices


@contextmanager
def hanging(base_url, guard, token):
    """A request that is in work until the end of this."""
    guard.script.append(HANG)
    content = json.dumps({"model": "finance", "messages": [user(PICTURE, text("?"))]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    with socket.create_connection(("127.0.0.1", int(base_url.split(":")[2].split("/")[0]))) as line:
        line.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        end = time.monotonic() + 10
        while len(guard.requests) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        yield


def test_nothing_is_logged(client, guard, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    guard.script.extend([None, RuntimeError("Jane Sample")])
    with pytest.raises(openai.InternalServerError):
        asks(client, messages=[user(PICTURE, text("Where does Jane Sample live?"))])
    told = [record for record in caplog.records if record.name.startswith(("uvicorn", "guardedvlm", "starlette"))]
    assert told == []
    assert capfd.readouterr().err == ""


def test_over_tls(guard, tmp_path):
    pki = write_dev_pki(tmp_path, ("bank",))
    tls = Tls(certificate=pki.server.certificate, key=pki.server.key)
    with serving(guard) as target, front(target, tls) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        line = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=pki.ca))
        line.request("GET", "/v1/models", headers={"Authorization": "Bearer t"})
        found = line.getresponse()
        assert json.loads(found.read())["data"][0]["id"] == "guardedvlm/finance"
        assert found.getheader("strict-transport-security")
        assert found.getheader("cache-control") == "no-store"
        line.close()


def post(base_url, body, headers=None, path="/chat/completions"):
    host = base_url.removeprefix("http://").partition("/")[0]
    line = http.client.HTTPConnection(host, timeout=20)
    try:
        line.request("POST", f"/v1{path}", body, {"Authorization": "Bearer t"} if headers is None else headers)
        found = line.getresponse()
        return found.status, dict(found.getheaders()), found.read()
    finally:
        line.close()
