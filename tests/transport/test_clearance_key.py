"""The guard's signing key: made once, private, and refused when it is not what it should be."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.transport.clearance_key import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    key_id,
    load_or_create_signing_key,
    load_public_keys,
)
from guardedvlm.transport.secret_file import write_secret


def test_a_key_is_made_once_for_its_owner_with_its_public_half(tmp_path: Path) -> None:
    private = load_or_create_signing_key(tmp_path)
    assert load_or_create_signing_key(tmp_path).private_bytes_raw() == private.private_bytes_raw()
    assert stat.S_IMODE((tmp_path / PRIVATE_KEY).stat().st_mode) == 0o600
    (name, public), *others = load_public_keys([tmp_path / PUBLIC_KEY]).items()
    assert not others
    assert public.public_bytes_raw() == private.public_key().public_bytes_raw()
    assert name == key_id(private.public_key())


def test_a_lost_public_half_is_written_again(tmp_path: Path) -> None:
    load_or_create_signing_key(tmp_path)
    before = (tmp_path / PUBLIC_KEY).read_bytes()
    (tmp_path / PUBLIC_KEY).unlink()
    load_or_create_signing_key(tmp_path)
    assert (tmp_path / PUBLIC_KEY).read_bytes() == before


def test_a_public_half_of_another_key_is_replaced(tmp_path: Path) -> None:
    load_or_create_signing_key(tmp_path)
    (tmp_path / PRIVATE_KEY).unlink()
    private = load_or_create_signing_key(tmp_path)
    assert list(load_public_keys([tmp_path / PUBLIC_KEY])) == [key_id(private.public_key())]
    (tmp_path / PUBLIC_KEY).write_bytes(b"-----BEGIN")
    load_or_create_signing_key(tmp_path)
    assert list(load_public_keys([tmp_path / PUBLIC_KEY])) == [key_id(private.public_key())]


def test_guards_that_begin_together_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_create_signing_key(tmp_path).private_bytes_raw(), range(16)))
    assert len(set(keys)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [PRIVATE_KEY, PUBLIC_KEY]


def test_several_guards_have_several_ids(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        load_or_create_signing_key(folder)
    assert len(load_public_keys([folder / PUBLIC_KEY for folder in folders])) == 2


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / PUBLIC_KEY
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_public_keys([path])
    assert (refused.value.reason, refused.value.place) == (Reason.SETTINGS_INVALID, PUBLIC_KEY)
    write_secret(tmp_path / PRIVATE_KEY, content or b"\n")
    with pytest.raises(ConfigurationError):
        load_or_create_signing_key(tmp_path)


def test_a_key_of_another_kind_or_open_to_others_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate()
    write_secret(tmp_path / PRIVATE_KEY, other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigurationError):
        load_or_create_signing_key(tmp_path)
    public = tmp_path / "x25519.pub"
    public.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigurationError):
        load_public_keys([public])
    (tmp_path / PRIVATE_KEY).unlink()
    load_or_create_signing_key(tmp_path)
    (tmp_path / PRIVATE_KEY).chmod(0o644)
    with pytest.raises(ConfigurationError):
        load_or_create_signing_key(tmp_path)


def test_a_folder_that_is_not_there_and_no_key_at_all_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_or_create_signing_key(tmp_path / "absent")
    with pytest.raises(ConfigurationError):
        load_public_keys([tmp_path / "absent.pub"])
    with pytest.raises(ConfigurationError):
        load_public_keys([])


def test_ids_are_of_the_public_half(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    # RFC 8032's key of 32 zero bytes; SHA-256 of its public half, first 64 bits.
    assert key_id(private.public_key()) == "139e3940e64b5491"
