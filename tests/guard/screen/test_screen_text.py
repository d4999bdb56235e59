"""Normalised text and sentences: the two things that offsets and releases hang on."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.guard.screen.normal import NormalText, is_latin, normalise, visible
from guardedvlm.guard.screen.sentences import Sentences, split

PIECES = st.lists(
    st.sampled_from(
        ["Dr. ", "e.g. ", "ab", "4111", ". ", "! ", "?\n", "\n", "  ", "1,234.50", "…", "”", ")", "Z", "a"]
    ),
    max_size=40,
).map("".join)


@given(st.text(max_size=60).map(visible))
def test_every_normalised_character_knows_where_it_came_from(text: str) -> None:
    normal = NormalText.of(text)
    assert len(normal.text) == len(normal.starts) == len(normal.ends)
    assert list(normal.starts) == sorted(normal.starts)
    assert all(0 <= start < end <= len(text) for start, end in zip(normal.starts, normal.ends, strict=True))
    if text:
        assert normal.original(0, len(normal.text)) == (0, len(text))


@given(st.lists(st.text(max_size=10), max_size=5))
def test_visible_text_of_pieces_is_the_pieces_of_visible_text(pieces: list[str]) -> None:
    assert "".join(map(visible, pieces)) == visible("".join(pieces))


@given(st.text(max_size=60))
def test_nothing_invisible_survives(text: str) -> None:
    assert not {c for c in normalise(text) if unicodedata.category(c) == "Cf" or (c < " " and c not in "\n\t")}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("J\u200bo\u00adh\u2060n", "John"),
        ("Ｊｏｈｎ", "John"),
        ("４１１１ ①② ٤١", "4111 12 41"),
        ("s\u0337m\u0337ith", "smith"),
        ("Jose\u0301", "José"),
        ("\u202enhoJ", "nhoJ"),
        ("a\U000e0041\U000e0042b", "ab"),
        ("a\r\nb\u2028c", "a\nb\nc"),
    ],
)
def test_disguises_are_taken_off(written: str, read: str) -> None:
    assert normalise(written) == read


@pytest.mark.parametrize("text", ["Größe œuvre niño", "5 μg β-blocker 10 kΩ π", "€ 5 – ½ “x” ✓ 😀", "Łódź Phạm"])
def test_latin_text_and_symbols_can_be_examined(text: str) -> None:
    assert is_latin(normalise(text))


@pytest.mark.parametrize(
    "text", ["Иван", "Jоhn", "Αlice", "Μαρία", "王伟", "محمد", "שלום", "ᴊᴏʜɴ", "🇯🇴", "⠚⠕⠓⠝", "🅹🅾", "ǀohn", "ɑnn", "नाम"]
)
def test_other_scripts_and_homoglyphs_cannot(text: str) -> None:
    assert not is_latin(normalise(text))


@given(PIECES, st.data())
def test_a_cut_does_not_depend_on_how_the_text_arrives(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    sentences = Sentences()
    closed: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        closed += sentences.feed(text[start:end])
    assert [*closed, *sentences.flush()] == split(text)
    assert "".join(split(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "The total is 1,234.50 today",
        "Ask Dr. Roe",
        "See e.g. this",
        "It was 5 p.m. and late",
        "J. Roe paid",
        "It closed at 9. and then",
        "1. First item",
        "on Jan. 5 it",
        "The number is 4111. 1111. 1111. 1111",
        "4111\n1111\n1111",
        "the U.S. Treasury",
    ],
)
def test_these_are_one_sentence(text: str) -> None:
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 5. The rest is 6.", ["It is 5. ", "The rest is 6."]),
        ("Yes! It is.", ["Yes! ", "It is."]),
        ("He said “no.” She left", ["He said “no.” ", "She left"]),
        ("Name: a\nDate: b", ["Name: a\n", "Date: b"]),
        ("", []),
    ],
)
def test_these_are_cut(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_a_sentence_is_not_closed_before_the_next_character_is_seen() -> None:
    sentences = Sentences()
    assert sentences.feed("It is five. ") == []
    assert sentences.feed("T") == ["It is five. "]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("character", [" ", ")", ".", "_", "\n", "a", "1"])
def test_a_flood_of_one_character_takes_little_time(character: str) -> None:
    sentences = Sentences()
    for _ in range(2_000):
        sentences.feed(character)
    assert "".join(sentences.flush()) == character * 2_000


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"J\u00fcrgen", "Jürgen"), (r"\u004a\u006fhn", "John"), (r"\x4aohn", "John"), ("&#74;ohn &#x4A;", "John J"),
        (r"\u{4a}ohn", "John"), (r"a\u200bb", "ab"), (r"\ud83d\ude00", "😀"), (r"\ud800", "\ufffd"),
        ("&#99999999;", "&#99999999;"), (r"C:\users", r"C:\users"),
    ],
)  # fmt: skip
def test_characters_that_are_written_by_their_numbers_are_read(written: str, read: str) -> None:
    normal = NormalText.of(written)
    assert normal.text == read
    assert len(normal.text) == len(normal.starts) == len(normal.ends)


def test_an_edit_in_an_escaped_text_takes_whole_escapes() -> None:
    written = r'{"who": "J\u00fcrgen"}'
    normal = NormalText.of(written)
    at = normal.text.index("ürg")
    assert written[slice(*normal.original(at, at + 3))] == r"\u00fcrg"


@pytest.mark.parametrize("signs", ["⓫⓬", "𝋤𝋩", "𝍬𝍩", "⚃⚅", "🀱"])
def test_number_signs_that_no_rule_reads_cannot_be_examined(signs: str) -> None:
    assert not is_latin(normalise(signs))


@pytest.mark.parametrize("text", ["½ cup", "x² + 1", "①②", "№ 5", "5 ¾ mg"])
def test_fractions_and_raised_digits_can(text: str) -> None:
    assert is_latin(normalise(text))
