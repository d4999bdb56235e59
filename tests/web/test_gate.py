"""The gate decides by what the router decides by, and tells everybody without a session where the login is."""

from typing import Any

import pytest
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message

from guardedvlm.web.access import Cookie, Gate, Sessions, local_path


def scope(path: str, method: str = "GET", query: bytes = b"", **headers: str) -> dict[str, Any]:
    told = {"host": "127.0.0.1:1", "sec-fetch-site": "same-origin"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw, "scheme": "http"}


async def answer(asked: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Status and headers of what a caller without a session gets; 299 is the page behind the gate."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    gate = Gate(PlainTextResponse("behind", 299), Sessions(), Cookie(False, 1))
    await gate(asked, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize("host", ["127.0.0.1:1/login?", "127.0.0.1:1/login#", "127.0.0.1:1/static/?"])
async def test_a_host_that_spells_an_open_path_opens_nothing(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Frameworks before 1.7 put a request's URL together from the Host as it came."""
    monkeypatch.setattr(Request, "url", property(lambda request: URL(f"http://{host}{request.scope['path']}")))

    status, headers = await answer(scope("/requests", query=b"outcome=REFUSED", host=host))

    assert status == 303
    assert headers["location"] == "/login?next=%2Frequests%3Foutcome%3DREFUSED"


async def test_open_paths_are_open() -> None:
    assert (await answer(scope("/login")))[0] == 299
    assert (await answer(scope("/static/look.css")))[0] == 299


def test_a_path_is_written_as_an_address() -> None:
    assert local_path(scope("/requests/\u00e9 ?", query=b"a=1")) == "/requests/%C3%A9%20%3F?a=1"


async def test_a_part_of_a_page_that_posts_leads_to_the_login() -> None:
    status, headers = await answer(scope("/evidence/verify", "POST", hx_request="true"))

    assert status == 401
    assert headers["hx-redirect"] == "/login"


async def test_logging_out_without_a_session_leads_to_the_login() -> None:
    status, headers = await answer(scope("/logout", "POST"))

    assert (status, headers["location"]) == (303, "/login")
    assert (await answer(scope("/evidence/verify", "POST")))[0] == 401
