"""A fill belongs to the label that it stands beside, and to no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind
from guardedvlm.core.ports import FinishReason
from guardedvlm.inference.reader.answer import CANNOT_TELL
from guardedvlm.inference.reader.hidden import longest_run, pseudonym


@pytest.mark.parametrize(
    ("page", "question", "text"),
    [
        ("Account type: Savings\nAccount number: ########", "What is the account number?",
         "The value of “Account number” is hidden by policy."),
        ("Account type: Savings\nAccount number: #####", "What is the account type?",
         "The account type is Savings."),
        ("Name: ######   Visit: 04/05/2024", "What is the name?", "The value of “Name” is hidden by policy."),
        ("Name:          Member: ########", "What is the name?", CANNOT_TELL),
        ("Name: Smith\nMRN: ########", "What is the name?", "The name is Smith."),
        ("Diagnosis\n###########", "What is the diagnosis?", "The value of “Diagnosis” is hidden by policy."),
        ("Diagnosis\nMRN: #######", "What is the diagnosis?", CANNOT_TELL),
    ],
)  # fmt: skip
def test_whose_value_is_hidden(ask, page, question, text) -> None:
    found = ask(page, question)
    assert found.text == text
    assert (found.finish is FinishReason.STOP) is ("hidden" not in text and "cannot" not in text)


def test_the_boxes_of_a_hidden_value_are_its_label_and_its_fill(ask) -> None:
    label, fill = ask("MRN: ########", "What is the MRN?").evidence
    assert label.box.x1 <= fill.box.x0
    assert fill.box.width == 80


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("form", ["{}-A", "{} - QX", "({}-ZZZ)"])
def test_the_guards_labels_are_known_for_every_kind(kind, form) -> None:
    assert pseudonym(form.format(kind.value)) is not None
    assert pseudonym(form.format(kind.value.replace("_", " "))) is not None


@pytest.mark.parametrize("text", ["PERSON", "PERSON-1", "A-PERSON", "X-RAY", "VITAMIN-B", "PERSON-Abc"])
def test_other_words_are_no_labels(text) -> None:
    assert pseudonym(text) is None


@given(st.lists(st.booleans(), max_size=60))
def test_the_longest_run_is_one_and_none_is_longer(flags) -> None:
    start, length = longest_run(np.array(flags, bool))
    assert all(flags[start : start + length])
    assert "1" * (length + 1) not in "".join("1" if flag else "0" for flag in flags)
