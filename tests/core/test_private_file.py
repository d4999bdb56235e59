"""Private files: whole or not there, for one owner, and refused when they are not what they should be."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from guardedvlm.core.private_file import PUBLIC_FILE, create_once, read_private, replace
from guardedvlm.errors import ConfigurationError, Reason


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_file_stays(tmp_path):
    path = tmp_path / "secret"
    assert create_once(path, b"first")
    assert not create_once(path, b"second")
    assert (read_private(path, 5), mode(path)) == (b"first", 0o600)
    assert os.listdir(tmp_path) == ["secret"]


def test_of_several_that_begin_together_one_makes_it(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_once(tmp_path / "secret", bytes([number])), range(32)))
    assert sum(made) == 1
    assert read_private(tmp_path / "secret", 1) == bytes([made.index(True)])
    assert os.listdir(tmp_path) == ["secret"]


def test_a_replaced_file_is_a_new_one(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o666)
    with path.open("rb") as held:
        replace(path, b"new")
        assert held.read() == b"old"
    assert (read_private(path, 9), mode(path)) == (b"new", 0o600)
    replace(path, b"open", PUBLIC_FILE)
    assert mode(path) == 0o644
    assert os.listdir(tmp_path) == ["secret"]


def test_a_draft_that_cannot_be_put_in_place_is_gone(tmp_path):
    (tmp_path / "secret").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace(tmp_path / "secret", b"new")
    assert os.listdir(tmp_path) == ["secret"]
    with pytest.raises(FileNotFoundError):
        create_once(tmp_path / "absent" / "secret", b"new")


def test_nothing_there_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "secret", 9)


@pytest.mark.parametrize("make", ["link", "pipe", "folder", "readable", "long"])
def test_what_is_not_a_private_file_is_refused(tmp_path, make):
    path = tmp_path / "secret"
    if make == "link":
        create_once(tmp_path / "elsewhere", b"x")
        path.symlink_to(tmp_path / "elsewhere")
    elif make == "pipe":
        os.mkfifo(path, 0o600)
    elif make == "folder":
        path.mkdir(0o700)
    else:
        create_once(path, b"x" * (10 if make == "long" else 1))
        path.chmod(0o640 if make == "readable" else 0o600)
    with pytest.raises(ConfigurationError) as refused:
        read_private(path, 9)
    assert (refused.value.reason, refused.value.place) == (Reason.SETTINGS_INVALID, "secret")
