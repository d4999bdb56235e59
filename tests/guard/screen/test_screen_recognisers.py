"""The screens with the real recognisers instead of the small ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.detector import PersonalData
from guardedvlm.guard.screen import AnswerScreen, DenySet, Spans, screen_prompt
from guardedvlm.policy.model import Policy

pytestmark = pytest.mark.slow
MakePolicy = Callable[..., Policy]


@pytest.fixture(scope="module")
def recognisers() -> Spans:
    personal = PersonalData()

    async def spans(text: str) -> tuple[Span, ...]:
        return personal.spans(text)

    return spans


@pytest.mark.parametrize(
    "question",
    [
        "What is the total amount due?",
        "How much was the rent?",
        "Which allergies does the form list?",
        "What is PERSON-A's closing balance?",
        "Is the heart enlarged?",
    ],
)
async def test_a_plain_question_passes_unchanged(policy: MakePolicy, recognisers: Spans, question: str) -> None:
    assert (await screen_prompt(question, (), "", policy(), recognisers, {})).question == question


@pytest.mark.parametrize(
    ("question", "gone"),
    [
        ("Did Margaret Ellison pay 4111 1111 1111 1111?", ["Margaret", "Ellison", "4111"]),
        ("Is 219-09-9999 the SSN on the form?", ["219", "9999"]),
        ("Was the bill sent to j.doe@example.com or (212) 555-0142?", ["j.doe", "0142"]),
    ],
)
async def test_personal_data_does_not_pass(
    policy: MakePolicy, recognisers: Spans, question: str, gone: list[str]
) -> None:
    cleared = (await screen_prompt(question, (), "", policy(), recognisers, {})).question
    assert not [piece for piece in gone if piece in cleared]


@pytest.mark.parametrize("step", [1, 5, 10_000])
async def test_an_answer_is_the_same_in_any_pieces(policy: MakePolicy, recognisers: Spans, step: int) -> None:
    draft = "The holder is Margaret Ellison. Her card is 4111. 1111. 1111. 1111. The total is $5.00.\nPERSON-K paid."
    screen = AnswerScreen(policy(), recognisers, DenySet([(Kind.PERSON, "Ellison")]), {"Kay Roe": "PERSON-K"})
    released = "".join([await screen.push(draft[at : at + step]) for at in range(0, len(draft), step)])
    released += await screen.close()
    assert released == ("The holder is [PERSON]. Her card is [PAYMENT_CARD]. The total is $5.00.\nPERSON-K paid.")
