"""Who gets in, for how long, and what another site cannot make a browser do."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from guardedvlm.console.app import Console, Site, build_console
from guardedvlm.web.access import MAX_SESSIONS, Cookie, Sessions, StartToken, safe_next

Open = Callable[..., tuple[Console, TestClient]]
PAGES = ("/", "/requests", "/policies", "/evidence", "/evidence/state", "/requests/" + "0" * 32, "/policies/diff")


@pytest.fixture
def console(ledger: Path, open_console: Open) -> tuple[Console, TestClient]:
    return open_console(ledger)


@pytest.mark.parametrize("path", PAGES)
def test_nobody_gets_a_page_without_a_session(console: tuple[Console, TestClient], path: str) -> None:
    stranger = TestClient(console[0].application, base_url="http://127.0.0.1:8450", follow_redirects=False)

    answer = stranger.get(path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    assert stranger.get(path, headers={"HX-Request": "true"}).status_code == 401


def test_every_route_is_behind_the_gate(console: tuple[Console, TestClient]) -> None:
    paths = {getattr(route, "path", "") for route in console[0].application.routes}

    assert {path for path in paths if not path.startswith(("/login", "/static"))} == {
        *("/", "/requests", "/requests/{request:str}", "/policies", "/policies/diff", "/policies/{digest:str}"),
        *("/evidence", "/evidence/state", "/evidence/verify", "/logout", "/receipts", "/requests/{request:str}/proof"),
    }


def test_the_token_opens_and_the_cookie_is_strict(console: tuple[Console, TestClient]) -> None:
    assert console[0].token is not None
    stranger = TestClient(console[0].application, base_url="http://127.0.0.1:8450", follow_redirects=False)

    answer = stranger.get(console[0].token.url(""))

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/").status_code == 200


def test_another_token_does_not(console: tuple[Console, TestClient]) -> None:
    stranger = TestClient(console[0].application, base_url="http://127.0.0.1:8450", follow_redirects=False)

    assert stranger.get(StartToken().url("")).status_code == 401
    assert stranger.get("/login?token=").status_code == 401
    assert stranger.get("/").status_code == 303


def test_logout_ends_the_session(console: tuple[Console, TestClient]) -> None:
    client = console[1]
    client.cookies, kept = dict(client.cookies), dict(client.cookies)  # type: ignore[assignment]

    assert client.post("/logout", headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False).status_code == 303
    client.cookies = kept  # type: ignore[assignment]
    assert client.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}],
)
def test_a_post_of_another_site_is_refused(console: tuple[Console, TestClient], headers: dict[str, str]) -> None:
    for path in ("/evidence/verify", "/logout", "/login"):
        assert console[1].post(path, headers=headers).status_code == 403
    assert console[1].get("/", follow_redirects=False).status_code == 200


def test_another_name_for_this_machine_is_refused(console: tuple[Console, TestClient]) -> None:
    """DNS rebinding: the browser believes that it speaks with evil.example."""
    assert console[1].get("/", headers={"Host": "evil.example:8450"}).status_code == 400


def test_over_tls_cookies_and_browsers_stay_there(ledger: Path, tmp_path: Path) -> None:
    console = build_console(Site(ledger, tmp_path, "console.example", 443, https=True))
    client = TestClient(console.application, base_url="https://console.example", follow_redirects=False)
    assert console.token is not None

    answer = client.get(console.token.url(""))

    assert answer.headers["set-cookie"].startswith("__Host-")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]
    assert client.get("/login", headers={"Host": "127.0.0.1"}).status_code == 400


def test_a_session_ends_by_age_and_by_idleness() -> None:
    now = [0.0]
    sessions = Sessions(life=100, idle=10, clock=lambda: now[0])
    idle, used = sessions.begin("a"), sessions.begin("b")
    for second in range(0, 99, 9):
        now[0] = float(second)
        assert sessions.find(used) is not None
    assert sessions.find(idle) is None
    now[0] = 101.0
    assert sessions.find(used) is None
    assert sessions.find(None) is None


def test_sessions_are_few_and_the_idlest_goes() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    first, second = sessions.begin("first"), sessions.begin("second")
    now[0] = 1.0
    sessions.find(first)
    for _ in range(MAX_SESSIONS - 1):
        sessions.begin("other")

    assert sessions.find(second) is None
    assert sessions.find(first) is not None


@given(st.text(max_size=30) | st.sampled_from(["//evil.example", "/\\evil.example", "https://evil.example", "/\t/e"]))
def test_no_login_leads_elsewhere(path: str) -> None:
    target = safe_next(path)

    assert target.startswith("/")
    assert urlsplit(urljoin("http://console/", target)).netloc == "console"


def test_where_somebody_wanted_to_go() -> None:
    assert safe_next("/requests?outcome=REFUSED") == "/requests?outcome=REFUSED"
    assert safe_next("/login?next=/login") == "/"


def test_two_consoles_of_a_machine_have_two_cookies() -> None:
    assert Cookie(False, 1).name != Cookie(False, 2).name
    assert Cookie(True, 1).attempt.name.startswith("__Secure-")
