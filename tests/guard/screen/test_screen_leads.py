"""The guard's own words in an answer: they change nothing of what the screen sees, and the screen nothing of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.screen import AnswerScreen, DenySet, Spans
from guardedvlm.guard.screen.leads import Leads, Passage
from guardedvlm.policy.model import Policy

MakePolicy = Callable[..., Policy]
MARK = "\ue000"
LABELS = {"Maria Gonzalez": "PERSON-K"}
SECRETS = [(Kind.PERSON, "Maria Gonzalez"), (Kind.ACCOUNT, "7730419952")]
WORDS = [
    "The ", "balance ", "$1,234.50", ". ", "\n", "Maria", " ", "Gonzalez", "zalez ", "4111", " 1111 ", "1111", "Jane ",
    "Roe ", "jane@example.com", "77", "30", "41", "99", "52", "PERSON-K", "[SSN]", "Dr. ", "J\u200bane Roe", "４１１１",
    "é",
]  # fmt: skip
DRAFTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map("".join)


async def answered(policy: Policy, spans: Spans, pages: Sequence[str], lead: str = "Page {}: ") -> str:
    """What leaves of an answer that tells something on each page."""
    screen = AnswerScreen(policy, spans, DenySet(SECRETS), LABELS)
    out = [await screen.push(text, lead.format(number)) for number, text in enumerate(pages, 1)]
    return "".join([*out, await screen.close()])


@pytest.mark.parametrize(
    ("pages", "released"),
    [
        (["The total is $5.00."], "Page 1: The total is $5.00."),
        (["The total is $5.00.", "It is $7."], "Page 1: The total is $5.00.\nPage 2: It is $7."),
        (["Ask Jane Roe", "Jane Roe paid."], "Page 1: Ask PERSON-A\nPage 2: PERSON-A paid."),
        (["card 4111 1111", "1111 1111 it is"], "Page 1: card PAYMENT_CARD-A\nPage 2:  it is"),
        (["4111", "1111", "1111", "1111", "end"], "Page 1: PAYMENT_CARD-A\nPage 2: \nPage 3: \nPage 4: \nPage 5: end"),
        (["Maria", "Gonzalez", "Done."], "Page 1: PERSON-K\nPage 2: \nPage 3: Done."),
        (["x", "\u200b"], "Page 1: x\n"),
    ],
)
async def test_pages_are_one_text_to_the_screen(
    policy: MakePolicy, spans: Spans, pages: list[str], released: str
) -> None:
    assert await answered(policy(say={"personal": "label"}), spans, pages) == released


async def test_a_lead_is_not_examined(policy: MakePolicy, spans: Spans) -> None:
    assert (await answered(policy(), spans, ["Hello."], "Jane Roe, 4111 1111 1111 1111: ")).startswith("Jane Roe, 4111")


async def test_digits_of_all_pages_spell_together_and_those_of_the_leads_do_not(
    policy: MakePolicy, spans: Spans
) -> None:
    """7730419952 is hidden: its digits may not leave over five pages, nor do page numbers stand between them."""
    with pytest.raises(Refused) as refusal:
        await answered(policy(), spans, ["It has 77.", "Then 30.", "Then 41.", "Then 99.", "Then 52.", "Done.", "So."])
    assert refusal.value.reason is Reason.ANSWER_REFUSED
    # Page numbers alone would make 1234567, which is hidden here.
    screen = AnswerScreen(policy(), spans, DenySet([(Kind.ACCOUNT, "1234567")]), {})
    for number in range(1, 9):
        await screen.push("It says so.", f"Page {number}: ")
    assert "Page 8: It says so." in await screen.close()


@settings(max_examples=200)
@given(st.lists(DRAFTS, min_size=1, max_size=4), st.sampled_from(["sentence", "whole"]))
def test_without_its_leads_an_answer_is_that_of_the_pages_lines(
    policy: MakePolicy, spans: Spans, pages: list[str], release: str
) -> None:
    rules = policy(say={"release": release, "personal": "mask"})

    async def plain() -> str:
        screen = AnswerScreen(rules, spans, DenySet(SECRETS), LABELS)
        return await screen.push("\n".join(pages)) + await screen.close()

    assert outcome(answered(rules, spans, pages, MARK)) == outcome(plain())


def outcome(work: Coroutine[None, None, str]) -> str | Reason:
    """What left, without leads and the line breaks before them; or why nothing did."""
    try:
        return asyncio.run(work).replace(MARK, "").replace("\n", "")
    except GuardedVLMError as error:
        return error.reason


def told(leads: Leads, passages: list[Passage]) -> str:
    return "".join(segment.text for segment in leads.among(passages))


def test_words_within_an_edit_wait_for_its_end() -> None:
    leads = Leads()
    leads.add(4, "A: ")
    leads.add(9, "B: ")
    assert told(leads, [Passage(0, 3, "one", edited=False), Passage(3, 6, "[X]", edited=True)]) == "one[X]"
    assert told(leads, [Passage(6, 9, "two", edited=False)]) == "\nA: two"
    assert told(leads, [Passage(9, 12, "[Y]", edited=True)]) == "B: [Y]"
