"""Evidence keys: made once, rotated whole, and what old ones signed still verifies."""

import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.audit.keys import (
    RING,
    PublicKey,
    PublicKeys,
    Signature,
    UnknownKey,
    WrongSignature,
    create_keys,
    load_keys,
    load_public,
    rotate_keys,
)
from guardedvlm.errors import ConfigurationError, Reason

MESSAGE = b"guardedvlm test\nmessage\n"


@pytest.fixture
def folder(tmp_path):
    create_keys(tmp_path / "evidence")
    return tmp_path / "evidence"


@pytest.fixture
def exported(folder, tmp_path):
    load_keys(folder).public.write(tmp_path / "keys.json")
    return tmp_path / "keys.json"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_for_their_owner(folder):
    assert (mode(folder), mode(folder / RING)) == (0o700, 0o600)
    assert create_keys(folder).active == load_keys(folder).active
    assert os.listdir(folder) == [RING]


def test_processes_that_begin_together_have_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: create_keys(tmp_path / "evidence"), range(16)))
    assert len({ring.active for ring in rings}) == 1


def test_a_signature_names_its_key_and_verifies(folder):
    ring = load_keys(folder)
    signature = ring.sign(MESSAGE)
    assert signature.key_id == ring.active.id
    assert len(signature.value) == 64
    assert ring.public.verify(MESSAGE, signature) == ring.active


def test_what_a_retired_key_signed_still_verifies(folder):
    first = load_keys(folder)
    old = first.sign(MESSAGE)
    second = rotate_keys(folder)
    assert second.active.id != first.active.id
    assert [key.id for key in second.retired] == [first.active.id]
    assert second.retired[0].created == first.active.created <= second.retired[0].retired
    assert second.public.verify(MESSAGE, old).id == first.active.id
    assert second.public.verify(MESSAGE, second.sign(MESSAGE)) == second.active
    third = rotate_keys(folder)
    assert [key.id for key in third.retired] == [second.active.id, first.active.id]
    assert third.public.verify(MESSAGE, old).id == first.active.id


def test_the_private_half_of_a_retired_key_is_nowhere(folder):
    private = json.loads((folder / RING).read_text())["active"]["private"]
    rotate_keys(folder)
    assert os.listdir(folder) == [RING]
    assert private not in (folder / RING).read_text()


def test_rotations_at_the_same_time_lose_no_key(folder):
    first = load_keys(folder).active.id
    with ThreadPoolExecutor(8) as pool:
        made = {ring.active.id for ring in pool.map(lambda _: rotate_keys(folder), range(12))}
    ring = load_keys(folder)
    assert len(made) == 12
    assert {key.id for key in ring.public.keys} == made | {first}


def test_a_rotation_that_cannot_be_written_leaves_the_ring(folder, monkeypatch):
    before = (folder / RING).read_bytes()

    def full(*_):
        raise OSError(28, "no space")

    monkeypatch.setattr("guardedvlm.audit.keys.replace", full)
    with pytest.raises(ConfigurationError):
        rotate_keys(folder)
    assert (folder / RING).read_bytes() == before


def test_one_file_for_an_auditor_holds_no_private_half(folder, exported):
    ring = load_keys(folder)
    assert load_public(exported) == ring.public
    assert mode(exported) == 0o644
    assert json.loads((folder / RING).read_text())["active"]["private"] not in exported.read_text()


def test_keys_of_several_rings_are_together(tmp_path):
    rings = [create_keys(tmp_path / name) for name in "ab"]
    both = rings[0].public + rings[1].public
    for ring in rings:
        assert both.verify(MESSAGE, ring.sign(MESSAGE)) == ring.active
    assert both + rings[1].public == both


def test_another_key_and_another_message_are_told_apart(folder, tmp_path):
    ring, other = load_keys(folder), create_keys(tmp_path / "other")
    with pytest.raises(UnknownKey):
        ring.public.verify(MESSAGE, other.sign(MESSAGE))
    signature = ring.sign(MESSAGE)
    with pytest.raises(WrongSignature):
        ring.public.verify(MESSAGE + b" ", signature)
    with pytest.raises(WrongSignature):  # one that names this key and is by the other
        ring.public.verify(MESSAGE, Signature(signature.key_id, other.sign(MESSAGE).value))
    with pytest.raises(UnknownKey):
        PublicKeys(()).verify(MESSAGE, signature)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_wrong(folder, length):
    ring = load_keys(folder)
    with pytest.raises(WrongSignature):
        ring.public.verify(MESSAGE, Signature(ring.active.id, bytes(length)))


def test_notes_know_a_key_by_name_and_hash():
    """The verifier key of the documentation of golang.org/x/mod/sumdb/note, whose format C2SP signed-note took over."""
    verifier_key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    name, note_hash, encoded = verifier_key.split("+", 2)
    key = PublicKey(base64.b64decode(encoded)[1:], "2026-01-01T00:00:00.000Z")
    assert key.note_hash(name).hex() == note_hash
    assert key.verifier_key(name) == verifier_key
    assert key.note_hash("PeterNeuman").hex() != note_hash


def _without_key(text):
    return json.dumps({"version": 1, "keys": []})


def _other_id(text):
    found = json.loads(text)
    found["keys"][0]["id"] = "0" * 16
    return json.dumps(found)


def _twice(text):
    found = json.loads(text)
    return json.dumps(found | {"keys": found["keys"] * 2})


def _more(text):
    return json.dumps(json.loads(text) | {"note": "x"})


def _other_version(text):
    return json.dumps(json.loads(text) | {"version": 2})


def _private(text):
    found = json.loads(text)
    found["keys"][0]["private"] = found["keys"][0]["public"]
    return json.dumps(found)


def _long(text):
    return text + " " * 2**18


@pytest.mark.parametrize("change", [_without_key, _other_id, _twice, _more, _other_version, _private, _long, str.upper])
def test_a_changed_file_of_public_keys_is_refused(exported, change):
    exported.write_text(change(exported.read_text()))
    with pytest.raises(ConfigurationError) as refused:
        load_public(exported)
    assert (refused.value.reason, refused.value.place) == (Reason.SETTINGS_INVALID, "keys.json")


def test_an_absent_file_of_public_keys_is_refused(tmp_path):
    with pytest.raises(ConfigurationError):
        load_public(tmp_path / "absent.json")


def _no_ring(path):
    path.unlink()


def _readable(path):
    path.chmod(0o644)


def _broken(path):
    path.write_text(path.read_text()[:-5])


def _retired_without_end(path):
    rotate_keys(path.parent)
    found = json.loads(path.read_text())
    del found["retired"][0]["retired"]
    path.write_text(json.dumps(found))


def _active_again(path):
    ring = load_keys(path.parent)
    found = json.loads(path.read_text())
    found["retired"] = [
        {"id": ring.active.id, "public": base64.b64encode(ring.active.raw).decode()}
        | {"created": ring.active.created, "retired": ring.active.created}
    ]
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("change", [_no_ring, _readable, _broken, _retired_without_end, _active_again])
def test_a_ring_that_is_not_one_is_refused(folder, change):
    change(folder / RING)
    with pytest.raises(ConfigurationError) as refused:
        load_keys(folder)
    assert (refused.value.reason, refused.value.place) == (Reason.SETTINGS_INVALID, RING)
    with pytest.raises(ConfigurationError):
        rotate_keys(folder)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError):
        create_keys(tmp_path / "file" / "evidence")
    with pytest.raises(ConfigurationError):
        rotate_keys(tmp_path / "absent")


def test_a_ring_does_not_show_its_private_half(folder):
    private = json.loads((folder / RING).read_text())["active"]["private"]
    ring = load_keys(folder)
    for text in (repr(ring), str(ring)):
        assert private not in text
        assert "PrivateKey" not in text


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(min_value=0))
def test_any_changed_bit_of_a_message_or_signature_is_wrong(ring, message, at):
    signature = ring.sign(message)
    Ed25519PublicKey.from_public_bytes(ring.active.raw).verify(signature.value, message)  # what anybody would run
    changed = bytearray(signature.value + message)
    changed[at // 8 % len(changed)] ^= 1 << at % 8
    with pytest.raises(WrongSignature):
        ring.public.verify(bytes(changed[64:]), Signature(signature.key_id, bytes(changed[:64])))


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    return create_keys(tmp_path_factory.mktemp("keys"))
