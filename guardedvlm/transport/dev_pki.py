"""A throw-away PKI for tests and the demo: certificates of a few days by an authority whose key is not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from guardedvlm.core.private_file import PRIVATE_FOLDER
from guardedvlm.transport.secret_file import write_secret

VALID_DAYS = 7
"""Long enough for a demo that is left running, too short to become production."""
CLOCK_SKEW = timedelta(minutes=5)
TRUST_DOMAIN = "spiffe://dev.guardedvlm.internal"
"""Trust domain of the clients' names."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key; `san` is the name that a tenants file lists."""

    certificate: Path
    key: Path
    san: str


@dataclass(frozen=True, slots=True)
class DevPki:
    """Files of a development PKI. One authority signs servers and clients."""

    ca: Path
    server: Pair
    clients: Mapping[str, Pair]


def write_dev_pki(folder: Path, clients: Sequence[str] = ("client",)) -> DevPki:
    """Write a new authority, a server certificate for localhost and one certificate a client into `folder`.

    Client NAME gets the URI SAN "spiffe://dev.guardedvlm.internal/NAME". Keys have mode 0600; the authority's key is
    never written, so nobody can add a certificate. Raises OSError.
    """
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    authority = _Authority()
    ca = folder / "ca.pem"
    write_secret(ca, authority.certificate.public_bytes(Encoding.PEM))
    local = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
    server = _write_pair(folder, "server", authority, local, ExtendedKeyUsageOID.SERVER_AUTH, "dns:localhost")
    pairs = {}
    for name in clients:
        san = f"{TRUST_DOMAIN}/{name}"
        uri = [x509.UniformResourceIdentifier(san)]
        pairs[name] = _write_pair(folder, f"client-{name}", authority, uri, ExtendedKeyUsageOID.CLIENT_AUTH, san)
    return DevPki(ca, server, pairs)


def _write_pair(
    folder: Path,
    stem: str,
    authority: _Authority,
    names: Sequence[x509.GeneralName],
    usage: ObjectIdentifier,
    san: str,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.issue(stem, key.public_key(), names, usage)
    pair = Pair(folder / f"{stem}.pem", folder / f"{stem}.key", san)
    write_secret(pair.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_secret(pair.certificate, certificate.public_bytes(Encoding.PEM))
    return pair


class _Authority:
    """A self-signed authority that lives as long as this object."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("GuardedVLM development authority")
        self.certificate = (
            self._draft(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName],
        usage: ObjectIdentifier,
    ) -> x509.Certificate:
        """A leaf certificate for `public` with `names` as SAN, for one extended key usage."""
        return (
            self._draft(_name(name), public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _draft(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
