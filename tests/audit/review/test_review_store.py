"""A sample is readable until it expires, by its key alone, and not a second longer; nobody can tell it to stay."""

import os
import shutil
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.audit.review.store import ORPHAN_SECONDS, About, SampleStore, Swept
from guardedvlm.audit.reviewed import Basis
from guardedvlm.errors import ConfigurationError, Overloaded, Reason, Refused

ABOUT = About("11" * 16, "22" * 16, "33" * 32, Basis.RANDOM, 0, "44" * 32)
PICTURE = b"\x89PNG a picture that nobody may find on the disk"
DAY = 24 * 3600


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    return SampleStore(tmp_path / "review", tmp_path / "keys" / "review", max_samples=3, clock=clock)


def everything(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_comes_back_and_lies_there_encrypted(store, tmp_path):
    kept = store.put(PICTURE, ABOUT, DAY)
    opened = store.read(kept.sample)
    assert (opened.picture, opened.about, opened.expires) == (PICTURE, ABOUT, kept.expires)
    on_disk = everything(tmp_path)
    assert PICTURE not in on_disk
    assert ABOUT.tenant.encode() not in on_disk
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_every_sample_has_a_key_of_its_own_in_another_folder(store, tmp_path):
    some = [store.put(PICTURE, ABOUT, DAY).sample for _ in range(3)]
    keys = {(tmp_path / "keys" / "review" / f"{sample}.key").read_bytes() for sample in some}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32 + 8}
    assert not any(key[:32] in everything(tmp_path / "review") for key in keys)


def test_an_expired_sample_is_not_readable_though_nobody_swept(store, tmp_path, clock):
    kept = store.put(PICTURE, ABOUT, DAY)
    clock.now = kept.expires - 1
    assert store.read(kept.sample).picture == PICTURE
    clock.now = kept.expires
    assert store.list_kept() == ()
    with pytest.raises(Refused) as refused:
        store.read(kept.sample)
    assert refused.value.reason is Reason.SAMPLE_GONE
    clock.now -= DAY  # the key is gone, not hidden: turning the clock back does not help
    with pytest.raises(Refused):
        store.read(kept.sample)
    assert not list(tmp_path.rglob("*.key"))


def test_the_expiry_cannot_be_written_anew(store, tmp_path, clock):
    kept = store.put(PICTURE, ABOUT, DAY)
    path = tmp_path / "keys" / "review" / f"{kept.sample}.key"
    content = path.read_bytes()
    path.write_bytes(content.replace(kept.expires.to_bytes(8, "big"), (kept.expires + DAY).to_bytes(8, "big"), 1))
    with pytest.raises(Refused):
        store.read(kept.sample)


@settings(max_examples=40)
@given(data=st.data())
def test_who_can_write_only_the_samples_keeps_no_key_alive(tmp_path_factory, data):
    folder, clock = tmp_path_factory.mktemp("store"), Clock()
    store = SampleStore(folder / "s", folder / "k", clock=clock)
    kept = store.put(PICTURE, ABOUT, DAY)
    path = folder / "s" / f"{kept.sample}.sample"
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, 40))
    content[start : start + 8] = data.draw(st.sampled_from([b"", (2**40 - 1).to_bytes(8, "big"), bytes(8)]))
    path.write_bytes(content)
    clock.now = kept.expires
    assert store.sweep().destroyed == (kept.sample,)
    assert not list((folder / "k").iterdir())


def test_a_sample_under_another_name_does_not_open(store, tmp_path):
    first, second = (store.put(PICTURE, ABOUT, DAY).sample for _ in range(2))
    shutil.copy(tmp_path / "review" / f"{first}.sample", tmp_path / "review" / f"{second}.sample")
    shutil.copy(tmp_path / "keys" / "review" / f"{first}.key", tmp_path / "keys" / "review" / f"{second}.key")
    with pytest.raises(Refused):
        store.read(second)
    assert store.read(first).picture == PICTURE


def test_a_destroyed_key_is_overwritten_before_it_is_unlinked(store, tmp_path):
    kept = store.put(PICTURE, ABOUT, DAY)
    key = tmp_path / "keys" / "review" / f"{kept.sample}.key"
    os.link(key, tmp_path / "another name of the same blocks")
    secret, sealed = key.read_bytes(), (tmp_path / "review" / f"{kept.sample}.sample").read_bytes()
    assert store.destroy(kept.sample) is True
    assert store.destroy(kept.sample) is False
    assert (tmp_path / "another name of the same blocks").read_bytes() != secret
    assert not key.exists()
    (tmp_path / "review" / f"{kept.sample}.sample").write_bytes(sealed)  # from a backup of the samples
    with pytest.raises(Refused):
        store.read(kept.sample)


def test_the_sweep_takes_what_expired_and_what_a_crash_left(store, tmp_path, clock):
    old = store.put(PICTURE, ABOUT, DAY)
    young = store.put(PICTURE, ABOUT, 3 * DAY)
    lost = store.put(PICTURE, ABOUT, 3 * DAY)
    (tmp_path / "review" / f"{lost.sample}.sample").unlink()
    draft = tmp_path / "keys" / "review" / ".half.key"
    draft.write_bytes(b"k" * 32)
    clock.now = max(old.expires, path_time(draft) + ORPHAN_SECONDS + 1)
    assert store.sweep() == Swept((old.sample,), 0)
    assert [one.sample for one in store.list_kept()] == [young.sample]
    assert [path.stem for path in (tmp_path / "keys" / "review").iterdir()] == [young.sample]
    assert store.sweep() == Swept((), 0)


def path_time(path):
    return path.stat().st_mtime


def test_one_key_that_is_stuck_holds_up_no_other(store, tmp_path, clock):
    samples = sorted(store.put(PICTURE, ABOUT, DAY).sample for _ in range(3))
    stuck = tmp_path / "keys" / "review" / f"{samples[0]}.key"
    stuck.unlink()
    stuck.symlink_to("nothing")
    clock.now += DAY
    assert store.sweep() == Swept(tuple(samples[1:]), 1)
    assert store.sweep() == Swept((), 1)
    assert list(stuck.parent.iterdir()) == [stuck]


def test_a_destroyed_key_is_told_though_its_sample_stays_for_now(store, tmp_path, clock, monkeypatch):
    kept = store.put(PICTURE, ABOUT, DAY)
    clock.now = kept.expires
    with monkeypatch.context() as broken:
        broken.setattr(SampleStore, "_remove", _fails)
        swept = store.sweep()
    assert (swept.destroyed, swept.failed > 0) == ((kept.sample,), True)
    clock.now = path_time(tmp_path / "review" / f"{kept.sample}.sample") + ORPHAN_SECONDS + 1
    assert store.sweep() == Swept((), 0)
    assert not list((tmp_path / "review").iterdir())


def test_a_key_that_is_not_whole_is_swept(store, tmp_path, clock):
    kept = store.put(PICTURE, ABOUT, DAY)
    key = tmp_path / "keys" / "review" / f"{kept.sample}.key"
    key.write_bytes(key.read_bytes()[:32])
    assert store.list_kept() == ()
    clock.now = path_time(key) + ORPHAN_SECONDS + 1
    store.sweep()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_prepared_is_shown_to_nobody_and_swept(store, tmp_path, clock):
    kept = store.prepare(PICTURE, ABOUT, 3 * DAY)
    assert store.list_kept() == ()
    with pytest.raises(Refused):
        store.read(kept.sample)
    clock.now = path_time(tmp_path / "review" / f"{kept.sample}.sample") + ORPHAN_SECONDS + 1
    assert store.sweep() == Swept((), 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_admitted_is_shown(store):
    kept = store.prepare(PICTURE, ABOUT, DAY)
    store.admit(kept.sample)
    assert store.list_kept() == (kept,)
    assert store.read(kept.sample).picture == PICTURE


def test_a_key_that_is_just_being_written_is_not_swept(store, tmp_path, clock):
    kept = store.put(PICTURE, ABOUT, DAY)
    (tmp_path / "review" / f"{kept.sample}.sample").unlink()
    clock.now = path_time(tmp_path / "keys" / "review" / f"{kept.sample}.key") + 1
    store.sweep()
    assert (tmp_path / "keys" / "review" / f"{kept.sample}.key").exists()


def test_a_full_store_takes_nothing_and_room_comes_back(store):
    some = [store.put(PICTURE, ABOUT, DAY).sample for _ in range(3)]
    with pytest.raises(Overloaded):
        store.put(PICTURE, ABOUT, DAY)
    store.destroy(some[0])
    store.put(PICTURE, ABOUT, DAY)


def test_a_disk_that_does_not_write_leaves_no_key(store, tmp_path, monkeypatch):
    store.destroy(store.put(PICTURE, ABOUT, DAY).sample)
    real = os.rename

    def fails(source, target, **_):
        if str(target).endswith(".sample"):
            raise OSError("full")
        real(source, target)

    monkeypatch.setattr("os.rename", fails)
    with pytest.raises(ConfigurationError) as failed:
        store.put(PICTURE, ABOUT, DAY)
    assert failed.value.reason is Reason.OUTPUT_UNWRITABLE
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_sample_that_cannot_be_destroyed_is_said(store, monkeypatch):
    kept = store.put(PICTURE, ABOUT, DAY)
    monkeypatch.setattr("os.fsync", _fails)
    with pytest.raises(ConfigurationError) as failed:
        store.destroy(kept.sample)
    assert failed.value.reason is Reason.OUTPUT_UNWRITABLE


def test_samples_that_cannot_be_listed_are_not_none(store, monkeypatch):
    store.put(PICTURE, ABOUT, DAY)
    monkeypatch.setattr("os.listdir", _fails)
    with pytest.raises(ConfigurationError) as failed:
        store.list_kept()
    assert failed.value.reason is Reason.INPUT_UNREADABLE


def _fails(*_):
    raise PermissionError


def test_a_file_that_is_no_sample_is_none(store, tmp_path):
    store.put(PICTURE, ABOUT, DAY)
    (tmp_path / "review" / f"{'0' * 32}.sample").write_bytes(b"notes")
    (tmp_path / "review" / "notes.sample").write_bytes(b"notes")
    assert len(store.list_kept()) == 1
    with pytest.raises(Refused):
        store.read("0" * 32)


@pytest.mark.parametrize("name", ["", "..", "../keys/x", "g" * 32, "1" * 31, "1" * 33, "1" * 32])
def test_only_names_of_samples_are_looked_for(store, name):
    with pytest.raises(Refused):
        store.read(name)


@pytest.mark.parametrize(("folder", "keys"), [("a", "a"), ("a", "a/keys"), ("a/samples", "a")])
def test_keys_lie_apart_from_what_they_open(tmp_path, folder, keys):
    with pytest.raises(ConfigurationError):
        SampleStore(tmp_path / folder, tmp_path / keys)


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_byte_is_changed_the_sample_does_not_open(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    store = SampleStore(folder / "s", folder / "k", clock=lambda: 1_800_000_000.0)
    kept = store.put(PICTURE, ABOUT, DAY)
    path = data.draw(st.sampled_from([folder / "s" / f"{kept.sample}.sample", folder / "k" / f"{kept.sample}.key"]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(Refused):
        store.read(kept.sample)
