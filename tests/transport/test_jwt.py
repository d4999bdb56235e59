"""Tokens of an identity provider: which are believed, whom they name, and what happens to the provider's keys."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

from guardedvlm.config import SignatureAlgorithm
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, GuardedVLMError, NotIdentified, Reason, Unavailable
from guardedvlm.transport.identity import Identities, Provider
from guardedvlm.transport.jwks import MAX_BYTES, REFETCH_SECONDS, Keys
from guardedvlm.transport.jwt import MAX_CHARS, JwtRules, verified

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://idp.example/realm", "guardedvlm"
RSA, EC, OTHER = (
    RSAKey.generate_key(2048, {"kid": "rsa-1"}),
    ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"}),
    ECKey.generate_key("P-256", {"kid": "ec-2"}),
)
KEYS = KeySet([RSA, EC])
RULES = JwtRules(ISSUER, AUDIENCE, ("RS256", "ES256"), client="azp")
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "azp": "gateway-7", "iat": NOW - 10, "exp": NOW + 590}


def token(key: Any = EC, algorithm: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    made = {"alg": algorithm, "kid": key.kid, **(header or {})}
    made = {name: value for name, value in made.items() if value is not None}
    return jwt.encode(made, said, key, [algorithm])


def check(text: str, rules: JwtRules = RULES, now: float = NOW) -> Any:
    return verified(text, rules, KEYS, lambda: now)


def refused(text: str, rules: JwtRules = RULES, now: float = NOW) -> None:
    with pytest.raises(NotIdentified) as caught:
        check(text, rules, now)
    assert (caught.value.reason, caught.value.details) == (Reason.UNAUTHENTICATED, {})  # not even why


class TestVerified:
    def test_good_tokens(self) -> None:
        assert check(token()).client == "gateway-7"
        assert check(token(RSA, "RS256", {"typ": "at+jwt"}, aud=["other", AUDIENCE])).client == "gateway-7"

    @pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # EdDSA has a newer name
    def test_every_algorithm_of_the_settings_works(self) -> None:
        for algorithm in SignatureAlgorithm:
            name = algorithm.value
            key: Any = RSA if name[0] in "RP" else OKPKey.generate_key("Ed25519", {"kid": "okp"})
            if name.startswith("ES"):
                key = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[name], {"kid": "ec"})
            said = verified(token(key, name), JwtRules(ISSUER, AUDIENCE, (name,), "azp"), KeySet([key]), lambda: NOW)
            assert said.client == "gateway-7"

    def test_no_signature_is_none(self) -> None:
        head = urlsafe_b64encode(json.dumps({"alg": "none", "kid": "ec-1"}).encode()).decode()
        body = urlsafe_b64encode(json.dumps(CLAIMS).encode()).decode()
        refused(f"{head}.{body}.")
        refused(f"{head}.{body}.AAAA")

    def test_a_public_key_is_no_secret(self) -> None:
        """HS256 with the published key as the secret: the attack that gave allow-lists their name."""
        for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
            parts = ({"alg": "HS256", "kid": "rsa-1"}, CLAIMS)
            said = ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
            mac = hmac.digest(secret, said.encode(), "sha256")
            refused(f"{said}.{urlsafe_b64encode(mac).decode()}")

    def test_keys_and_algorithms_belong_together(self) -> None:
        refused(token(RSA, "RS512"))  # not allowed
        refused(token(OTHER))  # a key that is not the provider's
        refused(token(OTHER, header={"kid": "ec-1"}))  # under the name of one that is
        refused(token(EC, header={"kid": None}))  # of two keys none is tried
        refused(_with_header(token(), {"alg": "ES256", "kid": 7}))
        for_one = ECKey.import_key({**EC.as_dict(private=True), "alg": "ES256"})
        assert verified(token(for_one), RULES, KeySet([for_one]), lambda: NOW)
        for_another = ECKey.import_key({**EC.as_dict(private=True), "alg": "ES512"})
        with pytest.raises(NotIdentified):
            verified(token(EC), RULES, KeySet([for_another]), lambda: NOW)

    def test_keys_and_addresses_in_the_token_are_not_looked_at(self) -> None:
        mine = OTHER.as_dict(private=False)
        refused(token(OTHER, header={"jwk": mine, "kid": "ec-1"}))
        refused(token(OTHER, header={"jku": "https://evil.example/keys"}))
        refused(token(EC, header={"crit": ["b64"], "b64": False}))

    def test_changed_by_a_letter(self) -> None:
        good = token()
        head, body, signature = good.split(".")
        other = urlsafe_b64encode(json.dumps({**CLAIMS, "azp": "gateway-8"}).encode()).decode()
        refused(f"{head}.{other}.{signature}")
        refused(f"{head}.{body}.{signature[:-4]}AAAA")

    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://idp.example/other"},
            {"iss": ISSUER + "/"},
            {"iss": None},
            {"aud": "console"},
            {"aud": ["console"]},
            {"aud": None},
            {"azp": None},
            {"azp": ["gateway-7"]},
            {"exp": None},
            {"iat": None},
            {"exp": NOW - 31},
            {"iat": NOW + 31},
            {"nbf": NOW + 31},
            {"nbf": "soon"},
            {"exp": "9999999999"},
            {"exp": True},
            {"exp": float("inf")},
            {"exp": float("nan")},
            {"iat": float("nan")},
            {"exp": NOW - 10 + 3_601},  # lives too long
            {"exp": NOW - 20, "iat": NOW - 10},  # ends before it begins
        ],
    )
    def test_what_is_demanded_of_claims(self, claims: dict[str, Any]) -> None:
        refused(token(**claims))

    def test_clocks_may_differ_by_the_skew_and_no_more(self) -> None:
        assert check(token(exp=NOW - 29, iat=NOW - 100))
        assert check(token(iat=NOW + 29, nbf=NOW + 29))
        strict = JwtRules(ISSUER, AUDIENCE, RULES.algorithms, client="azp", skew_seconds=0)
        refused(token(exp=NOW, iat=NOW - 100), strict)
        assert check(token(), strict)

    def test_types(self) -> None:
        refused(token(header={"typ": "dpop+jwt"}))
        refused(token(header={"typ": "logout+jwt"}))

    def test_large_and_deep(self) -> None:
        refused(token(more="x" * MAX_CHARS))
        deep = urlsafe_b64encode(b'{"a":' * 2_000 + b"1" + b"}" * 2_000).decode()
        refused(f"{deep}.{deep}.AAAA")

    @given(st.text(max_size=80) | st.builds(".".join, st.lists(st.text("aZ0_-=", max_size=40), min_size=3, max_size=3)))
    def test_what_nobody_signed(self, text: str) -> None:
        refused(text)


def _with_header(text: str, header: dict[str, Any]) -> str:
    return ".".join([urlsafe_b64encode(json.dumps(header).encode()).decode(), *text.split(".")[1:]])


TENANTS = """\
jwt_roles: {"app.ask": caller, "app.review": reviewer}
tenants:
  clinic: {policy: healthcare}
callers:
  - name: gateway
    tenant: clinic
    roles: [caller, policy-admin]
    san: ["dns:gateway.example"]
    jwt: {client: gateway-7}
"""


def keys_file(folder: Path, keys: KeySet = KEYS) -> Path:
    path = folder / "jwks.json"
    path.write_text(json.dumps(keys.as_dict(private=False)))
    return path


async def identities(folder: Path, text: str = TENANTS, **rules: Any) -> Identities:
    keys = Keys(str(keys_file(folder)), RULES.algorithms)
    await keys.start()
    provider = Provider(JwtRules(ISSUER, AUDIENCE, RULES.algorithms, client="azp", **rules), keys)
    return Identities.parse(text, bytes(32), provider=provider)


def current(**claims: Any) -> str:
    now = int(time.time())
    return token(**{"iat": now - 5, "exp": now + 300, **claims})


class TestMapping:
    async def test_a_token_names_a_caller_of_the_file(self, tmp_path: Path) -> None:
        found = await identities(tmp_path)
        gateway = Caller("clinic", "gateway", frozenset({Role.CALLER, Role.POLICY_ADMIN}))
        assert found.caller((), current()) == gateway
        assert found.caller(("dns:gateway.example",), current()) == gateway
        for stranger in (current(azp="gateway-8"), current(azp="gateway"), "a.b.c", current() + "A"):
            with pytest.raises(NotIdentified):
                found.caller(("dns:gateway.example",), stranger)

    async def test_roles_are_those_that_file_and_token_give(self, tmp_path: Path) -> None:
        found = await identities(tmp_path, roles="resource.roles")
        said = found.caller((), current(resource={"roles": ["app.ask", "app.review", "other.app"]}))
        assert said.roles == {Role.CALLER}  # not a reviewer by the file, and no policy-admin by the token
        assert found.caller((), current()).roles == frozenset()
        assert found.caller(("dns:gateway.example",), current(resource={"roles": "app.ask"})).roles == {Role.CALLER}

    async def test_the_tenant_must_agree_where_the_settings_name_a_claim_for_it(self, tmp_path: Path) -> None:
        text = TENANTS.replace("{client: gateway-7}", "{client: gateway-7, tenant: t-4711}")
        found = await identities(tmp_path, text, tenant="tid")
        assert found.caller((), current(tid="t-4711")).tenant == "clinic"
        for said in ({"tid": "t-4712"}, {}, {"tid": ["t-4711"]}):
            with pytest.raises(NotIdentified):
                found.caller((), current(**said))

    async def test_what_could_not_work_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as without:
            Identities.parse(TENANTS, bytes(32))
        assert (without.value.place, "needs 'jwt' in the settings" in without.value.explanation) == (
            "tenants.yaml:9",
            True,
        )
        with pytest.raises(ConfigurationError, match="SETTINGS_INVALID"):
            await identities(tmp_path, tenant="tid")
        second = "  - {name: b, tenant: clinic, jwt: {client: gateway-7}}\n"
        with pytest.raises(ConfigurationError) as twice:
            await identities(tmp_path, TENANTS + second)
        assert twice.value.explanation == "this client belongs to callers[0], too"


def weak_key() -> dict[str, str]:
    numbers = rsa.generate_private_key(65_537, 1_024).public_key().public_numbers()
    n, e = (
        urlsafe_b64encode(value.to_bytes(size, "big")).decode() for value, size in ((numbers.n, 128), (numbers.e, 3))
    )
    return {"kty": "RSA", "kid": "weak", "n": n, "e": e}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class TestKeys:
    async def test_a_rotated_key_is_known_at_its_first_use(self, tmp_path: Path) -> None:
        clock = Clock()
        keys = Keys(str(keys_file(tmp_path)), RULES.algorithms, clock=clock)
        await keys.start()
        keys_file(tmp_path, KeySet([OTHER]))
        await keys.prepare("ec-1")  # known: nothing is read
        assert {key.kid for key in keys.current().keys} == {"rsa-1", "ec-1"}
        clock.now += REFETCH_SECONDS
        await keys.prepare("ec-2")
        assert [key.kid for key in keys.current().keys] == ["ec-2"]

    async def test_strangers_cause_one_look_in_a_while(self, tmp_path: Path, monkeypatch: Any) -> None:
        clock, looks = Clock(), []
        keys = Keys(str(keys_file(tmp_path)), RULES.algorithms, clock=clock)
        monkeypatch.setattr(keys, "_read_file", lambda read=keys._read_file: (looks.append(1), read())[1])
        await keys.start()
        clock.now += REFETCH_SECONDS
        await asyncio.gather(*(keys.prepare(f"no-{number}") for number in range(50)))
        await asyncio.gather(*(keys.prepare(f"no-{number}") for number in range(50)))
        assert len(looks) == 2

    async def test_the_last_good_keys_serve_for_a_time_and_then_nobody_is_known(self, tmp_path: Path) -> None:
        clock, path = Clock(), keys_file(tmp_path)
        keys = Keys(str(path), RULES.algorithms, stale_seconds=600, clock=clock)
        await keys.start()
        good = path.read_text()
        for broken in ("", "[]", '{"keys": 3}', '{"keys": []}', '{"keys": [{"kty": "EC", "crv": "P-256"}]}'):
            path.write_text(broken)
            clock.now += 60
            await keys.prepare("unknown")
            assert keys.failing
            assert len(keys.current().keys) == 2
        clock.now += 301
        with pytest.raises(Unavailable) as caught:
            keys.current()
        assert caught.value.reason is Reason.IDENTITY_UNAVAILABLE
        path.write_text(good)
        keys.look()
        assert keys._fetching is not None
        await keys._fetching
        assert (keys.failing, len(keys.current().keys)) == (False, 2)

    @pytest.mark.parametrize(
        "entries",
        [
            [OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True), EC.as_dict(private=False)],
            [EC.as_dict(private=True)],
            [weak_key()],
            [EC.as_dict(private=False), EC.as_dict(private=False)],
            [{**EC.as_dict(private=False), "use": "enc"}],
            [{**EC.as_dict(private=False), "alg": "ES512"}],
            [{**EC.as_dict(private=False), "key_ops": 5}],
            [{**EC.as_dict(private=False), "x": 5}],
            ["key"],
        ],
    )
    async def test_key_sets_that_are_not_taken(self, tmp_path: Path, entries: list[Any]) -> None:
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": entries}))
        with pytest.raises(GuardedVLMError) as caught:
            await Keys(str(path), RULES.algorithms).start()
        assert caught.value.reason is Reason.SETTINGS_INVALID

    async def test_keys_of_others_are_passed_over(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        others = [{**RSA.as_dict(private=False), "kid": "e", "use": "enc"}, {"kty": "AKP", "kid": "pq"}]
        path.write_text(json.dumps({"keys": [*others, EC.as_dict(private=False)]}))
        keys = Keys(str(path), RULES.algorithms)
        await keys.start()
        assert [key.kid for key in keys.current().keys] == ["ec-1"]


@pytest.fixture
def provider() -> Iterator[Any]:
    """A provider's key address; `body`, `status` and `wait` say what it answers."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked += 1  # type: ignore[attr-defined]
            time.sleep(server.wait)  # type: ignore[attr-defined]
            self.send_response(server.status)  # type: ignore[attr-defined]
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(server.body)  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.status, server.wait = 0, 200, 0.0  # type: ignore[attr-defined]
    server.body = json.dumps(KEYS.as_dict(private=False)).encode()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def dripping() -> Iterator[int]:
    """A provider that sends a byte of a header now and then, to the first who asks; gives its port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not over.wait(0.05):
                    connection.sendall(b"x")
            with listener.accept()[0] as connection:
                connection.recv(4096)
                content = json.dumps(KeySet([EC]).as_dict(private=False)).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(10)


async def test_a_provider_that_drips_has_failed_and_the_next_look_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardedvlm.transport.jwks.LOOK_SECONDS", 0.3)
    with dripping() as port:
        keys = Keys(f"http://127.0.0.1:{port}/", RULES.algorithms)
        async with asyncio.timeout(5):
            await keys.start()
        assert keys.failing
        monkeypatch.setattr("guardedvlm.transport.jwks.LOOK_SECONDS", 5.0)
        await keys.start()  # its thread was not left hanging
        assert (keys.failing, len(keys.current().keys)) == (False, 1)
        await keys.close()


class TestAddress:
    def keys(self, provider: Any, clock: Clock) -> Keys:
        return Keys(f"http://127.0.0.1:{provider.server_port}/keys", RULES.algorithms, clock=clock)

    async def test_fetched_kept_and_given_up(self, provider: Any, monkeypatch: Any) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody asks it
        clock = Clock()
        keys = self.keys(provider, clock)
        await keys.start()
        assert len(keys.current().keys) == 2
        for status, body in ((302, b""), (500, b""), (200, b"x" * (MAX_BYTES + 1)), (200, b"<html>")):
            provider.status, provider.body = status, body
            clock.now += REFETCH_SECONDS
            await keys.prepare("unknown")
            assert keys.failing
        assert provider.asked == 5
        assert len(keys.current().keys) == 2
        clock.now += 3_600
        with pytest.raises(Unavailable):
            keys.current()

    async def test_a_provider_that_is_not_there_at_the_start(self, provider: Any) -> None:
        clock = Clock()
        provider.status = 503
        keys = self.keys(provider, clock)
        await keys.start()
        with pytest.raises(Unavailable):
            keys.current()
        provider.status = 200
        clock.now += REFETCH_SECONDS
        keys.look()
        await keys.prepare("ec-1")
        assert len(keys.current().keys) == 2
        await keys.close()
