"""A person's identity on its way to a service: a real gRPC server with mutual TLS, and one for tokens."""

from contextlib import asynccontextmanager

import grpc.aio
import httpx
import pytest
from playground_service import Recorder, policy_text

from guardedvlm.errors import GuardedVLMError, NotIdentified, Reason
from guardedvlm.playground.app import Site, build_playground
from guardedvlm.playground.ports import Asked
from guardedvlm.playground.remote import MOST_IDENTITIES, Identity, RemoteGuard, Target
from guardedvlm.rpc.server import OPTIONS
from guardedvlm.transport.dev_pki import write_dev_pki
from guardedvlm.transport.tls import server_credentials
from guardedvlm.v1.guard_pb2_grpc import add_GuardServiceServicer_to_server


@asynccontextmanager
async def running(servicer, pki, *, mutual=False):
    server = grpc.aio.server(options=OPTIONS)
    add_GuardServiceServicer_to_server(servicer, server)
    credentials = server_credentials(pki.server.certificate, pki.server.key, pki.ca if mutual else None)
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield f"localhost:{port}"
    finally:
        await server.stop(0)


@pytest.fixture
def pki(tmp_path):
    return write_dev_pki(tmp_path / "tls", ("clinic",))


def identity_of(pki):
    pair = pki.clients["clinic"]
    return Identity(certificate=pair.certificate.read_bytes(), key=pair.key.read_bytes())


async def test_a_token_goes_with_every_call(pki):
    servicer = Recorder(policy_text())
    async with running(servicer, pki) as address:
        guard = RemoteGuard(Target(address, address, pki.ca))
        policy = await guard.add(Identity("gvlm_token"))
        (offer,) = await guard.offers()
        assert (policy.name, offer.policy.digest()) == ("finance", policy.digest())
        events = [event async for event in guard.events(Asked(offer.id, "", b"picture"))]
    assert events[-1].result.audit_id == "heard"
    assert servicer.tokens == {"Bearer gvlm_token"}
    assert servicer.contents == [b"picture"]


async def test_a_certificate_is_shown_and_lies_nowhere(pki, tmp_path):
    servicer = Recorder(policy_text())
    identity = identity_of(pki)
    for file in (pki.clients["clinic"].certificate, pki.clients["clinic"].key):
        file.unlink()
    async with running(servicer, pki, mutual=True) as address:
        guard = RemoteGuard(Target("localhost:1", address, pki.ca))
        await guard.add(identity)
        [event async for event in guard.events(Asked("0", "What is the total?", b"picture"))]
        with pytest.raises(GuardedVLMError):
            await RemoteGuard(Target(address, address, pki.ca)).add(Identity("gvlm_token"))
    assert servicer.sans
    assert all("clinic" in san for san in servicer.sans)
    assert servicer.questions == ["What is the total?"]
    assert all(identity.key not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


async def test_somebody_logs_in_with_a_certificate(pki):
    servicer, identity = Recorder(policy_text()), identity_of(pki)
    # As a browser sends what stands in a field of several lines.
    form = {name: getattr(identity, name).decode().replace("\n", "\r\n") for name in ("certificate", "key")}
    async with running(servicer, pki, mutual=True) as address:
        found = build_playground(Site("127.0.0.1", 8451, target=Target(address, address, pki.ca)))
        transport = httpx.ASGITransport(found.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8451") as client:
            headers = {"sec-fetch-site": "same-origin"}
            wrong = await client.post("/login", data={**form, "key": form["certificate"]}, headers=headers)
            assert wrong.status_code == 401
            assert identity.key.decode()[40:80] not in wrong.text
            assert (await client.post("/login", data=form, headers=headers)).status_code == 303
            (offer,) = (await client.get("/policies")).json()["policies"]
            assert offer["name"] == "finance"
            large = b'{"policy":"0"}\n' + b"x" * (30 * 2**20)
            assert (await client.post("/try", content=large, headers=headers)).status_code == 200
    assert [len(content) for content in servicer.contents] == [30 * 2**20]


async def test_what_the_service_refuses_is_no_identity(pki):
    servicer = Recorder(policy_text(), known=("gvlm_token",))
    async with running(servicer, pki) as address:
        guard = RemoteGuard(Target(address, address, pki.ca))
        for wrong in ("guess", "", "two words", "new\nline", "x" * 600):
            with pytest.raises(NotIdentified):
                await guard.add(Identity(wrong))
        assert await guard.offers() == []
        with pytest.raises(GuardedVLMError, match="FIELD_INVALID"):
            [event async for event in guard.events(Asked("0", "", b"picture"))]
    assert servicer.contents == []


async def test_a_certificate_that_cannot_be_one_is_refused_here(pki):
    good = identity_of(pki)
    guard = RemoteGuard(Target("localhost:1", "localhost:1", pki.ca))
    server = pki.server.key.read_bytes()
    for wrong in (Identity(certificate=b"x", key=b"y"), Identity(certificate=good.certificate, key=server)):
        with pytest.raises(NotIdentified):
            await guard.add(wrong)
    with pytest.raises(NotIdentified):
        await RemoteGuard(Target("localhost:1", "localhost:1")).add(good)


async def test_a_session_has_a_few_identities(pki):
    servicer = Recorder(policy_text())
    async with running(servicer, pki) as address:
        guard = RemoteGuard(Target(address, address, pki.ca))
        for number in range(MOST_IDENTITIES):
            await guard.add(Identity(f"token{number}"))
        with pytest.raises(GuardedVLMError, match=Reason.QUOTA_EXCEEDED):
            await guard.add(Identity("one-more"))
        assert len(await guard.offers()) == MOST_IDENTITIES


async def test_nobody_there_is_said():
    with pytest.raises(GuardedVLMError, match=Reason.SERVICE_UNAVAILABLE):
        await RemoteGuard(Target("localhost:1", "localhost:1")).add(Identity("token"))


def test_no_repr_shows_a_credential():
    assert "gvlm" not in repr(Identity("gvlm_token", b"gvlm", b"gvlm"))
