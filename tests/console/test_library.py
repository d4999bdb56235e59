"""Policy files are read when they change, and only then."""

import os
import shutil
from pathlib import Path

import pytest
from written_ledger import HEALTHCARE, POLICIES

from guardedvlm.console import library
from guardedvlm.console.library import Library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that was parsed, in order."""
    found: list[Path] = []
    parse = library.examine_file

    def counted(path: Path) -> object:
        found.append(path)
        return parse(path)

    monkeypatch.setattr(library, "examine_file", counted)
    return found


def test_a_file_is_read_once(folder: Path, read: list[Path]) -> None:
    shown = Library([folder])
    first, second = shown.shelf(), shown.shelf()

    assert HEALTHCARE.digest() in first.documents
    assert first == second
    assert len(read) == len(set(read)) == len(list(folder.glob("*/policy.yaml")))


def test_a_changed_file_is_read_again_and_no_other(folder: Path, read: list[Path]) -> None:
    shown = Library([folder])
    shown.shelf()
    read.clear()
    path = folder / "healthcare" / "policy.yaml"
    path.write_text(path.read_text().replace("description:", "description: Changed.\n#", 1))

    assert HEALTHCARE.digest() not in shown.shelf().documents
    assert read == [path]


def test_a_changed_base_changes_who_extends_it(folder: Path) -> None:
    shown = Library([folder])
    assert shown.shelf().broken == 0
    base = folder / "base" / "common.yaml"
    base.write_text("unknown: 1\n")
    assert HEALTHCARE.digest() not in shown.shelf().documents
    assert shown.shelf().broken > 0
    base.unlink()
    shutil.copy(POLICIES / "base" / "common.yaml", base)
    assert HEALTHCARE.digest() in shown.shelf().documents


def test_files_come_and_go(folder: Path) -> None:
    shown = Library([folder])
    shown.shelf()
    os.rename(folder / "healthcare", folder.parent / "away")

    assert HEALTHCARE.digest() not in shown.shelf().documents
    (folder / "finance" / "candidate.yaml").write_text("no policy")
    assert shown.shelf().broken == 1
