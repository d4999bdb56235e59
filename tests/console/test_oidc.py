"""Login at a real OpenID Connect provider in a process of its own."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.integrations.starlette_client import StarletteOAuth2App
from review_office import Office
from running import provider_process
from starlette.testclient import TestClient

from guardedvlm.audit.record import LedgerEvent
from guardedvlm.console.app import Site, build_console
from guardedvlm.console.index import refresh
from guardedvlm.console.oidc import Provider, has_role

BASE = "http://127.0.0.1:8450"
USERS = {
    "ann": json.dumps({"sub": "ann", "preferred_username": "ann@clinic", "roles": ["reviewer"]}),
    "bob": json.dumps({"sub": "bob", "roles": ["billing"]}),
    "eve": json.dumps({"sub": "eve"}),
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_process("127.0.0.1", **USERS) as address:
        yield address


def provider(known: str, **changed: Any) -> Provider:
    return replace(Provider(known, "console", "secret", f"{BASE}/login/callback"), **changed)


@pytest.fixture
def open_login(ledger: Path, tmp_path: Path, issuer: str) -> Any:
    refresh(ledger, tmp_path / "cache")

    def build(**changed: Any) -> TestClient:
        site = Site(ledger, tmp_path / "cache", "127.0.0.1", 8450, provider=provider(issuer, **changed))
        return TestClient(build_console(site).application, base_url=BASE, follow_redirects=False)

    return build


def consent(client: TestClient, user: str) -> tuple[str, dict[str, list[str]]]:
    """Begin, and say yes at the provider as `user`. Returns where it sends the browser, and what it was asked."""
    away = client.get("/login/begin")
    assert away.status_code == 302
    answer = httpx.post(away.headers["location"], data={"sub": user}, trust_env=False)
    assert answer.status_code == 302
    return answer.headers["location"].removeprefix(BASE), parse_qs(urlsplit(away.headers["location"]).query)


def finish(client: TestClient, callback: str) -> httpx.Response:
    page = client.get(callback)
    assert page.status_code == 200
    assert f"/login/finish?{urlsplit(callback).query.split('&')[0]}" in page.text.replace("&amp;", "&")
    return client.get(f"/login/finish?{urlsplit(callback).query}")


def test_a_reviewer_gets_in(open_login: Any) -> None:
    client = open_login()
    callback, asked = consent(client, "ann")

    entered = finish(client, callback)

    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "ann@clinic" in client.get("/").text
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"]
    assert asked["state"]


def test_a_reviewer_is_issuer_and_subject(open_login: Any, issuer: str, tmp_path: Path, ledger: Path) -> None:
    """A name can be given to somebody else; who viewed and marked must stay the same person."""
    office = Office(tmp_path, ledger)
    client = open_login()
    finish(client, consent(client, "ann")[0])
    with_desk = Site(ledger, tmp_path / "cache", "127.0.0.1", 8450, provider=provider(issuer), desk=office.desk)
    reviewer = TestClient(build_console(with_desk).application, base_url=BASE, follow_redirects=False)
    finish(reviewer, consent(reviewer, "ann")[0])

    assert reviewer.get(f"/review/{office.sample()}").status_code == 200
    assert client.get("/review").status_code == 404
    (viewed,) = office.facts(LedgerEvent.VIEWED)
    assert viewed["reviewer"] == office.desk.pseudonym(f"{issuer} ann")


def test_cookies_of_the_attempt_are_strict(open_login: Any) -> None:
    cookie = open_login().get("/login/begin").headers["set-cookie"].lower()

    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    assert "path=/login" in cookie


@pytest.mark.parametrize("user", ["bob", "eve"])
def test_who_has_not_the_role_does_not(open_login: Any, user: str) -> None:
    client = open_login()

    refused = finish(client, consent(client, user)[0])

    assert refused.status_code == 403
    assert client.get("/").status_code == 303


def test_the_role_is_a_setting(open_login: Any) -> None:
    client = open_login(role="billing")

    assert finish(client, consent(client, "bob")[0]).status_code == 303


def test_another_browser_cannot_finish_it(open_login: Any) -> None:
    """Login CSRF: an attacker's answer of the provider in the reviewer's browser."""
    attacker, victim = open_login(), open_login()
    callback, _ = consent(attacker, "ann")
    victim.get("/login/begin")

    assert finish(victim, callback).status_code == 401
    stranger = open_login()
    assert stranger.get(f"/login/finish?{urlsplit(callback).query}").status_code == 401


def test_an_answer_counts_once(open_login: Any) -> None:
    client = open_login()
    callback, _ = consent(client, "ann")

    assert finish(client, callback).status_code == 303
    client.cookies.clear()
    assert client.get(f"/login/finish?{urlsplit(callback).query}").status_code == 401


@pytest.mark.parametrize("name", ["code", "state"])
def test_a_changed_answer_is_refused(open_login: Any, name: str) -> None:
    client = open_login()
    callback, _ = consent(client, "ann")
    query = {key: values[0] for key, values in parse_qs(urlsplit(callback).query).items()}

    assert client.get("/login/finish", params=query | {name: "other"}).status_code == 401


def test_somebody_who_says_no(open_login: Any) -> None:
    client = open_login()
    client.get("/login/begin")

    assert client.get("/login/finish?error=access_denied&error_description=CANARY").status_code == 401
    assert "CANARY" not in client.get("/login/callback?error=access_denied&error_description=CANARY").text


def test_the_verifier_that_is_sent_is_the_one_that_was_challenged(
    open_login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PKCE: a provider that enforces it (this one does not) gets what fits; without it a seen code is worth nothing."""
    sent: dict[str, Any] = {}
    fetch = StarletteOAuth2App.fetch_access_token

    async def seen(self: StarletteOAuth2App, **params: Any) -> Any:
        sent.update(params)
        return await fetch(self, **params)

    monkeypatch.setattr(StarletteOAuth2App, "fetch_access_token", seen)
    client = open_login()
    callback, asked = consent(client, "ann")

    assert finish(client, callback).status_code == 303
    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()]
    assert len(sent["code_verifier"]) >= 43  # RFC 7636, section 4.1


def token_for(issuer: str, client_id: str, nonce: str) -> str:
    """An ID token that the provider made for somebody's login at `client_id`."""
    endpoints = httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).json()
    asked = {"client_id": client_id, "redirect_uri": BASE, "response_type": "code", "scope": "openid", "nonce": nonce}
    answer = httpx.post(endpoints["authorization_endpoint"], params=asked, data={"sub": "ann"}, trust_env=False)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": BASE}
    token = httpx.post(endpoints["token_endpoint"], data=sent, auth=(client_id, "secret"), trust_env=False)
    return str(token.json()["id_token"])


@pytest.mark.parametrize(("client_id", "status"), [("console", 303), ("billing", 401)])
def test_an_id_token_for_another_application_is_refused(
    open_login: Any, issuer: str, monkeypatch: pytest.MonkeyPatch, client_id: str, status: int
) -> None:
    client = open_login()
    callback, asked = consent(client, "ann")
    given = {"id_token": token_for(issuer, client_id, asked["nonce"][0]), "token_type": "Bearer"}

    async def fetched(*_: Any, **__: Any) -> dict[str, Any]:
        return dict(given)

    monkeypatch.setattr(StarletteOAuth2App, "fetch_access_token", fetched)

    assert finish(client, callback).status_code == status


def test_claims_without_an_id_token_are_none(open_login: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetched(*_: Any, **__: Any) -> dict[str, Any]:
        return {"access_token": "a", "token_type": "Bearer", "userinfo": {"sub": "mallory", "roles": ["reviewer"]}}

    client = open_login()
    callback, _ = consent(client, "eve")
    monkeypatch.setattr(StarletteOAuth2App, "fetch_access_token", fetched)

    assert finish(client, callback).status_code == 401


@pytest.mark.parametrize(
    ("wanted", "got"),
    [("/requests?outcome=REFUSED&kind=FACE", None), ("//evil.example", "/"), ("/" + "x" * 9_000, "/")],
)
def test_where_somebody_wanted_to_go_is_where_the_provider_leads(open_login: Any, wanted: str, got: str | None) -> None:
    client = open_login()
    page = client.get("/login", params={"next": wanted}).text
    begin = unescape(page.partition('<a class="button" href="')[2].partition('"')[0])
    away = client.get(begin)
    answer = httpx.post(away.headers["location"], data={"sub": "ann"}, trust_env=False)

    entered = finish(client, answer.headers["location"].removeprefix(BASE))

    assert (entered.status_code, entered.headers["location"]) == (303, got or wanted)


def test_a_provider_that_does_not_answer(open_login: Any) -> None:
    client = open_login(issuer="http://127.0.0.1:9")

    assert client.get("/login/begin").status_code == 503


def test_metadata_of_another_issuer(open_login: Any, issuer: str) -> None:
    client = open_login(issuer=issuer + "/")

    assert client.get("/login/begin").status_code == 401


def test_the_token_page_is_not_there(open_login: Any) -> None:
    client = open_login()

    assert "Log in with your organisation" in client.get("/login?token=x").text
    assert client.post("/login", data={"token": "x"}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 405


@pytest.mark.parametrize(
    ("claims", "claim", "expected"),
    [
        ({"roles": ["reviewer"]}, "roles", True),
        ({"roles": "billing reviewer"}, "roles", True),
        ({"roles": "reviewers"}, "roles", False),
        ({"realm_access": {"roles": ["reviewer"]}}, "realm_access.roles", True),
        ({"https://a.example/roles": ["reviewer"]}, "https://a.example/roles", True),
        ({"roles": {"reviewer": True}}, "roles", False),
        ({"roles": None}, "roles", False),
        ({}, "roles.reviewer", False),
    ],
)
def test_where_a_role_may_stand(claims: dict[str, Any], claim: str, expected: bool) -> None:
    assert has_role(claims, claim, "reviewer") is expected
