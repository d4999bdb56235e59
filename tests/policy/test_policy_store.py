"""The store: complete at start, atomic on reload, and never without the policy that was in force."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from guardedvlm.audit import facts
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason, Refused
from guardedvlm.policy import model, store
from guardedvlm.policy.model import Policy
from guardedvlm.policy.store import PolicyStore, Reload, store_problems

SHIPPED = Path(__file__).parents[2] / "policies"


def write(folder: Path, name: str, version: str = "2026-11-23", *, text: str | None = None) -> Path:
    path = folder / name / "policy.yaml"
    path.parent.mkdir(exist_ok=True)
    source = (SHIPPED / "finance" / "policy.yaml").read_text()
    path.write_text(text or source.replace("name: finance", f"name: {name}").replace('"2026-11-23"', f'"{version}"'))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "base", tmp_path / "base")
    write(tmp_path, "bank")
    write(tmp_path, "clinic")
    return tmp_path


def problem_of(folder: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        PolicyStore(folder)
    assert store_problems(folder)[0].for_operator() == caught.value.for_operator()
    return caught.value


def test_policies_by_name(folder: Path) -> None:
    (folder / "README.md").write_text("not a policy")
    (folder / "..data").mkdir()  # a mounted ConfigMap has it
    store = PolicyStore(folder)
    assert store.names == {"bank", "clinic"}
    assert store.policy_for("bank").name == "bank"
    assert store_problems(folder) == ()


@pytest.mark.parametrize("name", ["", "Bank", "../bank", "insurance"])
def test_an_unknown_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(Refused) as caught:
        PolicyStore(folder).policy_for(name)
    assert caught.value.reason is Reason.POLICY_MISSING


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    error = problem_of(tmp_path)
    assert (error.reason, error.explanation) == (Reason.POLICY_MISSING, "holds no policy (<name>/policy.yaml)")


def test_an_absent_folder_is_an_error(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "nowhere").explanation == "the folder of policies cannot be read"


def test_one_broken_policy_is_an_error(folder: Path) -> None:
    write(folder, "clinic", text="name: clinic\n")
    assert problem_of(folder).place == "clinic/policy.yaml:1"


def test_a_folder_without_its_file_is_an_error(folder: Path) -> None:
    (folder / "insurance").mkdir()
    error = problem_of(folder)
    assert (error.reason, error.place) == (Reason.POLICY_MISSING, "insurance/policy.yaml")


def test_more_policies_than_a_record_could_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardedvlm.policy.store.MAX_POLICIES", 1)
    assert problem_of(folder).explanation == "holds more than 1 policies; no record could name them"


def test_the_numbers_that_records_share_are_the_same() -> None:
    assert (store.MAX_POLICIES, model.MAX_NAME_DIGITS) == (facts.MAX_POLICIES, facts.MAX_POLICY_DIGITS)


def test_a_policy_beside_the_folders_is_an_error(folder: Path) -> None:
    (folder / "insurance.yaml").write_text("name: insurance\n")
    error = problem_of(folder)
    assert error.for_operator() == "POLICY_MISSING: insurance.yaml: belongs into a folder: insurance/policy.yaml"


def test_the_folder_must_have_the_name_of_the_policy(folder: Path) -> None:
    (folder / "clinic").rename(folder / "hospital")
    error = problem_of(folder)
    assert error.place == "hospital/policy.yaml:6"
    assert error.explanation == "name must be the name of the folder that the file lies in"


def test_all_problems_of_all_policies_are_listed(folder: Path) -> None:
    write(folder, "bank", text="name: bank\n")
    write(folder, "clinic", text="- x\n")
    places = [error.place for error in store_problems(folder)]
    assert places == ["bank/policy.yaml:1"] * 3 + ["clinic/policy.yaml:1"]


class TestReload:
    def test_nothing_new(self, folder: Path) -> None:
        assert PolicyStore(folder).reload() == Reload()

    def test_added_changed_and_removed(self, folder: Path) -> None:
        store = PolicyStore(folder)
        held = store.policy_for("bank")
        write(folder, "bank", version="2026-12-01")
        write(folder, "insurance")
        (folder / "clinic" / "policy.yaml").unlink()
        (folder / "clinic").rmdir()
        assert store.reload() == Reload(added=("insurance",), changed=("bank",), removed=("clinic",))
        assert store.names == {"bank", "insurance"}
        assert store.policy_for("bank").version == "2026-12-01"
        assert held.version == "2026-11-23"  # a running request goes on with what it began with

    def test_a_broken_file_leaves_the_policy_in_force(self, folder: Path) -> None:
        store = PolicyStore(folder)
        before = store.policy_for("bank")
        write(folder, "bank", text="name: bank\nhide: {}\n")
        write(folder, "clinic", version="2026-12-01")
        found = store.reload()
        assert (found.kept, found.changed) == (("bank",), ("clinic",))
        assert {error.place.partition(":")[0] for error in found.problems} == {"bank/policy.yaml"}
        assert store.policy_for("bank") is before
        assert store.policy_for("clinic").version == "2026-12-01"

    def test_a_lost_file_is_broken_and_not_removed(self, folder: Path) -> None:
        store = PolicyStore(folder)
        (folder / "bank" / "policy.yaml").unlink()
        found = store.reload()
        assert (found.kept, found.removed) == (("bank",), ())
        assert [error.reason for error in found.problems] == [Reason.POLICY_MISSING]

    def test_a_new_broken_policy_is_not_taken(self, folder: Path) -> None:
        store = PolicyStore(folder)
        write(folder, "insurance", text="name: insurance\n")
        found = store.reload()
        assert (found.added, found.kept) == ((), ())
        assert found.problems
        assert store.names == {"bank", "clinic"}

    def test_a_lost_folder_changes_nothing(self, folder: Path) -> None:
        store = PolicyStore(folder)
        folder.rename(folder.with_name("elsewhere"))
        found = store.reload()
        assert found.kept == ("bank", "clinic")
        assert [error.reason for error in found.problems] == [Reason.POLICY_MISSING]
        assert store.names == {"bank", "clinic"}

    def test_readers_never_see_a_gap(self, folder: Path) -> None:
        store = PolicyStore(folder)
        seen: list[Policy | GuardedVLMError] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                try:
                    seen.append(store.policy_for("bank"))
                except GuardedVLMError as error:
                    seen.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(6):
            write(folder, "bank", version=f"2026-12-0{number + 1}", text="broken" if number % 3 == 2 else None)
            store.reload()
        done.set()
        for reader in readers:
            reader.join()
        assert seen
        assert all(isinstance(found, Policy) for found in seen)
        assert store.policy_for("bank").version == "2026-12-05"
