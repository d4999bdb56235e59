"""Certificates that change while a real server serves: open connections go on, new ones get the new certificate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from guardedvlm.transport.dev_pki import DevPki, write_dev_pki
from guardedvlm.transport.identity import Identities, new_token
from guardedvlm.transport.listen import CHANNEL_OPTIONS, SERVER_OPTIONS, bind
from guardedvlm.transport.reload import RETRY_SECONDS, Part, Reloads, Watched
from guardedvlm.transport.tls import ServerCertificate, channel_credentials, peer_sans

KEY = bytes(range(32))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Names(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers with the names in the caller's certificate."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
        async def call(request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
            return " ".join(peer_sans(context.auth_context())).encode()

        return grpc.unary_unary_rpc_method_handler(call)


def channel(port: int, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    # A pool of its own for each: gRPC would give two equal channels one connection.
    options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(f"localhost:{port}", credentials, options=options)


async def ask(connection: grpc.aio.Channel) -> str:
    method: Any = connection.unary_unary("/test.Test/Call")  # type: ignore[call-overload]
    answer: bytes = await method(b"", timeout=20)
    return answer.decode()


async def refused(port: int, credentials: grpc.ChannelCredentials) -> bool:
    async with channel(port, credentials) as connection:
        try:
            await ask(connection)
        except grpc.aio.AioRpcError as failure:
            return failure.code() is grpc.StatusCode.UNAVAILABLE
    return False


def as_client(pki: DevPki) -> grpc.ChannelCredentials:
    pair = pki.clients["gateway"]
    return channel_credentials(pki.ca, pair.certificate, pair.key)


def put(pki: DevPki, folder: Path, *names: str) -> None:
    """Put files of a PKI in the place that a server watches."""
    for name in names or ("server.pem", "server.key", "ca.pem"):
        shutil.copy(pki.ca.parent / name, folder / name)


async def test_a_running_server_takes_a_new_certificate_and_authority(tmp_path: Path) -> None:
    old, new = (write_dev_pki(tmp_path / name, ("gateway",)) for name in ("old", "new"))
    here = tmp_path / "tls"
    here.mkdir()
    put(old, here)
    certificate = ServerCertificate(here / "server.pem", here / "server.key", here / "ca.pem")
    clock = Clock()
    reloads = Reloads([Watched(Part.SERVER_TLS, certificate.files, certificate.load, certificate.take)], clock)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Names(),))
    port = bind(server, "127.0.0.1:0", certificate.credentials())
    await server.start()
    try:
        before = channel(port, as_client(old))
        assert await ask(before) == old.clients["gateway"].san

        put(new, here, "server.pem")  # half of it: a certificate without its key
        await reloads.look()
        assert reloads.broken() == {"server_tls": 1}
        async with channel(port, as_client(old)) as meanwhile:
            assert await ask(meanwhile) == old.clients["gateway"].san

        put(new, here)
        await reloads.look()
        assert reloads.broken() == {"server_tls": 0}
        async with channel(port, as_client(new)) as after:
            assert await ask(after) == new.clients["gateway"].san
        assert await refused(port, as_client(old))  # neither trusts the other any more
        assert await ask(before) == old.clients["gateway"].san  # the connection that was open goes on
        await before.close()
    finally:
        await server.stop(0)


@pytest.mark.parametrize("where", ["load", "take"])
async def test_what_nobody_thought_of_is_told_as_broken(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock, is_odd = tmp_path / "file", Clock(), True
    file.write_text("x")

    def odd(*_: str) -> str:
        if is_odd:
            raise RecursionError("secret")
        return "good"

    load, take = (odd, str) if where == "load" else (str, odd)
    reloads = Reloads([Watched(Part.TENANTS, (file,), load, take)], clock)
    for _ in range(2):
        await reloads.look()
        assert reloads.broken() == {"tenants": 1}
        clock.now += RETRY_SECONDS
    assert "RecursionError at tenants: not taken" in caplog.text
    assert "secret" not in caplog.text
    is_odd = False
    await reloads.look()
    assert reloads.broken() == {"tenants": 0}


async def test_what_could_not_be_used_is_tried_again_without_a_change(tmp_path: Path) -> None:
    """A certificate may become valid by time alone."""
    file, clock, taken = tmp_path / "file", Clock(), []
    file.write_text("x")
    valid = False

    def load() -> str:
        if not valid:
            ServerCertificate(file, file)  # raises ConfigurationError
        return "good"

    reloads = Reloads([Watched(Part.SERVER_TLS, (file,), load, taken.append)], clock)
    await reloads.look()
    valid = True
    await reloads.look()
    assert (taken, reloads.broken()) == ([], {"server_tls": 1})
    clock.now += RETRY_SECONDS
    await reloads.look()
    await reloads.look()
    assert (taken, reloads.broken()) == (["good"], {"server_tls": 0})


async def test_a_file_behind_a_link_and_a_file_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As Kubernetes changes a mounted secret; the log tells the place and nothing of the file."""
    _, stored = new_token(KEY)
    text = (
        f"tenants: {{clinic: {{policy: healthcare}}}}\ncallers: [{{name: a, tenant: clinic, token_hmac: {stored}}}]\n"
    )
    for name, content in (("one", text), ("two", text.replace("name: a", "name: b"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tenants.yaml").write_text(content)
    link, taken = tmp_path / "data", []
    link.symlink_to("one")
    file = link / "tenants.yaml"
    load = lambda: Identities.parse(file.read_text() if file.exists() else "secret: 1", KEY)  # noqa: E731
    reloads = Reloads([Watched(Part.TENANTS, (file,), load, taken.append)])
    await reloads.look()
    await reloads.look()
    assert len(taken) == 1
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    await reloads.look()
    assert len(taken) == 2
    file.unlink()
    await reloads.look()
    assert (len(taken), reloads.broken()) == (2, {"tenants": 1})
    assert "SETTINGS_INVALID at tenants.yaml:1: not taken" in caplog.text
    assert "secret" not in caplog.text
