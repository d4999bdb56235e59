"""A store with a key goes forward only: an older policy is refused whatever its signature, after a restart too."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core import private_file
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.issued import Issued
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.signature import Use, check_signature, sign, signature_file
from guardedvlm.policy.store import CANDIDATE_NAME, PolicyStore, store_problems

SHIPPED = Path(__file__).parents[2] / "policies"
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)


def signed(path: Path, issued: datetime, use: Use = Use.POLICY) -> None:
    signature_file(path).write_text(sign(load_policy(path), use, KEY, issued))


def written(folder: Path, tokens: int, issued: datetime) -> None:
    path = folder / "finance" / "policy.yaml"
    text = (SHIPPED / "finance" / "policy.yaml").read_text()
    path.write_text(text.replace("max_tokens: 512", f"max_tokens: {tokens}"))
    signed(path, issued)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    shutil.copytree(SHIPPED, folder)
    for name in ("finance", "healthcare"):
        signed(folder / name / "policy.yaml", MONDAY)
    return folder


def test_an_older_policy_is_refused_after_a_restart(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "issued.json"
    written(folder, 99, TUESDAY)
    PolicyStore(folder, PUBLIC, Issued(state))
    written(folder, 500, MONDAY)
    with pytest.raises(ConfigurationError) as caught:
        PolicyStore(folder, PUBLIC, Issued(state))
    assert (caught.value.reason, caught.value.place) == (Reason.POLICY_UNSIGNED, "finance/policy.yaml.sig")
    assert "before the one of 2026-03-03" in caught.value.explanation
    assert len(store_problems(folder, PUBLIC, Issued(state))) == 1
    assert store_problems(folder, PUBLIC) == ()  # the signature itself is good
    written(folder, 500, TUESDAY + timedelta(seconds=1))  # signed again: on purpose
    assert PolicyStore(folder, PUBLIC, Issued(state)).policy_for("finance").say.max_tokens == 500


def test_on_reload_an_older_policy_leaves_the_newer_one(folder: Path, tmp_path: Path) -> None:
    store = PolicyStore(folder, PUBLIC, Issued(tmp_path / "issued.json"))
    written(folder, 99, TUESDAY)
    assert store.reload().changed == ("finance",)
    written(folder, 500, MONDAY)
    found = store.reload()
    assert (found.kept, [error.reason for error in found.problems]) == (("finance",), [Reason.POLICY_UNSIGNED])
    assert store.policy_for("finance").say.max_tokens == 99


def test_a_policy_that_was_removed_is_remembered(folder: Path, tmp_path: Path) -> None:
    store = PolicyStore(folder, PUBLIC, Issued(tmp_path / "issued.json"))
    written(folder, 99, TUESDAY)
    store.reload()
    shutil.move(folder / "finance", tmp_path / "finance")
    assert store.reload().removed == ("finance",)
    shutil.move(tmp_path / "finance", folder / "finance")
    written(folder, 500, MONDAY)
    assert [error.reason for error in store.reload().problems] == [Reason.POLICY_UNSIGNED]


def test_a_candidate_has_a_past_of_its_own(folder: Path, tmp_path: Path) -> None:
    issued = Issued(tmp_path / "issued.json")
    path = folder / "finance" / CANDIDATE_NAME
    path.write_text((folder / "finance" / "policy.yaml").read_text())
    signed(path, TUESDAY, Use.CANDIDATE)
    store = PolicyStore(folder, PUBLIC, issued)
    assert store.reload().problems == ()  # the policy in force is of Monday
    signed(path, MONDAY, Use.CANDIDATE)
    assert [error.place for error in store.reload().problems] == ["finance/candidate.yaml.sig"]
    assert store.held("finance").candidate is None


def test_what_cannot_be_remembered_does_not_take_effect(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PolicyStore(folder, PUBLIC, Issued(tmp_path / "nowhere" / "issued.json"))
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE


def test_on_reload_too(folder: Path, tmp_path: Path) -> None:
    (state := tmp_path / "state").mkdir()
    store = PolicyStore(folder, PUBLIC, Issued(state / "issued.json"))
    shutil.rmtree(state)
    written(folder, 99, TUESDAY)
    found = store.reload()
    assert [error.reason for error in found.problems] == [Reason.OUTPUT_UNWRITABLE]
    assert store.policy_for("finance").say.max_tokens == 512


@pytest.mark.parametrize("content", [b"", b"[]", b'{"finance/policy": "yesterday"}', b'{"a": "2026-03-02T12:00:00"}'])
def test_a_record_that_says_nothing_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "issued.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Issued(tmp_path / "issued.json")
    assert caught.value.reason is Reason.SETTINGS_INVALID


def test_a_signature_from_next_week_is_none(folder: Path) -> None:
    path = folder / "finance" / "policy.yaml"
    signed(path, datetime.now(UTC) + timedelta(days=7))
    with pytest.raises(ConfigurationError) as caught:
        check_signature(load_policy(path), Use.POLICY, path, PUBLIC)
    assert caught.value.explanation == "is from the future"
    signed(path, datetime.now(UTC) + timedelta(hours=1))
    check_signature(load_policy(path), Use.POLICY, path, PUBLIC)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=8))
def test_what_is_taken_never_grows_older(tmp_path_factory: pytest.TempPathFactory, hours: list[int]) -> None:
    path, taken = tmp_path_factory.mktemp("issued") / "issued.json", []
    for hour in hours:
        issued, moment = Issued(path), MONDAY + timedelta(hours=hour)
        try:
            issued.check("finance", Use.POLICY, moment, "finance/policy.yaml.sig")
        except ConfigurationError:
            assert moment < max(taken)
            continue
        issued.take("finance", Use.POLICY, moment)
        taken.append(moment)
    assert taken == sorted(taken)


def test_a_link_at_a_drafts_place_is_not_followed(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "issued.json", tmp_path / "elsewhere"
    elsewhere.write_text("another's")
    (tmp_path / ".issued.json.draft").symlink_to(elsewhere)
    Issued(state).take("finance", Use.POLICY, MONDAY)
    assert elsewhere.read_text() == "another's"
    assert not state.is_symlink()
    assert not [path for path in tmp_path.iterdir() if path.name not in (state.name, "elsewhere", ".issued.json.draft")]


def test_what_was_taken_is_durable_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[Path, bool]] = []
    state = tmp_path / "issued.json"
    monkeypatch.setattr(private_file, "fsync_folder", lambda folder: synced.append((folder, state.exists())))
    Issued(state).take("finance", Use.POLICY, MONDAY)
    assert synced == [(tmp_path, True)]
