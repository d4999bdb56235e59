"""TLS of both gRPC edges: credentials from PEM files, and the names in a peer's certificate.

A server that is given a client CA takes calls with a client certificate of that CA only. There is nothing in between:
what Python's gRPC calls optional asks for no certificate at all. A service for both kinds of callers listens twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from guardedvlm.errors import ConfigurationError, NotIdentified, Reason
from guardedvlm.transport.secret_file import read_secret

MAX_BYTES = 2**20
"""The bundle of all public authorities has 230 KB."""


class ServerCertificate:
    """A server's certificate, key and client CA, which may change while it serves: `load` reads the files, `take` puts
    them in force for connections that begin from then on; those that are open go on.

    Raises ConfigurationError(SETTINGS_INVALID) for a file that cannot be used, a key of another certificate, or a
    certificate outside its validity.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self.files = (certificate, key, *([client_ca] if client_ca else []))
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._current = self.load()

    def load(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold now."""
        pair = _key_pair(self._certificate, self._key)
        authority = _authority(self._client_ca) if self._client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)

    def take(self, found: grpc.ServerCertificateConfiguration) -> None:
        """Put what `load` gave in force."""
        self._current = found

    def credentials(self, *, mutual: bool = True) -> grpc.ServerCredentials:
        """Credentials for one listener. With a client CA every caller must show a certificate of it, unless the
        listener is not `mutual`."""
        served = self._current

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # gRPC asks before every handshake, on a thread of its own.
            nonlocal served
            if served is self._current:
                return None
            served = self._current
            return served

        is_mutual = mutual and self._client_ca is not None
        return grpc.dynamic_ssl_server_credentials(served, changed, require_client_authentication=is_mutual)  # type: ignore[arg-type]  # None: unchanged


def server_credentials(certificate: Path, key: Path, client_ca: Path | None = None) -> grpc.ServerCredentials:
    """Credentials of a server. With `client_ca` every caller must show a certificate of that CA (mutual TLS).

    Raises ConfigurationError(SETTINGS_INVALID) for a file that cannot be used, a key of another certificate, or a
    certificate outside its validity: better at start than as a handshake that fails without a word.
    """
    pair = _key_pair(certificate, key)
    if client_ca is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], root_certificates=_authority(client_ca), require_client_auth=True)


def channel_credentials(
    server_ca: Path, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a client that trusts `server_ca` alone and, with `certificate` and `key`, shows who it is.

    Raises ConfigurationError(SETTINGS_INVALID) as `server_credentials` does, and when one of the two is missing.
    """
    authority = _authority(server_ca)
    if certificate is None and key is None:
        return grpc.ssl_channel_credentials(authority)
    if certificate is None or key is None:
        explanation = "a client certificate needs its key, and a key its certificate"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="tls", explanation=explanation)
    secret, chain = _key_pair(certificate, key)
    return grpc.ssl_channel_credentials(authority, secret, chain)


def channel_credentials_in_memory(
    server_ca: Path, certificate: bytes = b"", key: bytes = b""
) -> grpc.ChannelCredentials:
    """`channel_credentials` for a certificate and key (PEM) that a caller brought and that lie on no disk.

    Raises NotIdentified for a pair that cannot be used, ConfigurationError(SETTINGS_INVALID) for the authority.
    """
    authority = _authority(server_ca)
    if not certificate and not key:
        return grpc.ssl_channel_credentials(authority)
    try:
        _check_pair(certificate, key, Path("certificate"), Path("key"))
    except ConfigurationError:
        raise NotIdentified(Reason.UNAUTHENTICATED) from None
    return grpc.ssl_channel_credentials(authority, key, certificate)


def peer_sans(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """The names in the verified certificate of a peer, from `context.auth_context()`; () without a certificate.

    Each carries its type, so that a URI cannot pass for a host: `spiffe://...`, `uri:...` for any other URI,
    `dns:<lower case>`, `email:...`. Raises NotIdentified for a name that is not plain ASCII.
    """
    names = [_uri_name(uri) for uri in _texts(auth_context.get("peer_uri", ()))]
    names += [f"dns:{host.lower()}" for host in _texts(auth_context.get("peer_dns", ()))]
    names += [f"email:{address}" for address in _texts(auth_context.get("peer_email", ()))]
    return tuple(names)


def _uri_name(uri: str) -> str:
    return uri if uri.startswith("spiffe://") else f"uri:{uri}"


def _texts(values: Iterable[bytes]) -> Iterable[str]:
    for value in values:
        if not value.isascii() or not value.decode("ascii").isprintable():
            raise NotIdentified(Reason.UNAUTHENTICATED)
        yield value.decode("ascii")


def _key_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """(key, chain) as PEM, after it was seen that they belong together and are valid now."""
    chain, secret = _read(certificate), read_secret(key)
    _check_pair(chain, secret, certificate, key)
    return secret, chain


def _check_pair(chain: bytes, secret: bytes, certificate: Path, key: Path) -> None:
    """Raise ConfigurationError about the file that is at fault."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    leaf = _certificates(chain, certificate)[0]
    try:
        certified = leaf.public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid(certificate, "has a key of a kind that is not supported") from None
    try:
        public = load_pem_private_key(secret, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _invalid(key, "is not an unencrypted private key in PEM form") from None
    if public.public_bytes(*form) != certified:
        raise _invalid(key, f"is not the key of {certificate.name}")


def _authority(path: Path) -> bytes:
    content = _read(path)
    for found in _certificates(content, path):
        try:
            constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, UnsupportedAlgorithm, ValueError):
            raise _invalid(path, "is not the certificate of an authority") from None
        if not constraints.ca:
            raise _invalid(path, "is not the certificate of an authority")
    return content


def _certificates(content: bytes, path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one, each valid now."""
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise _invalid(path, "holds no certificate in PEM form") from None
    now = datetime.now(UTC)
    if any(not one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in found):
        raise _invalid(path, "holds a certificate that is not valid now")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _invalid(path, "cannot be read") from None
    if len(content) > MAX_BYTES:  # a part of a bundle would be a valid bundle
        raise _invalid(path, f"is larger than {MAX_BYTES // 2**20} MiB")
    return content


def _invalid(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
