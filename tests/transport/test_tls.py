"""TLS over real connections: who gets in, as whom, and which files are refused before anybody tries."""

from __future__ import annotations

import base64
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from guardedvlm.core.tenant import Role
from guardedvlm.errors import ConfigurationError, NotIdentified, Reason
from guardedvlm.transport.dev_pki import VALID_DAYS, DevPki, write_dev_pki
from guardedvlm.transport.identity import Identities, bearer_token, new_token
from guardedvlm.transport.listen import CHANNEL_OPTIONS, SERVER_OPTIONS, bind
from guardedvlm.transport.secret_file import write_secret
from guardedvlm.transport.status import abort
from guardedvlm.transport.tls import channel_credentials, peer_sans, server_credentials

KEY = bytes(range(32))
P256 = bytes.fromhex("2a8648ce3d030107")


def method(channel: Any) -> Any:
    """The test's method; the stubs want serialisers that gRPC does not need."""
    return channel.unary_unary("/test.Test/Call")


class WhoAmI(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers with the caller's name, as the guard's edge finds it out."""

    def __init__(self, identities: Identities | None) -> None:
        self.identities = identities

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
        async def call(request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
            sans = peer_sans(context.auth_context())
            if self.identities is None:
                return " ".join(sans).encode()
            try:
                token = bearer_token(context.invocation_metadata() or ())
                return self.identities.caller(sans, token).name.encode()
            except NotIdentified as error:
                await abort(context, error)

        return grpc.unary_unary_rpc_method_handler(call)


@asynccontextmanager
async def serving(
    credentials: grpc.ServerCredentials, identities: Identities | None = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[int]:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((WhoAmI(identities),))
    port = bind(server, address, credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def ask(port: int, credentials: grpc.ChannelCredentials | None, token: str = "", host: str = "localhost") -> str:
    target, metadata = f"{host}:{port}", (("authorization", f"Bearer {token}"),) if token else ()
    channel = (
        grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
    )
    async with channel:
        answer: bytes = await method(channel)(b"", metadata=metadata, timeout=20)
        return answer.decode()


async def turned_away(port: int, credentials: grpc.ChannelCredentials | None, token: str = "") -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(port, credentials, token)
    return caught.value.code()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevPki:
    return write_dev_pki(tmp_path_factory.mktemp("pki"), ("gateway", "teller"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> DevPki:
    return write_dev_pki(tmp_path_factory.mktemp("other"), ("gateway",))


def as_client(pki: DevPki, name: str, authority: DevPki | None = None) -> grpc.ChannelCredentials:
    pair = pki.clients[name]
    return channel_credentials((authority or pki).ca, pair.certificate, pair.key)


def mutual(pki: DevPki) -> grpc.ServerCredentials:
    return server_credentials(pki.server.certificate, pki.server.key, pki.ca)


class TestMutual:
    async def test_a_client_is_seen_by_its_name(self, pki: DevPki) -> None:
        async with serving(mutual(pki)) as port:
            assert await ask(port, as_client(pki, "gateway")) == "spiffe://dev.guardedvlm.internal/gateway"
            assert await ask(port, as_client(pki, "teller"), host="127.0.0.1") == pki.clients["teller"].san

    async def test_without_a_certificate_nobody_gets_in(self, pki: DevPki) -> None:
        async with serving(mutual(pki)) as port:
            assert await turned_away(port, channel_credentials(pki.ca)) is grpc.StatusCode.UNAVAILABLE
            assert await turned_away(port, None) is grpc.StatusCode.UNAVAILABLE

    async def test_a_certificate_of_another_authority_does_not_get_in(self, pki: DevPki, other: DevPki) -> None:
        async with serving(mutual(pki)) as port:
            assert await turned_away(port, as_client(other, "gateway", pki)) is grpc.StatusCode.UNAVAILABLE

    async def test_a_server_certificate_is_no_client_certificate(self, pki: DevPki) -> None:
        async with serving(mutual(pki)) as port:
            credentials = channel_credentials(pki.ca, pki.server.certificate, pki.server.key)
            assert await turned_away(port, credentials) is grpc.StatusCode.UNAVAILABLE

    async def test_a_client_does_not_talk_to_a_server_of_another_authority(self, pki: DevPki, other: DevPki) -> None:
        async with serving(mutual(other)) as port:
            assert await turned_away(port, as_client(pki, "gateway")) is grpc.StatusCode.UNAVAILABLE


async def test_without_a_client_authority_there_are_no_names(pki: DevPki) -> None:
    async with serving(server_credentials(pki.server.certificate, pki.server.key)) as port:
        # Not even of a client that offers its certificate: it is not asked for, so it is not verified.
        assert await ask(port, as_client(pki, "gateway")) == ""
        assert await ask(port, channel_credentials(pki.ca)) == ""


async def test_a_unix_socket_has_no_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "g"
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((WhoAmI(None),))
    bind(server, f"unix:{path}")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        assert await method(channel)(b"", timeout=20) == b""
    await server.stop(0)


async def test_certificates_tokens_and_tenants_together(pki: DevPki) -> None:
    token, stored = new_token(KEY)
    text = (
        "tenants: {clinic: {policy: healthcare}}\ncallers:\n"
        f"  - {{name: gateway, tenant: clinic, roles: [caller], san: ['{pki.clients['gateway'].san}']}}\n"
        f"  - {{name: batch, tenant: clinic, roles: [caller], token_hmac: '{stored}'}}\n"
    )
    identities = Identities.parse(text, KEY)
    assert identities.caller((pki.clients["gateway"].san,), None).roles == {Role.CALLER}
    async with serving(mutual(pki), identities) as port:
        assert await ask(port, as_client(pki, "gateway")) == "gateway"
        assert await ask(port, as_client(pki, "teller"), token) == "batch"
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        assert await turned_away(port, as_client(pki, "teller")) is unauthenticated
        assert await turned_away(port, as_client(pki, "gateway"), token) is unauthenticated
        assert await turned_away(port, as_client(pki, "gateway"), "gvlm_guess") is unauthenticated
    async with serving(server_credentials(pki.server.certificate, pki.server.key), identities) as port:
        assert await ask(port, channel_credentials(pki.ca), token) == "batch"
        assert await turned_away(port, as_client(pki, "gateway")) is unauthenticated


@pytest.mark.parametrize(
    ("context", "names"),
    [
        ({}, ()),
        ({"x509_subject_alternative_name": [b"spiffe://a/b"], "x509_common_name": [b"dns:a"]}, ()),
        ({"peer_uri": [b"spiffe://a/b", b"https://x/y"]}, ("spiffe://a/b", "uri:https://x/y")),
        # A URI cannot pass for a host, nor a host for a URI.
        ({"peer_uri": [b"dns:db.example"]}, ("uri:dns:db.example",)),
        ({"peer_dns": [b"spiffe://a/b", b"DB.Example"]}, ("dns:spiffe://a/b", "dns:db.example")),
        ({"peer_email": [b"a@b.example"]}, ("email:a@b.example",)),
    ],
)
def test_names_carry_their_type(context: Mapping[str, list[bytes]], names: tuple[str, ...]) -> None:
    assert peer_sans(context) == names


@pytest.mark.parametrize("name", [b"spiffe://a/\xc3\xa9", b"spiffe://a/\x00b", b"spiffe://a/b\n", b"\xff"])
def test_a_name_that_is_not_plain_is_refused(name: bytes) -> None:
    with pytest.raises(NotIdentified):
        peer_sans({"peer_uri": [name]})


def refused(certificate: Path, key: Path, ca: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        server_credentials(certificate, key, ca)
    assert caught.value.reason is Reason.SETTINGS_INVALID
    return f"{caught.value.place}: {caught.value.explanation}"


class TestFiles:
    def test_the_key_of_another_certificate(self, pki: DevPki, other: DevPki) -> None:
        assert refused(pki.server.certificate, other.server.key) == "server.key: is not the key of server.pem"

    def test_a_key_that_others_may_read(self, pki: DevPki, tmp_path: Path) -> None:
        key = tmp_path / "server.key"
        write_secret(key, pki.server.key.read_bytes())
        server_credentials(pki.server.certificate, key)
        key.chmod(0o644)
        assert refused(pki.server.certificate, key).startswith("server.key: may be used by others")

    def test_an_encrypted_key(self, pki: DevPki, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
        write_secret(tmp_path / "k", key.private_bytes(*form))
        assert refused(pki.server.certificate, tmp_path / "k") == "k: is not an unencrypted private key in PEM form"

    def test_files_that_are_no_pem(self, pki: DevPki, tmp_path: Path) -> None:
        write_secret(tmp_path / "junk", b"junk")
        assert refused(tmp_path / "junk", pki.server.key) == "junk: holds no certificate in PEM form"
        assert (
            refused(pki.server.certificate, tmp_path / "junk") == "junk: is not an unencrypted private key in PEM form"
        )
        assert refused(pki.server.certificate, pki.server.key, tmp_path / "junk").startswith(
            "junk: holds no certificate"
        )

    def test_absent_and_endless_files(self, pki: DevPki, tmp_path: Path) -> None:
        assert refused(tmp_path / "none", pki.server.key) == "none: cannot be read"
        assert refused(pki.server.certificate, tmp_path / "none") == "none: cannot be read"
        write_secret(tmp_path / "long", pki.ca.read_bytes() * 2_000)
        assert refused(pki.server.certificate, pki.server.key, tmp_path / "long") == "long: is larger than 1 MiB"

    def test_a_leaf_is_no_authority(self, pki: DevPki) -> None:
        found = refused(pki.server.certificate, pki.server.key, pki.clients["gateway"].certificate)
        assert found == "client-gateway.pem: is not the certificate of an authority"

    def test_a_certificate_without_constraints_is_no_authority(self, pki: DevPki, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=now.year + 1))
        write_secret(tmp_path / "bare", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        found = refused(pki.server.certificate, pki.server.key, tmp_path / "bare")
        assert found == "bare: is not the certificate of an authority"

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            (b"\x55\x1d\x63", b"\x55\x1d\x13", "odd: is not the certificate of an authority"),  # constraints twice
            (P256, P256[:-1] + b"\x77", "odd: has a key of a kind that is not supported"),
        ],
    )
    def test_odd_certificates(self, pki: DevPki, tmp_path: Path, old: bytes, new: bytes, told: str) -> None:
        key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=now.year + 1))
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"0\0"), False)
        content = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        assert old in content
        body = base64.encodebytes(content.replace(old, new)).decode()
        write_secret(tmp_path / "odd", f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode())
        own = told.startswith("odd: has a key")
        files = (
            (tmp_path / "odd", pki.server.key) if own else (pki.server.certificate, pki.server.key, tmp_path / "odd")
        )
        assert refused(*files) == told

    def test_an_expired_certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("guardedvlm.transport.dev_pki.VALID_DAYS", 0)
        expired = write_dev_pki(tmp_path)
        found = refused(expired.server.certificate, expired.server.key)
        assert found == "server.pem: holds a certificate that is not valid now"

    @pytest.mark.parametrize("missing", ["certificate", "key"])
    def test_half_a_client(self, pki: DevPki, missing: str) -> None:
        pair = pki.clients["gateway"]
        files = {"certificate": pair.certificate, "key": pair.key} | {missing: None}
        with pytest.raises(ConfigurationError) as caught:
            channel_credentials(pki.ca, **files)
        assert caught.value.reason is Reason.SETTINGS_INVALID


class TestDevPki:
    def test_keys_are_private_and_the_authority_has_none(self, tmp_path: Path) -> None:
        found = write_dev_pki(tmp_path / "pki", ("a", "b"))
        assert {path.name for path in (tmp_path / "pki").iterdir()} == {
            "ca.pem",
            "server.pem",
            "server.key",
            "client-a.pem",
            "client-a.key",
            "client-b.pem",
            "client-b.key",
        }
        for pair in (found.server, *found.clients.values()):
            assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700

    def test_it_does_not_live_long(self, pki: DevPki) -> None:
        for path in (pki.ca, pki.server.certificate):
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            left = certificate.not_valid_after_utc - datetime.now(UTC)
            assert VALID_DAYS - 1 <= left.days <= VALID_DAYS

    def test_a_new_one_shares_no_key(self, pki: DevPki, other: DevPki) -> None:
        assert pki.server.key.read_bytes() != other.server.key.read_bytes()
        assert pki.ca.read_bytes() != other.ca.read_bytes()
