"""Secrets on disk: modes, refusals, replacement."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.transport.secret_file import MAX_BYTES, read_key, read_secret, write_key, write_secret


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_key(path)
    assert (caught.value.reason, caught.value.place) == (Reason.SETTINGS_INVALID, path.name)
    return caught.value.explanation


def test_a_key_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    key = write_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path) == key
    assert write_key(path) != key
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokens.key"]


def test_an_old_file_with_a_wide_mode_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o666)
    with path.open("rb") as held:
        write_secret(path, b"new")
        assert held.read() == b"old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path) == b"new"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    (tmp_path / "secret").symlink_to(elsewhere)
    write_secret(tmp_path / "secret", b"new")
    assert elsewhere.read_bytes() == b"untouched"
    assert read_secret(tmp_path / "secret") == b"new"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens.key"
    write_key(path)
    path.chmod(mode)
    assert refused(path).startswith("may be used by others")


def test_the_group_may_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    key = write_key(path)
    path.chmod(0o440)
    assert read_key(path) == key


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"password", b"ab" * 31, b"ab" * 31 + b"zz", b"AB" * 32, b"a" * 65, b"ab" * 129]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.key"
    write_secret(path, content)
    refused(path)


def test_absent_folder_and_too_long(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == "cannot be read"
    assert refused(tmp_path) == "cannot be read"
    write_secret(tmp_path / "long", b"a" * (MAX_BYTES + 1))
    assert refused(tmp_path / "long") == "must hold 1 to 65536 bytes"
