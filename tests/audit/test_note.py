"""Signed notes as C2SP has them: Go's published vector, exact bytes, and nothing that is not a note."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.keys import PublicKey
from guardedvlm.audit.note import BadNote, Note, NoteSignature, is_key_name

# Of golang.org/x/mod/sumdb/note, whose format C2SP signed-note writes down.
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
VALUE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
SIGNED = f"{TEXT}\n\u2014 PeterNeumann {VALUE}\n".encode()
NEUMANN = PublicKey(base64.b64decode(VERIFIER.split("+", 2)[2])[1:], "")


def _made(name: str = "here/log", text: str = "one\ntwo\n", seed: int = 1) -> tuple[Note, PublicKey]:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    key = PublicKey(private.public_key().public_bytes_raw(), "")
    return Note(text, (NoteSignature(name, key.note_hash(name), private.sign(text.encode())),)), key


def test_the_published_note_verifies_and_is_written_the_same() -> None:
    note = Note.decode(SIGNED)
    assert (note.text, note.encode()) == (TEXT, SIGNED)
    assert NEUMANN.verifier_key("PeterNeumann") == VERIFIER
    assert note.verify("PeterNeumann", [NEUMANN]) == NEUMANN


def test_a_changed_text_or_signature_does_not_hold() -> None:
    for at in (3, len(TEXT) - 2, len(SIGNED) - 20):
        changed = SIGNED[:at] + bytes([SIGNED[at] ^ 1]) + SIGNED[at + 1 :]
        with pytest.raises(BadNote):
            Note.decode(changed).verify("PeterNeumann", [NEUMANN])


def test_signatures_of_others_are_ignored_and_a_known_one_is_demanded() -> None:
    note, key = _made()
    _, stranger = _made(seed=2)
    other = NoteSignature("elsewhere", b"abcd", b"anything")
    cosigned = Note(note.text, (other, *note.signatures, other))
    assert Note.decode(cosigned.encode()) == cosigned
    assert cosigned.verify("here/log", [stranger, key]) == key
    for name, keys in (("here/log", [stranger]), ("elsewhere", [key]), ("here/log", [])):
        with pytest.raises(BadNote):
            cosigned.verify(name, keys)


def test_a_signature_that_names_a_known_key_and_is_not_its_own_is_an_error_beside_a_good_one() -> None:
    note, key = _made()
    false = NoteSignature("here/log", key.note_hash("here/log"), b"\0" * 64)
    with pytest.raises(BadNote):
        Note(note.text, (*note.signatures, false)).verify("here/log", [key])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text\n",
        b"text\n\n",
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED.replace(b"\n", b"\r\n"),
        SIGNED.replace(b"\n\n", b"\n"),
        SIGNED.replace("\u2014".encode(), b"-"),
        SIGNED.replace(b" x08", b"  x08"),
        SIGNED.replace(b"PeterNeumann", b"Peter+Neumann"),
        SIGNED.replace(b"nAM=", b"nAN="),  # the same bytes in another spelling
        SIGNED.replace(b"nAM=", b"nAM"),
        SIGNED.replace(b"If you", b"If\tyou"),
        b"\xff" + SIGNED,
        TEXT.encode() + b"\n\xe2\x80\x94 PeterNeumann x08=\n",
        b"x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(content: bytes) -> None:
    with pytest.raises(BadNote):
        Note.decode(content)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_or_written_again_the_same(content: bytes) -> None:
    try:
        assert Note.decode(content).encode() == content
    except BadNote:
        return


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_note_with_something_changed_is_refused_or_written_again_the_same(at: int, new: bytes, gone: int) -> None:
    changed = SIGNED[:at] + new + SIGNED[at + gone :]
    try:
        note = Note.decode(changed)
    except BadNote:
        return
    assert note.encode() == changed
    if changed != SIGNED:
        with pytest.raises(BadNote):
            note.verify("PeterNeumann", [NEUMANN])


_LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)
_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=20).filter(is_key_name)


@given(
    st.lists(_LINES, min_size=1, max_size=5),
    st.lists(st.tuples(_NAMES, st.binary(min_size=5, max_size=70)), min_size=1, max_size=4),
)
def test_every_note_is_read_as_it_was_written(lines: list[str], signatures: list[tuple[str, bytes]]) -> None:
    made = tuple(NoteSignature(name, value[:4], value[4:]) for name, value in signatures)
    note = Note("\n".join(lines) + "\n", made)
    assert Note.decode(note.encode()) == note


@pytest.mark.parametrize("text", ["", "no end", "a\0b\n"])
def test_a_text_that_no_note_has(text: str) -> None:
    with pytest.raises(BadNote):
        Note(text, _made()[0].signatures)
    with pytest.raises(BadNote):
        Note("text\n", ())
