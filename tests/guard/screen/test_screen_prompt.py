"""Prompts: what is refused, in which order, and what the model gets to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.clearance import ClearedPrompt, Turn
from guardedvlm.core.finding import Kind, Span
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.screen import AnswerScreen, Deed, DenySet, PromptScreen, Spans, Verdict, screen_prompt
from guardedvlm.policy.model import Policy

LABELS = {"Maria Gonzalez": "PERSON-K", "Springfieldton": "ADDRESS-B"}
MakePolicy = Callable[..., Policy]


async def clear(
    rules: Policy, spans: Spans, question: str, history: tuple[Turn, ...] = (), schema: str = ""
) -> ClearedPrompt:
    return await screen_prompt(question, history, schema, rules, spans, LABELS, DenySet([(Kind.ACCOUNT, "7730419952")]))


@pytest.mark.parametrize(
    ("question", "reads"),
    [
        ("What is the total?", "What is the total?"),
        ("  What is the\u200b total?\n", "What is the total?"),
        ("Ｗｈａｔ is the total?", "What is the total?"),
        ("Did Maria GONZALEZ pay?", "Did PERSON-K pay?"),
        ("Did Ms Gonzalez pay?", "Did Ms PERSON-K pay?"),
        ("Did Jane Roe pay Jane Roe or Tom Poe?", "Did PERSON-A pay PERSON-A or PERSON-B?"),
        ("Is the house in springfieldton?", "Is the house in ADDRESS-B?"),
        ("Is 7730419952 overdrawn?", "Is ACCOUNT-A overdrawn?"),
        ("Is the card 4111. 1111. 1111. 1111 shown?", "Is the card PAYMENT_CARD-A shown?"),
        ("What did PERSON-K pay?", "What did PERSON-K pay?"),
        ("Was it more than $5.00?", "Was it more than $5.00?"),
        ("IBAN?", "IBAN?"),
    ],
)
async def test_labels(policy: MakePolicy, spans: Spans, question: str, reads: str) -> None:
    assert (await clear(policy(), spans, question)).question == reads


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", Reason.QUESTION_EMPTY),
        (" \n\t\u200b\u202e", Reason.QUESTION_EMPTY),
        ("a" * 2_001, Reason.QUESTION_TOO_LONG),
        ("\ufdfa" * 200, Reason.QUESTION_TOO_LONG),
        ("Who is this? " * 100_000, Reason.QUESTION_TOO_LONG),
        ("Какова сумма?", Reason.QUESTION_LANGUAGE),
        ("Ποιο είναι το σύνολο;", Reason.QUESTION_LANGUAGE),
        ("合計はいくらですか", Reason.QUESTION_LANGUAGE),
        ("ما هو المجموع؟", Reason.QUESTION_LANGUAGE),
        ("Whо is the tоtal?", Reason.QUESTION_LANGUAGE),
        ("siapa orang ini?", Reason.QUESTION_LANGUAGE),
        ("Bu kişi kim?", Reason.QUESTION_LANGUAGE),
        ("Wer ist diese Person?", Reason.QUESTION_LANGUAGE),
        ("Qui est cette personne ?", Reason.QUESTION_LANGUAGE),
        ("Kim jest ta osoba na zdjęciu?", Reason.QUESTION_LANGUAGE),
        ("Who is this person?", Reason.QUESTION_FORBIDDEN),
        ("Who\u200b is\u00ad this ＰＥＲＳＯＮ?", Reason.QUESTION_FORBIDDEN),
        ("Is this Jane Roe?", Reason.QUESTION_FORBIDDEN),
        ("What is under the black box?", Reason.QUESTION_FORBIDDEN),
    ],
)
async def test_refusals(policy: MakePolicy, spans: Spans, question: str, reason: Reason) -> None:
    with pytest.raises(GuardedVLMError) as refusal:
        await clear(policy(), spans, question)
    assert refusal.value.reason is reason
    assert not question.strip() or question not in str(refusal.value)


async def test_a_language_of_the_policy_is_examined(policy: MakePolicy, spans: Spans) -> None:
    rules = policy(text={"languages": ("en", "de", "fr", "es")})
    assert (await clear(rules, spans, "Wie hoch ist die Gesamtsumme?")).question
    with pytest.raises(Refused) as refusal:
        await clear(rules, spans, "Wer ist diese Person?")
    assert refusal.value.details == {"topic": "identify_person"}


async def test_a_topic_that_the_policy_allows_passes(policy: MakePolicy, spans: Spans) -> None:
    assert (await clear(policy(), spans, "Is the patient diabetic?")).question
    assert (await clear(policy(ask={"forbid": []}), spans, "Who is this person?")).question


async def test_history_is_screened_as_the_question_is(policy: MakePolicy, spans: Spans) -> None:
    prompt = await clear(policy(), spans, "And Tom Poe?", (Turn("Did Jane Roe pay?", "Jane\u200b Roe paid $5.00."),))
    assert prompt.history == (Turn("Did PERSON-A pay?", "PERSON-A paid $5.00."),)
    assert prompt.question == "And PERSON-B?"


@pytest.mark.parametrize(
    "turn",
    [Turn("What is it?", "The man is Asian."), Turn("Who is", "Go on."), Turn("Total?", "Guess the name.")],
)
async def test_history_cannot_carry_what_a_question_may_not(policy: MakePolicy, spans: Spans, turn: Turn) -> None:
    with pytest.raises(Refused) as refusal:
        await clear(policy(), spans, "this person?", (turn,))
    assert refusal.value.reason is Reason.QUESTION_FORBIDDEN


async def test_the_length_counts_everything(policy: MakePolicy, spans: Spans) -> None:
    rules = policy(ask={"max_chars": 30})
    await clear(rules, spans, "a" * 10, (Turn("b" * 5, "c" * 5),), "d" * 10)
    with pytest.raises(GuardedVLMError) as refusal:
        await clear(rules, spans, "a" * 10, (Turn("b" * 5, "c" * 5),), "d" * 11)
    assert refusal.value.reason is Reason.QUESTION_TOO_LONG


async def test_personal_data_can_be_masked_or_refused(policy: MakePolicy, spans: Spans) -> None:
    masked = await clear(policy(ask={"personal": "mask"}), spans, "Did Maria Gonzalez pay Jane Roe?")
    assert masked.question == "Did [PERSON] pay [PERSON]?"
    with pytest.raises(Refused) as refusal:
        await clear(policy(ask={"personal": "refuse"}), spans, "Did Jane Roe pay?")
    assert refusal.value.reason is Reason.QUESTION_PERSONAL
    assert refusal.value.details == {"kind": "PERSON"}


async def test_the_schema_stays_json(policy: MakePolicy, spans: Spans) -> None:
    schema = {
        "type": "object",
        "properties": {"total": {"type": "number", "maximum": 5, "exclusive": True, "default": None}},
        "examples": ["Jane Roe", "4111\\u200b111111111111", 4111111111111111],
        "Tom Poe": "\u0041",
    }
    prompt = await clear(policy(), spans, "Fill this in for the page.", (), json.dumps(schema))
    read: dict[str, Any] = json.loads(prompt.schema)
    assert read["properties"] == schema["properties"]
    assert "PERSON-A" in read["examples"]
    assert read["examples"][2] == "PAYMENT_CARD-A"
    assert "Tom Poe" not in read


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ('{"properties": {"ethnicity": {}}}', Reason.QUESTION_FORBIDDEN),
        ('{"properties": {"age": {}}}', Reason.QUESTION_FORBIDDEN),
        ('{"hairColor": ""}', Reason.QUESTION_FORBIDDEN),
        ('{"description": "who is\\u200b this person"}', Reason.QUESTION_FORBIDDEN),
        ('{"name": "\\u0418\\u0432\\u0430\\u043d"}', Reason.QUESTION_LANGUAGE),
        ("[" * 40 + "]" * 40, Reason.FIELD_INVALID),
        ("[" * 1_900, Reason.FIELD_INVALID),
        ('{"Jane Roe": 1, "PERSON-A": 2}', Reason.QUESTION_PERSONAL),
    ],
)
async def test_a_schema_is_refused(policy: MakePolicy, spans: Spans, schema: str, reason: Reason) -> None:
    with pytest.raises(GuardedVLMError) as refusal:
        await clear(policy(), spans, "What does the page say?", (), schema)
    assert refusal.value.reason is reason


async def test_a_number_of_a_schema_is_exempt_only_as_a_size(policy: MakePolicy, spans: Spans) -> None:
    """What is hidden is no value that a field may be compared with."""
    hidden = DenySet([(Kind.OTHER_ID, "123")])
    schema = json.dumps({"const": 123, "maximum": 123, "enum": [123], "default": 123, "maxItems": 123, "minLength": 57})
    prompt = await screen_prompt("What is it?", (), schema, policy(), spans, {"123": "OTHER_ID-A"}, hidden)
    label = "OTHER_ID-A"
    expected = {"const": label, "maximum": label, "enum": [label], "default": label, "maxItems": 123, "minLength": 57}
    assert json.loads(prompt.schema) == expected


@pytest.mark.parametrize("schema", ['{"name": "", "total": 0}', "total: number", '["date"]'])
async def test_a_schema_passes(policy: MakePolicy, spans: Spans, schema: str) -> None:
    assert (await clear(policy(), spans, "What does the page say?", (), schema)).schema


async def test_the_report_counts_and_shows_nothing(policy: MakePolicy, spans: Spans) -> None:
    screen = PromptScreen(policy(), spans, LABELS)
    prompt = await screen.clear("Did Jane Roe pay Maria Gonzalez?")
    assert (screen.report.verdict, screen.report.deed) == (Verdict.MODIFY, Deed.LABEL)
    assert screen.report.edits == ((Kind.PERSON, 2),)
    assert "Roe" not in repr(prompt) + repr(screen.report)
    refused = PromptScreen(policy(), spans, LABELS)
    with pytest.raises(Refused):
        await refused.clear("Who is this?")
    assert (refused.report.verdict, refused.report.deed) == (Verdict.DENY, Deed.REFUSE)
    assert refused.report.topics == ("identify_person",)


async def test_a_recogniser_that_fails_refuses(policy: MakePolicy) -> None:
    async def failing(text: str) -> tuple[Span, ...]:
        raise Refused(Reason.DETECTOR_FAILED, stage="text")

    with pytest.raises(Refused) as failure:
        await clear(policy(), failing, "What is the total?")
    assert failure.value.reason is Reason.DETECTOR_FAILED


@settings(max_examples=100)
@given(before=st.text(" abc.,\n", max_size=10), after=st.text(" abc.,\n", max_size=10))
async def test_a_hidden_value_reaches_no_model(policy: MakePolicy, spans: Spans, before: str, after: str) -> None:
    rules = policy(ask={"forbid": []})  # letters at random may sound like anything
    prompt = await clear(rules, spans, f"total {before} 7730419952 {after} and")
    assert "7730419952" not in prompt.question
    assert "ACCOUNT-A" in prompt.question


async def test_a_label_in_the_picture_without_known_text_is_given_to_nobody(policy: MakePolicy, spans: Spans) -> None:
    taken = frozenset({"PERSON-A", "PERSON-K"})
    screen = PromptScreen(policy(), spans, LABELS, None, taken)
    assert (await screen.clear("Did Jane Roe pay?")).question == "Did PERSON-B pay?"
    answer = AnswerScreen(policy(say={"personal": "label"}), spans, DenySet([]), LABELS, taken)
    assert await answer.push("Jane Roe paid.") + await answer.close() == "PERSON-B paid."


async def test_a_label_of_the_question_is_nobody_elses_in_the_answer(policy: MakePolicy, spans: Spans) -> None:
    """ "Did Jane Roe pay?" makes her PERSON-A; an answer that names Tom Poe may not call him so."""
    rules = policy(say={"personal": "label"})
    screen = PromptScreen(rules, spans, LABELS)
    assert (await screen.clear("Did Jane Roe pay Maria Gonzalez?")).question == "Did PERSON-A pay PERSON-K?"
    assert screen.dealt == {"janeroe": "PERSON-A"}
    answer = AnswerScreen(rules, spans, DenySet([]), {**LABELS, **screen.dealt})
    released = await answer.push("PERSON-A paid. Tom Poe paid. Jane Roe paid, too.") + await answer.close()
    assert released == "PERSON-A paid. PERSON-B paid. PERSON-A paid, too."
