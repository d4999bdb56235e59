"""Keyed digests and the key file."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.digest import AuditKey, Purpose, load_or_create_key
from guardedvlm.errors import ConfigurationError, Reason

KEY = AuditKey(bytes(range(32)))
parts = st.lists(st.binary(max_size=20), max_size=4)


@given(parts, parts)
def test_digests_are_equal_only_for_equal_parts(first: list[bytes], second: list[bytes]) -> None:
    assert (KEY.digest(Purpose.INPUT, *first) == KEY.digest(Purpose.INPUT, *second)) == (first == second)


@given(st.text(max_size=20))
def test_purposes_and_keys_separate(value: str) -> None:
    digests = {KEY.digest(purpose, value) for purpose in Purpose}
    assert len(digests) == len(Purpose)
    assert not digests & {AuditKey(bytes(32)).digest(purpose, value) for purpose in Purpose}


def test_known_value() -> None:
    """Pinned: a change would cut every ledger off from the digests made before it."""
    assert KEY.pseudonym(Purpose.TENANT, "acme") == "86596fac22e89b7998ae5487e11b000e"
    assert KEY.digest(Purpose.TENANT, "acme").startswith(KEY.pseudonym(Purpose.TENANT, "acme"))


def test_key_stays_out_of_repr() -> None:
    assert repr(KEY) == "AuditKey()"


def test_wrong_length_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        AuditKey(b"short")


def test_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    made = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path) == made
    assert os.listdir(tmp_path) == ["audit.key"]


def test_processes_that_race_get_one_key(tmp_path: Path) -> None:
    found: list[AuditKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_create_key(tmp_path / "audit.key"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({key.secret for key in found}) == 1


def _others_may_read(path: Path) -> None:
    path.write_text("0" * 64)
    path.chmod(0o640)


def _truncated(path: Path) -> None:
    path.write_text("0" * 63)
    path.chmod(0o600)


def _too_long(path: Path) -> None:
    path.write_text("0" * 64 + "\n\n")
    path.chmod(0o600)


def _link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("0" * 64)
    path.symlink_to(path.parent / "elsewhere")


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("make", [_others_may_read, _truncated, _too_long, _link, _pipe])
def test_bad_key_file_is_refused(tmp_path: Path, make) -> None:
    make(tmp_path / "audit.key")
    with pytest.raises(ConfigurationError) as caught:
        load_or_create_key(tmp_path / "audit.key")
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert str(tmp_path) not in caught.value.for_operator()


def test_key_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_or_create_key(tmp_path / "none" / "audit.key")
