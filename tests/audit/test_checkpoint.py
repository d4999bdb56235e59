"""Checkpoints as C2SP tlog-checkpoint has them: exact bytes, a strict reader, and files with damage in them."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    encode_entry,
    encode_line,
    origin_line,
    parse_checkpoints,
    read_checkpoints,
    sign_checkpoint,
)
from guardedvlm.audit.keys import KeyRing, create_keys
from guardedvlm.audit.note import BadNote
from guardedvlm.errors import ConfigurationError

ORIGIN = origin_line("1f" * 16, "years-6")
ROOT = bytes(range(32))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return create_keys(tmp_path_factory.mktemp("keys"))


def _signed(ring: KeyRing, size: int = 57) -> SignedCheckpoint:
    return sign_checkpoint(Checkpoint(ORIGIN, size, ROOT), ring, ring.public.find)


def test_the_text_is_three_lines() -> None:
    text = Checkpoint(ORIGIN, 57, ROOT).text
    assert text == f"guardedvlm/{'1f' * 16}/years-6\n57\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert Checkpoint.parse(text) == Checkpoint(ORIGIN, 57, ROOT)


def test_the_specifications_own_example_is_read() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = Checkpoint.parse(text)
    assert (found.origin, found.size, found.text) == ("example.com/behind-the-sofa", 20852163, text)
    assert Checkpoint.parse(text + "an extension\n").extensions == ("an extension",)


def test_a_signed_checkpoint_verifies_under_its_own_origin_alone(ring: KeyRing, tmp_path: Path) -> None:
    signed = _signed(ring)
    assert SignedCheckpoint.decode(signed.note.encode()) == signed
    assert signed.verify(ring.public.keys) == ring.active
    assert [one.name for one in signed.note.signatures] == [ORIGIN]
    with pytest.raises(BadNote):
        signed.verify(create_keys(tmp_path / "other").public.keys)
    moved = signed.note.encode().replace(b"years-6", b"years-7")
    with pytest.raises(BadNote):
        SignedCheckpoint.decode(moved).verify(ring.public.keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        "\n1\n" + base64.b64encode(ROOT).decode() + "\n",
        *(f"a\n{size}\n{base64.b64encode(ROOT).decode()}\n" for size in ("01", "+1", "-1", " 1", "1.0", "", "9" * 17)),
        "a\n1\n" + base64.b64encode(ROOT[:31]).decode() + "\n",
        "a\n1\n" + base64.b64encode(ROOT).decode()[:-2] + "9=\n",
        "a\n1\n" + base64.b64encode(ROOT).decode(),
        "a\n1\n" + base64.b64encode(ROOT).decode() + "\n\n",
        "a\n1\n" + base64.b64encode(ROOT).decode() + "\n\nb\n",
        "a\n\u0661\n" + base64.b64encode(ROOT).decode() + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


@given(st.text(max_size=120))
def test_arbitrary_text_is_refused_or_written_again_the_same(text: str) -> None:
    try:
        assert Checkpoint.parse(text).text == text
    except BadNote:
        return


def test_a_logs_name_says_nothing_else() -> None:
    for origin, log in (("1f" * 16, "Years 6"), ("1f", "service"), ("1f" * 16, "a\nb"), ("1f" * 16, "")):
        with pytest.raises(ValueError, match="not a log"):
            origin_line(origin, log)


def test_a_file_of_notes_of_lines_of_both_and_of_torn_pieces(ring: KeyRing, tmp_path: Path) -> None:
    first, second, third = (_signed(ring, size) for size in (1, 20, 300))
    torn = encode_entry(second)[:-30]
    content = (
        encode_entry(first) + torn + b"\n\n" + b"ready at here\n" + encode_line(second) + b'{"other": 1}\n[1]\n"x"\n'
    )
    (tmp_path / "file").write_bytes(content + encode_entry(third))
    found = read_checkpoints(tmp_path / "file")
    assert found.found == (first, second, third)
    assert found.damaged == 5  # the torn note, and four lines that are something else
    assert parse_checkpoints(b"").found == ()
    with pytest.raises(ConfigurationError):
        read_checkpoints(tmp_path / "none")


@given(st.data())
def test_a_torn_entry_takes_no_other_with_it(ring: KeyRing, data: st.DataObject) -> None:
    first, second, third = (_signed(ring, size) for size in (1, 20, 300))
    cut = data.draw(st.integers(0, len(encode_entry(second)) - 3))
    content = encode_entry(first) + encode_entry(second)[:cut] + b"\n\n" + encode_entry(third)
    found = parse_checkpoints(content).found
    assert found[0] == first
    assert found[-1] == third
    assert len(found) == 2


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_file_without_checkpoints(content: bytes) -> None:
    assert parse_checkpoints(content).found == ()
