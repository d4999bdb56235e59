"""Sealed maps: the library's HPKE against RFC 9180 by the slow way, and every way in which a map must not open."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.transport.reidentification import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    STEP_BYTES,
    OpeningKey,
    SealingKey,
    read_public,
    write_pair,
)

PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
OPENING = OpeningKey(PRIVATE)
SEALING = OPENING.public
LABELS = {"PERSON-A": ("Doe, Jane", "Doe"), "DATE-B": ("3 May 2024",)}
REQUEST = "5f" * 16


class SlowHpke:
    """RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, written down from the RFC."""

    KEM, SUITE = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"

    def __init__(self, shared: bytes, info: bytes) -> None:
        context = b"\x00" + self.extract(self.SUITE, b"", b"psk_id_hash", b"")
        context += self.extract(self.SUITE, b"", b"info_hash", info)
        secret = self.extract(self.SUITE, shared, b"secret", b"")
        self.key = self.expand(self.SUITE, secret, b"key", context, 32)
        self.nonce = self.expand(self.SUITE, secret, b"base_nonce", context, 12)

    @staticmethod
    def extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")

    @staticmethod
    def expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
        """At most one block of SHA-256 is ever needed."""
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]

    @classmethod
    def shared(cls, exchanged: bytes, encapsulated: bytes, public: bytes) -> bytes:
        secret = cls.extract(cls.KEM, b"", b"eae_prk", exchanged)
        return cls.expand(cls.KEM, secret, b"shared_secret", encapsulated + public, 32)

    @classmethod
    def open(cls, box: bytes, private: X25519PrivateKey, info: bytes, aad: bytes = b"") -> bytes:
        exchanged = private.exchange(X25519PublicKey.from_public_bytes(box[:32]))
        shared = cls.shared(exchanged, box[:32], private.public_key().public_bytes_raw())
        context = cls(shared, info)
        return ChaCha20Poly1305(context.key).decrypt(context.nonce, box[32:], aad)

    @classmethod
    def seal(cls, plain: bytes, public: bytes, ephemeral: X25519PrivateKey, info: bytes, aad: bytes = b"") -> bytes:
        encapsulated = ephemeral.public_key().public_bytes_raw()
        exchanged = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
        context = cls(cls.shared(exchanged, encapsulated, public), info)
        return encapsulated + ChaCha20Poly1305(context.key).encrypt(context.nonce, plain, aad)


class TestAgainstTheRfc:
    """RFC 9180, appendix A.2.1, sequence number 0."""

    INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    EPHEMERAL = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"
    ENCAPSULATED = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
    RECIPIENT = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"
    PUBLIC = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
    PLAIN = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
    AAD = bytes.fromhex("436f756e742d30")
    CIPHERTEXT = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"

    def test_the_slow_way_is_the_rfcs(self) -> None:
        box = bytes.fromhex(self.ENCAPSULATED + self.CIPHERTEXT)
        ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(self.EPHEMERAL))
        assert SlowHpke.seal(self.PLAIN, bytes.fromhex(self.PUBLIC), ephemeral, self.INFO, self.AAD) == box
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(self.RECIPIENT))
        assert SlowHpke.open(box, private, self.INFO, self.AAD) == self.PLAIN

    def test_the_slow_way_opens_what_we_seal(self) -> None:
        info = b"guardedvlm.v1.reidentification\x00" + REQUEST.encode()
        plain = SlowHpke.open(SEALING.seal(LABELS, REQUEST).box, PRIVATE, info)
        assert json.loads(plain) == {label: list(read) for label, read in LABELS.items()}

    def test_we_open_what_the_slow_way_seals(self) -> None:
        info = b"guardedvlm.v1.reidentification\x00" + REQUEST.encode()
        box = SlowHpke.seal(b'{"PERSON-A": ["Ann"]}  ', SEALING.raw, X25519PrivateKey.generate(), info)
        assert OPENING.open(box, REQUEST) == {"PERSON-A": ("Ann",)}


@given(st.dictionaries(st.text(max_size=9), st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple)))
def test_what_was_sealed_opens(labels: dict[str, tuple[str, ...]]) -> None:
    labels = {label.encode("utf-8", "ignore").decode(): read for label, read in labels.items()}
    sealed = SEALING.seal(labels, REQUEST)
    assert OPENING.open(sealed.box, REQUEST) == labels
    assert (sealed.labels, sealed.key_id) == (len(labels), SEALING.id)


def test_the_length_tells_no_name_and_no_two_boxes_are_equal() -> None:
    short, long = (SEALING.seal({"PERSON-A": (name,)}, REQUEST).box for name in ("Jo", "Maximiliane von Hohenstein"))
    assert len(short) == len(long) == 32 + STEP_BYTES + 16
    assert SEALING.seal(LABELS, REQUEST).box != SEALING.seal(LABELS, REQUEST).box
    assert b"Doe" not in SEALING.seal(LABELS, REQUEST).box


@pytest.mark.parametrize("at", [0, 31, 32, 500, -1])
def test_a_changed_box_does_not_open(at: int) -> None:
    box = bytearray(SEALING.seal(LABELS, REQUEST).box)
    box[at] ^= 1
    unopened(bytes(box))


@pytest.mark.parametrize("box", [b"", b"x", bytes(31), bytes(32), bytes(48), bytes(200)])
def test_no_box_does_not_open(box: bytes) -> None:
    unopened(box)


def test_another_key_or_request_does_not_open() -> None:
    box = SEALING.seal(LABELS, REQUEST).box
    unopened(box, OpeningKey(X25519PrivateKey.generate()))
    unopened(box, request="5e" * 16)  # PERSON-A of another request is somebody else


@pytest.mark.parametrize("plain", [b"[]", b"no", b'{"A": 1}', b"\xff"])
def test_what_is_no_map_does_not_open(plain: bytes) -> None:
    info = b"guardedvlm.v1.reidentification\x00" + REQUEST.encode()
    unopened(SlowHpke.seal(plain, SEALING.raw, X25519PrivateKey.generate(), info))


def unopened(box: bytes, key: OpeningKey = OPENING, request: str = REQUEST) -> None:
    with pytest.raises(InvalidInput) as caught:
        key.open(box, request)
    assert caught.value.reason is Reason.SEAL_UNOPENED
    assert caught.value.__cause__ is None


class TestKeys:
    def test_a_key_is_a_line(self) -> None:
        assert SealingKey.parse(str(SEALING)) == SEALING
        assert str(SEALING).startswith("x25519:")
        assert len(SEALING.id) == 16

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x25519:",
            "x25519:AAAA",
            str(SEALING)[7:],
            str(SEALING) + "\n",
            str(SEALING).replace("x25519", "ed25519"),
            "x25519:" + "A" * 43 + "=",  # the point 0: everybody knows what it agrees on
            "x25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # the point 1
        ],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  (of several libraries)
            SealingKey.parse(text)

    def test_a_pair_is_written_once(self, tmp_path: Path) -> None:
        public = write_pair(tmp_path / "office")
        private = tmp_path / "office" / PRIVATE_KEY
        assert private.stat().st_mode & 0o077 == 0
        assert (tmp_path / "office").stat().st_mode & 0o077 == 0
        assert read_public(tmp_path / "office" / PUBLIC_KEY) == public == OpeningKey.load(private).public
        before = private.read_bytes()
        with pytest.raises(ConfigurationError) as caught:
            write_pair(tmp_path / "office")
        assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
        assert private.read_bytes() == before

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError) as caught:
            write_pair(tmp_path / "file" / "office")
        assert caught.value.reason is Reason.OUTPUT_UNWRITABLE

    def test_files_that_hold_no_key(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for content in (b"no key", other):
            path.write_bytes(content)
            path.chmod(0o600)
            with pytest.raises(ConfigurationError) as caught:
                OpeningKey.load(path)
            assert caught.value.reason is Reason.SETTINGS_INVALID
            with pytest.raises(ConfigurationError):
                read_public(path)
        with pytest.raises(ConfigurationError):
            read_public(tmp_path / "absent")

    def test_a_private_key_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        write_pair(tmp_path)
        (tmp_path / PRIVATE_KEY).chmod(0o644)
        with pytest.raises(ConfigurationError) as caught:
            OpeningKey.load(tmp_path / PRIVATE_KEY)
        assert "used by others" in caught.value.explanation

    def test_no_repr_shows_a_box(self) -> None:
        sealed = SEALING.seal(LABELS, REQUEST)
        assert sealed.box.hex()[:16] not in repr(sealed)
        assert repr(sealed.box[:8])[2:-1] not in repr(sealed)
