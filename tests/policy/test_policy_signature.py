"""Signed policies: unsigned, stripped, altered, inherited, swapped; each is refused, and the old one stays in force."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.signature import Use, check_signature, key_id, sign, signature_file
from guardedvlm.policy.store import CANDIDATE_NAME, PolicyStore, store_problems

SHIPPED = Path(__file__).parents[2] / "policies"
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
POLICY = load_policy(SHIPPED / "finance" / "policy.yaml")
LINE = sign(POLICY, Use.POLICY, KEY)


def signed(path: Path, use: Use = Use.POLICY, key: Ed25519PrivateKey = KEY) -> Path:
    signature_file(path).write_text(sign(load_policy(path), use, key))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    shutil.copytree(SHIPPED, folder)
    for name in ("finance", "healthcare"):
        signed(folder / name / "policy.yaml")
    return folder


def problem_of(folder: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        PolicyStore(folder, PUBLIC)
    assert [error.for_operator() for error in store_problems(folder, PUBLIC)] == [caught.value.for_operator()]
    return caught.value


def test_signed_policies_are_taken(folder: Path) -> None:
    assert PolicyStore(folder, PUBLIC).names == {"finance", "healthcare"}
    assert PolicyStore(SHIPPED).names == {"finance", "healthcare"}  # without a key nobody asks


def test_a_signature_that_was_taken_away_is_a_wrong_one(folder: Path) -> None:
    signature_file(folder / "finance" / "policy.yaml").unlink()
    error = problem_of(folder)
    assert (error.reason, error.place) == (Reason.POLICY_UNSIGNED, "finance/policy.yaml.sig")
    assert "there is no signature" in error.explanation


@pytest.mark.parametrize("content", ["", "ed25519:", LINE[:-10], LINE * 2, "\udcff".encode("utf-8", "surrogatepass")])
def test_what_is_no_signature(folder: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    signature_file(folder / "finance" / "policy.yaml").write_bytes(raw)
    assert "is not a signature" in problem_of(folder).explanation


def test_an_altered_policy_is_refused_and_a_comment_is_no_change(folder: Path) -> None:
    path = folder / "finance" / "policy.yaml"
    text = path.read_text()
    path.write_text("# another comment\n" + text)
    PolicyStore(folder, PUBLIC)
    path.write_text(text.replace("release: sentence", "release: whole"))  # stricter, and not what was signed
    assert problem_of(folder).explanation.startswith("is not of this policy")


def test_an_altered_base_breaks_every_policy_that_extends_it(folder: Path) -> None:
    base = folder / "base" / "common.yaml"
    base.write_text(base.read_text().replace("max_pages: 50", "max_pages: 400"))
    places = [error.place for error in store_problems(folder, PUBLIC)]
    assert places == ["finance/policy.yaml.sig", "healthcare/policy.yaml.sig"]
    store = PolicyStore(SHIPPED)
    assert store.policy_for("finance").limits.max_pages == 50


def test_another_key_another_policy_another_use(folder: Path) -> None:
    other = Ed25519PrivateKey.generate()
    path = signed(folder / "finance" / "policy.yaml", key=other)
    assert f"is by the key {key_id(other.public_key())}" in problem_of(folder).explanation
    shutil.copy(signature_file(folder / "healthcare" / "policy.yaml"), signature_file(path))
    assert "is not of this policy" in problem_of(folder).explanation
    signed(path, Use.CANDIDATE)
    assert "is not of this policy" in problem_of(folder).explanation
    # A signature that only claims the right key.
    forged = sign(POLICY, Use.POLICY, other).replace(key_id(other.public_key()), key_id(PUBLIC))
    signature_file(path).write_text(forged)
    assert "is not of this policy" in problem_of(folder).explanation


def test_a_candidate_needs_its_own_signature(folder: Path) -> None:
    path = folder / "finance" / CANDIDATE_NAME
    path.write_text((folder / "finance" / "policy.yaml").read_text().replace("max_tokens: 512", "max_tokens: 99"))
    assert problem_of(folder).place == "finance/candidate.yaml.sig"
    signed(path, Use.POLICY)
    assert "is not of this candidate" in problem_of(folder).explanation
    signed(path, Use.CANDIDATE)
    held = PolicyStore(folder, PUBLIC).held("finance")
    assert held.candidate is not None
    assert (held.candidate.say.max_tokens, held.policy.say.max_tokens) == (99, 512)
    # It cannot be made the policy in force by renaming it.
    path.rename(folder / "finance" / "policy.yaml")
    signature_file(path).rename(signature_file(folder / "finance" / "policy.yaml"))
    assert "is not of this policy" in problem_of(folder).explanation


def test_on_reload_what_is_not_signed_leaves_what_was(folder: Path) -> None:
    store = PolicyStore(folder, PUBLIC)
    before = store.policy_for("finance")
    path = folder / "finance" / "policy.yaml"
    path.write_text(path.read_text().replace("PERSON: label", "PERSON: fill"))
    found = store.reload()
    assert (found.kept, [error.reason for error in found.problems]) == (("finance",), [Reason.POLICY_UNSIGNED])
    assert store.policy_for("finance") is before
    signed(path)
    assert store.reload().changed == ("finance",)


def test_a_broken_candidate_is_none_and_takes_nothing_away(folder: Path) -> None:
    store = PolicyStore(folder, PUBLIC)
    (folder / "finance" / CANDIDATE_NAME).write_text("name: finance\n")
    found = store.reload()
    assert (found.kept, bool(found.problems)) == ((), True)
    assert store.held("finance").candidate is None


@given(at=st.integers(0, len(LINE) - 2), to=st.sampled_from("0aZ+/=:"))
def test_no_character_of_a_signature_can_be_another(tmp_path_factory: pytest.TempPathFactory, at: int, to: str) -> None:
    if LINE[at] == to:
        return
    path = tmp_path_factory.getbasetemp() / "any" / "policy.yaml"
    path.parent.mkdir(exist_ok=True)
    signature_file(path).write_text(LINE)
    check_signature(POLICY, Use.POLICY, path, PUBLIC)
    signature_file(path).write_text(LINE[:at] + to + LINE[at + 1 :])
    with pytest.raises(ConfigurationError) as caught:
        check_signature(POLICY, Use.POLICY, path, PUBLIC)
    assert caught.value.reason is Reason.POLICY_UNSIGNED


def test_a_look_reloads_what_has_changed_and_stands_still(folder: Path) -> None:
    store = PolicyStore(folder, PUBLIC)
    assert store.look() is None
    path = folder / "finance" / "policy.yaml"
    path.write_text(path.read_text().replace("max_tokens: 512", "max_tokens: 99"))
    assert store.look() is None  # seen for the first time: perhaps it is being written
    signed(path)
    assert store.look() is None  # it was
    found = store.look()
    assert found is not None
    assert (found.changed, found.problems) == (("finance",), ())
    assert store.look() is None
    assert store.policy_for("finance").say.max_tokens == 99


def test_every_last_character_of_a_signature_counts(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    for to in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        signature_file(path).write_text(LINE[:-4] + to + LINE[-3:])
        if to == LINE[-4]:
            check_signature(POLICY, Use.POLICY, path, PUBLIC)
            continue
        with pytest.raises(ConfigurationError):
            check_signature(POLICY, Use.POLICY, path, PUBLIC)


def test_a_file_that_goes_while_it_is_looked_at_is_not_there(folder: Path) -> None:
    (folder / "finance" / "gone.yaml").symlink_to(folder / "nowhere")
    store = PolicyStore(folder, PUBLIC)
    assert store.look() is None
