"""A ledger's logs are found by their segments."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.logs import list_logs
from guardedvlm.errors import ConfigurationError

ORIGIN = "0" * 32


def test_finds_the_folder_itself_and_the_folders_below_in_order(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "years-7", tmp_path / "years-6"):
        Ledger(folder, ORIGIN).close()
    (tmp_path / "other").mkdir()
    assert list_logs(tmp_path) == [tmp_path, tmp_path / "years-6", tmp_path / "years-7"]


def test_follows_no_link_and_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    Ledger(tmp_path / "there", ORIGIN).close()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there", target_is_directory=True)
    assert list_logs(tmp_path / "here") == []
    with pytest.raises(ConfigurationError):
        list_logs(tmp_path / "absent")
