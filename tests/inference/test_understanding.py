from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.inference.reader.lookup import likeness
from guardedvlm.inference.reader.question import Expected, Intent, Understanding
from guardedvlm.inference.reader.wording import akin, contains, mentions, spelled_out


@pytest.fixture(scope="module")
def understanding(sentences) -> Understanding:
    return Understanding(sentences)


INTENTS = {
    Intent.TOTAL: [
        "What is the total?", "How much was paid in all?", "How much did they spend?", "What did I pay?", "Total?",
        "How much does the bill come to?", "What is the total amount including GST?", "What was the final price?",
        "Could you tell me the sum that had to be paid?", "What is the grand total of this receipt?",
    ],
    Intent.ISSUED: [
        "What is the date of this receipt?", "When was it issued?", "On what day was this bought?", "Date?",
        "When did the purchase take place?", "What's the transaction date?", "What day did the customer shop?",
    ],
    Intent.FIELD: [
        "What is the closing balance?", "What is the due date?", "What is the date of birth?", "What is the diagnosis?",
        "How much change was given?", "What is the total of the deposits?", "What is the total GST?",
        "What is the patient's name?", "When is the payment due?",
    ],
    Intent.COUNT: ["How many transactions?", "How many items were bought?"],
    Intent.SECTION: ["Which findings are listed?", "What are the findings?", "What medications are listed?"],
    Intent.ITEMS: ["List the items", "What did they buy?", "List the transactions"],
    Intent.KIND: ["What kind of document is this?", "What is this?"],
    Intent.SUMMARY: ["Summarise this document.", "Give me the gist"],
    Intent.TRANSCRIPT: ["What does it say?", "Transcribe the page"],
    Intent.MENTION: ["Was it paid in cash?", "Is there an overdraft limit?"],
    Intent.VISUAL: ["What colour is the car?", "Is the person smiling?"],
    Intent.ISSUER: ["What is the name of the shop?", "Which bank is this from?"],
}  # fmt: skip


@pytest.mark.parametrize(("intent", "question"), [(i, q) for i, questions in INTENTS.items() for q in questions])
def test_a_question_is_understood(understanding, intent, question) -> None:
    assert understanding.of(question).intent is intent


@pytest.mark.parametrize(
    ("question", "expected", "topic", "phrase"),
    [
        ("What is the closing balance of the statement?", Expected.AMOUNT, ("closing", "balance", "statement"),
         "the closing balance"),
        ("How many items were bought?", Expected.NUMBER, ("item", "bought"), ""),
        ("Who is the patient?", Expected.NAME, ("patient",), "the patient"),
        ("When is it due?", Expected.DATE, ("due",), ""),
        ("What is he suffering from?", Expected.ANY, ("diagnosis",), ""),
    ],
)  # fmt: skip
def test_a_question_is_taken_apart(understanding, question, expected, topic, phrase) -> None:
    found = understanding.of(question)
    assert (found.expected, found.topic, found.phrase) == (expected, topic, phrase)
    assert "balance" not in repr(found)


@given(st.text(max_size=80))
def test_no_question_breaks_it(sentences_once, text) -> None:
    assert isinstance(sentences_once.of(text).intent, Intent)


@pytest.fixture(scope="module")
def sentences_once(understanding) -> Understanding:
    return understanding


def test_vectors_are_unit_vectors_and_do_not_depend_on_their_neighbours(sentences) -> None:
    alone = sentences.vectors(["closing balance"])
    together = sentences.vectors(["a much longer sentence about something else", "closing balance"])
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.array_equal(alone[0], together[1])
    assert sentences.vectors([]).shape == (0, 384)


@given(st.text(max_size=200), st.integers(1, 30))
def test_cut_to_a_number_of_tokens(sentences_cut, text, limit) -> None:
    cut = sentences_cut.first_tokens(text, limit)
    assert text.startswith(cut)
    assert sentences_cut.tokens(cut) <= max(limit, sentences_cut.tokens(text) if cut == text else 0)


@pytest.fixture(scope="module")
def sentences_cut(sentences):
    return sentences


@pytest.mark.parametrize(
    ("label", "phrase", "found"),
    [
        ("Rour ding Adjustment", "rounding", True),
        ("T0TAL", "total", True),
        ("lnclusive", "inclusive", True),
        ("Round d Total", "roundedtotal", True),
        ("cast", "cash", False),
        ("Tonal", "total", False),
    ],
)
def test_misread_labels(label, phrase, found) -> None:
    assert mentions(label, phrase) is found


@given(st.from_regex(r"[a-z]{6,12}", fullmatch=True), st.integers(1, 4), st.characters(categories=["Ll"]))
def test_one_wrong_letter_inside_is_forgiven(phrase, at, letter) -> None:
    wrong = phrase[:at] + letter + phrase[at + 1 :]
    assert contains(f"x{wrong}y", phrase)
    assert contains(phrase[:at] + phrase[at + 1 :], phrase)


def test_labels_and_questions_speak_of_the_same_things() -> None:
    assert spelled_out("Patient's DOB") == ("patient", "date", "of", "birth")
    assert spelled_out("Pay to the order of") == ("payee",)
    assert akin("smoke", "smoker")
    assert akin("allergic", "allergy")
    assert not akin("medical", "medication")
    assert not akin("opening", "closing")


def test_likeness_wants_the_words_that_name_the_thing() -> None:
    topic = ("account", "number")
    assert likeness(topic, "Account number") > 0.95
    assert likeness(topic, "ACCOUNTNUMBER") > 0.9
    assert likeness(topic, "Phone number") == 0
    assert likeness(("patient", "name"), "Name") > 0.75
    assert likeness(("closing", "balance"), "Opening balance") < 0.6
