"""What is taken of the files that a command line names."""

import os

import pytest

from guardedvlm.batch.catalog import Catalog, Presence, survey
from guardedvlm.batch.inputs import find_inputs, path_of, read_input, uri_of
from guardedvlm.batch.key import BatchKey
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason

PNG = b"\x89PNG\r\n\x1a\nsome"
KEY = BatchKey(bytes(32))


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.png").write_bytes(PNG)
    (folder / "a.JPG").write_bytes(b"other")
    (folder / "deep" / "c.png").write_bytes(PNG)
    (folder / "deep" / "IM0001").write_bytes(bytes(128) + b"DICM")  # as archives name DICOM files
    (folder / "notes.txt").write_text("x")
    (folder / "._b.png").write_bytes(b"a Mac's own")
    return folder


def names(found):
    return [path.name for path in found.files]


def test_a_folder_gives_its_documents_in_order(archive, tmp_path):
    found = find_inputs([str(archive)], tmp_path / "out")
    assert names(found) == ["a.JPG", "b.png", "IM0001", "c.png"]
    assert found.others == 2


def test_a_pattern_and_a_name_give_each_file_once(archive, tmp_path):
    named = [str(archive / "**" / "*.png"), str(archive / "b.png"), str(archive / "notes.txt")]
    assert names(find_inputs(named, tmp_path / "out")) == ["b.png", "c.png", "notes.txt"]


@pytest.mark.parametrize("name", ["absent.png", "absent/*.png", "[", ""])
def test_a_name_that_nothing_has_is_told(name, tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        find_inputs([str(tmp_path / name) if name else str(tmp_path / "no")], tmp_path / "out")
    assert refused.value.reason is Reason.INPUT_UNREADABLE
    assert refused.value.place


def test_a_folder_without_pictures_is_told(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="INPUT_UNREADABLE"):
        find_inputs([str(tmp_path / "in")], tmp_path / "out")


def test_links_are_files_once_and_folders_never(archive, tmp_path):
    (archive / "link.png").symlink_to(archive / "b.png")
    (archive / "loop").symlink_to(archive)
    (archive / "broken.png").symlink_to(archive / "gone.png")
    os.mkfifo(archive / "pipe.png")
    found = find_inputs([str(archive)], tmp_path / "out")
    assert names(found) == ["a.JPG", "b.png", "IM0001", "c.png"]
    assert [path.name for path in found.unreadable] == ["broken.png"]


def test_the_batchs_own_folder_is_no_input(archive):
    (archive / "out" / "receipts").mkdir(parents=True)
    (archive / "out" / "receipts" / "x.png").write_bytes(PNG)
    assert "x.png" not in names(find_inputs([str(archive)], archive / "out"))


def test_a_uri_comes_back_whatever_the_name(tmp_path):
    for name in (b"plain.png", "Größe 1%20#?.png".encode(), b"\xff\xfe.png", b"new\nline.png"):
        path = tmp_path / os.fsdecode(name)
        assert path_of(uri_of(path)) == path


def test_what_is_no_plain_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "absent", "."):
        with pytest.raises(InvalidInput, match="INPUT_UNREADABLE"):
            read_input(tmp_path / name, 10)
    (tmp_path / "long").write_bytes(bytes(99))
    assert len(read_input(tmp_path / "long", 10)) == 11


def surveyed(folder, tmp_path, known=None):
    return survey(find_inputs([str(folder)], tmp_path / "out"), known or Catalog({}), KEY, lambda: None)


def test_equal_bytes_are_one_document(archive, tmp_path):
    catalog = surveyed(archive, tmp_path)
    assert (len(catalog.files), len(catalog.documents()), catalog.duplicates) == (4, 3, 1)


def test_a_file_that_changed_is_another_document_and_one_that_is_gone_is_told(archive, tmp_path):
    first = surveyed(archive, tmp_path)
    (archive / "a.JPG").write_bytes(b"others")
    (archive / "deep" / "IM0001").unlink()
    (archive / "new.png").write_bytes(b"new")
    second = surveyed(archive, tmp_path, first)
    uri = uri_of(archive / "a.JPG")
    assert first.files[uri].document != second.files[uri].document
    assert second.files[uri_of(archive / "b.png")] == first.files[uri_of(archive / "b.png")]
    assert second.count(Presence.GONE) == 1
    assert len(second.documents()) == 3


def test_a_file_with_its_old_size_and_time_is_not_read_again(archive, tmp_path):
    first = surveyed(archive, tmp_path)
    path = archive / "b.png"
    status = path.stat()
    path.write_bytes(PNG[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert surveyed(archive, tmp_path, first) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_listed(archive, tmp_path):
    (archive / "b.png").chmod(0)
    (archive / "deep").chmod(0)
    catalog = surveyed(archive, tmp_path)
    assert catalog.count(Presence.UNREADABLE) == 2
    (archive / "deep").chmod(0o700)


def test_names_are_keyed_and_sealed_for_their_document():
    other = BatchKey.fresh()
    assert KEY.document([b"ab", b"c"]) == KEY.document([b"abc"]) != other.document([b"abc"])
    assert KEY.unreadable("abc") != KEY.document([b"abc"])
    sealed = KEY.seal("d1", "file:///tmp/Orla.png")
    assert b"Orla" not in sealed
    assert KEY.open("d1", sealed) == "file:///tmp/Orla.png"
    for document, key, content in (
        ("d2", KEY, sealed),
        ("d1", other, sealed),
        ("d1", KEY, sealed[:-1]),
        ("d1", KEY, b""),
    ):
        with pytest.raises(InvalidInput):
            key.open(document, content)
