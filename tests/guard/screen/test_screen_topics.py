"""The table of topics, and the folding that rules rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.guard.screen.topics import topics_of, words_of
from guardedvlm.policy.model import Topic

TABLE: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("topics.yaml").read_text(encoding="utf-8"))
ABOUT_PEOPLE = [(topic, sentence) for topic, rows in TABLE.items() if topic != "none" for sentence in rows]


def test_the_table_covers_every_topic_with_at_least_120_sentences() -> None:
    assert set(TABLE) == {*Topic, "none"}
    assert sum(map(len, TABLE.values())) >= 120


@pytest.mark.parametrize(("topic", "sentence"), ABOUT_PEOPLE)
def test_a_sentence_about_a_topic_is_recognised(topic: str, sentence: str) -> None:
    assert Topic(topic) in topics_of(sentence)


@pytest.mark.parametrize("sentence", TABLE["none"])
def test_a_sentence_about_a_document_is_about_no_topic(sentence: str) -> None:
    assert topics_of(sentence) == frozenset()


@given(st.sampled_from(ABOUT_PEOPLE), st.sampled_from(["\u200b", "\u00ad", "\u2060", "\u202e", "\ufe0f"]), st.data())
def test_case_and_invisible_characters_change_no_verdict(row: tuple[str, str], joint: str, data: st.DataObject) -> None:
    topic, sentence = row
    at = data.draw(st.integers(0, len(sentence)))
    assert Topic(topic) in topics_of((sentence[:at] + joint + sentence[at:]).upper())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Who's PERSON-A's boss?", "who is namedperson poss boss"),
        ("who_is.this/person", "who is this person"),
        ("eyeColor", "eye color"),
        ("w h o is this", "who is this"),
        ("Is this [PERSON]?", "is this namedperson"),
        ("  ", ""),
    ],
)
def test_words_are_folded(text: str, words: str) -> None:
    assert words_of(text) == words


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["the man in the picture is a ", "who is the ", "a ", "is the a in b with c "])
def test_hostile_repetition_takes_little_time(piece: str) -> None:
    assert topics_of((piece * 20_000)[:20_000]) <= frozenset(Topic)
