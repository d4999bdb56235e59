"""Answers: what is released, when, and that no way of cutting a draft changes it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import Kind, Span
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.screen import AnswerScreen, Deed, DenySet, Spans, Verdict, normalise_secret
from guardedvlm.guard.screen.answer import MAX_SENTENCE
from guardedvlm.guard.screen.edits import _letters
from guardedvlm.guard.screen.normal import normalise
from guardedvlm.policy.model import Policy

LABELS = {"Maria Gonzalez": "PERSON-K"}
SECRETS = [(Kind.PERSON, "Maria Gonzalez"), (Kind.ACCOUNT, "7730419952"), (Kind.SSN, "219-09-9999")]
MakePolicy = Callable[..., Policy]

WORDS = [
    "The ", "balance ", "is ", "$1,234.50", ". ", "! ", "\n", "Maria", " ", "Gonzalez", "maria gon", "zalez ", "4111",
    "1111", " 1111 ", "4111 1111 1111 1111", "Jane Roe", "Jane ", "Roe ", "jane@example.com", "219-09-", "9999", "77",
    "30", "41", "99", "52", "PERSON-K", "[SSN]", "Dr. ", "e.g. ", "J\u200bane Roe", "４１１１", "“yes.” ", "Tom\nPoe",
    "7730419952", "½ ", "é",
]  # fmt: skip
DRAFTS = st.lists(st.sampled_from(WORDS), max_size=25).map("".join)


async def run(screen: AnswerScreen, chunks: Iterable[str]) -> tuple[str, Reason | None]:
    """What left, and why it ended."""
    released: list[str] = []
    try:
        for chunk in chunks:
            released.append(await screen.push(chunk))
        released.append(await screen.close())
    except GuardedVLMError as error:
        return "".join(released), error.reason
    return "".join(released), None


def screened(policy: Policy, spans: Spans, chunks: Iterable[str]) -> tuple[str, Reason | None]:
    return asyncio.run(run(AnswerScreen(policy, spans, DenySet(SECRETS), LABELS), chunks))


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    bounds = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@settings(max_examples=300)
@given(DRAFTS, st.sampled_from(["sentence", "whole"]), st.sampled_from(["label", "mask"]), st.data())
def test_cuts_change_nothing(
    policy: MakePolicy, spans: Spans, draft: str, release: str, personal: str, data: st.DataObject
) -> None:
    rules = policy(say={"release": release, "personal": personal})
    cuts = data.draw(st.lists(st.integers(0, len(draft)), max_size=12))
    whole, reason = screened(rules, spans, [draft])
    parts, reason_of_parts = screened(rules, spans, pieces(draft, cuts))
    assert reason == reason_of_parts
    assert parts == whole if reason is None else parts.startswith(whole)


@settings(max_examples=200)
@given(DRAFTS)
def test_no_secret_is_in_what_leaves_character_by_character(policy: MakePolicy, spans: Spans, draft: str) -> None:
    rules = policy(say={"personal": "mask"})
    released, _ = screened(rules, spans, draft)
    folded = normalise_secret(released)
    assert not [secret for secret in ("mariagonzalez", "7730419952", "219099999") if secret in folded]
    assert Kind.PERSON not in {span.kind for span in asyncio.run(look(spans, normalise(released)))}


async def look(spans: Spans, text: str) -> tuple[Span, ...]:
    return await spans(text)


def test_random_k_splits_of_a_long_answer_release_the_same(policy: MakePolicy, spans: Spans) -> None:
    chance = random.Random(5)
    draft = "".join(chance.choice(WORDS) for _ in range(400)).replace("7730419952", "")
    rules = policy(say={"personal": "label"})
    whole = screened(rules, spans, [draft])
    for k in (1, 2, 3, 7, 20, 60):
        cuts = chance.sample(range(len(draft)), k)
        released, reason = screened(rules, spans, pieces(draft, cuts))
        assert reason == whole[1]
        assert released == whole[0] if reason is None else released.startswith(whole[0])


async def answer(policy: Policy, spans: Spans, draft: str) -> str:
    screen = AnswerScreen(policy, spans, DenySet(SECRETS), LABELS)
    return await screen.push(draft) + await screen.close()


@pytest.mark.parametrize(
    ("draft", "released"),
    [
        ("The holder is MARIA GONZALEZ.", "The holder is PERSON-K."),
        ("Paid by Gonzalez, M.", "Paid by PERSON-K, M."),
        ("PERSON-K paid $5.00.", "PERSON-K paid $5.00."),
        ("Ask Jane Roe. Jane Roe knows Tom Poe.", "Ask PERSON-A. PERSON-A knows PERSON-B."),
        ("SSN 219-09-9999.", "SSN SSN-A."),
        ("The area is 10 m² – ½ of “it”.", "The area is 10 m² – ½ of “it”."),
        ("card ４１１１ １１１１ １１１１ １１１１ ok", "card PAYMENT_CARD-A ok"),
        ("It is 4111. 1111. 1111. 1111. Bye.", "It is PAYMENT_CARD-A. Bye."),
        ("4111\n1111\n1111\n1111\nend", "PAYMENT_CARD-A\nend"),
        ("It has 4,111.11 1,111.11 1,111 of them.", "It has 4,111.11 1,111.11 1,111 of them."),
        ("It is 4111.1111.1111.1111 here.", "It is PAYMENT_CARD-A here."),
        ("Call Maria. Gonzalez is out.", "Call PERSON-K is out."),
        ("", ""),
    ],
)
async def test_labels(policy: MakePolicy, spans: Spans, draft: str, released: str) -> None:
    assert await answer(policy(say={"personal": "label"}), spans, draft) == released


async def test_masks_and_the_report(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(), spans, DenySet([*SECRETS, (Kind.UNCLEARED, "ward 12 b east")]), LABELS)
    released = await screen.push("Maria Gonzalez, jane@example.com, Ward 12-B East. ") + await screen.close()
    assert released == "[PERSON], [EMAIL], [HIDDEN]. "
    assert screen.report.verdict is Verdict.MODIFY
    assert screen.report.deed is Deed.MASK
    assert screen.report.edits == ((Kind.EMAIL, 1), (Kind.PERSON, 1), (Kind.UNCLEARED, 1))


async def test_a_clean_answer_is_allowed(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(), spans, DenySet(SECRETS), LABELS)
    assert await screen.push("The total is $5.00.") + await screen.close() == "The total is $5.00."
    assert (screen.report.verdict, screen.report.deed, screen.report.edits) == (Verdict.ALLOW, Deed.NONE, ())


async def test_sentences_leave_one_behind_the_draft(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(), spans, DenySet(SECRETS), LABELS)
    assert [await screen.push(part) for part in ("One is here. ", "Two ", "is here. ", "Three")] == [
        "",
        "",
        "",
        "One is here. ",
    ]
    assert await screen.close() == "Two is here. Three"


async def test_a_whole_answer_leaves_at_close(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(say={"release": "whole"}), spans, DenySet(SECRETS), LABELS)
    assert [await screen.push("One. Two. Three. Four. ") for _ in range(3)] == [""] * 3
    assert await screen.close() == "One. Two. Three. Four. " * 3


@pytest.mark.parametrize("draft", ["Ask Jane Roe.", "It is 7730419952.", "Maria said so."])
async def test_personal_data_can_be_refused(policy: MakePolicy, spans: Spans, draft: str) -> None:
    screen = AnswerScreen(policy(say={"personal": "refuse"}), spans, DenySet(SECRETS), LABELS)
    with pytest.raises(Refused) as refusal:
        await screen.push(f"The balance is $5. {draft} It ends here.")
    assert refusal.value.reason is Reason.ANSWER_REFUSED
    assert screen.report.verdict is Verdict.DENY
    for call in (screen.push("more"), screen.close()):
        with pytest.raises(Refused):
            await call


@pytest.mark.parametrize(
    "draft",
    ["He is probably Asian. So it is.", "The woman is in her\nforties.", "The man is. Muslim.", "This is Jane Roe."],
)
async def test_forbidden_statements_are_refused(policy: MakePolicy, spans: Spans, draft: str) -> None:
    rules = policy(say={"forbid": ["ethnicity", "age", "religion", "identify_person"]})
    with pytest.raises(Refused) as refusal:
        await answer(rules, spans, draft)
    assert refusal.value.details["topic"] in {"ethnicity", "age", "religion", "identify_person"}
    assert await answer(rules, spans, "The x-ray shows an enlarged heart.")


@pytest.mark.parametrize("draft", ["Имя скрыто.", "Her name is Jоhn.", "名前"])
async def test_what_cannot_be_examined_is_refused(policy: MakePolicy, spans: Spans, draft: str) -> None:
    with pytest.raises(Refused):
        await answer(policy(), spans, draft)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_an_endless_sentence_is_refused(policy: MakePolicy, spans: Spans, size: int) -> None:
    draft = "word " * (MAX_SENTENCE // 5 + 1)
    chunks = pieces(draft, range(size, len(draft), size))
    assert await run(AnswerScreen(policy(), spans, DenySet(()), {}), chunks) == ("", Reason.ANSWER_REFUSED)
    assert await answer(policy(), spans, draft[:MAX_SENTENCE]) == draft[:MAX_SENTENCE]


async def test_a_number_spelled_over_many_sentences_is_not_completed(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(), spans, DenySet(SECRETS), LABELS)
    drafts = ("First 77. ", "Then 30. ", "Then 41. ", "Then 99. ", "Then 52. ", "Done. ", "So.")
    released, reason = await run(screen, drafts)
    assert released == "".join(drafts[:4])
    assert reason is Reason.ANSWER_REFUSED


async def test_a_recogniser_that_fails_ends_the_answer(policy: MakePolicy) -> None:
    async def failing(text: str) -> tuple[Span, ...]:
        if "Two" in text:
            raise Refused(Reason.DETECTOR_FAILED, stage="text")
        return ()

    screen = AnswerScreen(policy(), failing, DenySet(()), {})
    assert await screen.push("One is here. It ") == ""
    with pytest.raises(Refused) as failure:
        await screen.push("is. Two is here. Three")
    assert failure.value.reason is Reason.DETECTOR_FAILED
    with pytest.raises(Refused):
        await screen.close()
    assert screen.report.verdict is Verdict.DENY


async def test_spans_of_another_text_are_a_failed_detector(policy: MakePolicy) -> None:
    async def confused(text: str) -> tuple[Span, ...]:
        return (Span(0, len(text) + 1, Kind.PERSON, 1.0, "rule"),)

    with pytest.raises(Refused) as failure:
        await answer(policy(), confused, "One.")
    assert failure.value.reason is Reason.DETECTOR_FAILED


async def test_a_cancelled_screen_releases_nothing_more(policy: MakePolicy) -> None:
    async def hanging(text: str) -> tuple[Span, ...]:
        await asyncio.sleep(60)
        return ()

    screen = AnswerScreen(policy(), hanging, DenySet(()), {})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(screen.push("One is here. Two is here. Three is here. "), 0.01)
    with pytest.raises(Refused):
        await screen.push("more")


async def test_no_repr_shows_the_draft(policy: MakePolicy, spans: Spans) -> None:
    screen = AnswerScreen(policy(), spans, DenySet(SECRETS), LABELS)
    await screen.push("Maria Gonzalez is here. It is. ")
    assert "Maria" not in repr(screen) + repr(screen.report) + repr(vars(screen)["_edits"])


async def test_labels_that_run_out_become_masks(policy: MakePolicy, spans: Spans) -> None:
    taken = {f"Zork{number:04d}": label for number, label in enumerate(map("PERSON-{}".format, _letters()))}
    screen = AnswerScreen(policy(say={"personal": "label"}), spans, DenySet(()), taken)
    assert await screen.push("Ask Jane Roe.") + await screen.close() == "Ask [PERSON]."


@pytest.mark.parametrize(
    ("draft", "released"),
    [
        ("PERSON-K", "PERSON-K"),
        ("PERSON-K, [SSN].", "PERSON-K, [SSN]."),
        ("Ann PERSON-K Roe", "[PERSON]PERSON-K[PERSON]"),
        ("PERSON-K Roe", "PERSON-K[PERSON]"),
        ("PERSON-k Roe", "[PERSON]"),
    ],
)
async def test_a_span_over_a_label_takes_what_is_beside_it(policy: MakePolicy, draft: str, released: str) -> None:
    async def everything(text: str) -> tuple[Span, ...]:
        return (Span(0, len(text), Kind.PERSON, 0.5, "rule"),)

    screen = AnswerScreen(policy(), everything, DenySet(()), {})
    assert await screen.push(draft) + await screen.close() == released


async def test_a_long_sentence_that_ends_is_refused_as_well(policy: MakePolicy, spans: Spans) -> None:
    draft = "word " * (MAX_SENTENCE // 5 + 1) + "end. Next"
    for chunks in ([draft], pieces(draft, range(0, len(draft), 50))):
        assert (await run(AnswerScreen(policy(), spans, DenySet(()), {}), chunks))[1] is Reason.ANSWER_REFUSED


@pytest.mark.parametrize(
    ("draft", "released"),
    [
        ("CVV DATE-A+123d.", "CVV DATE-A+[OTHER_ID]."),
        ("Seen DATE-B+14d later.", "Seen DATE-B+14d later."),
        (r'{"payee": "J\u00fcrgen M\u00fcller"}', '{"payee": "[PERSON]"}'),
    ],
)
async def test_what_is_written_like_a_label_or_by_numbers_of_characters_is_looked_at(
    policy: MakePolicy, spans: Spans, draft: str, released: str
) -> None:
    secrets = [(Kind.OTHER_ID, "123"), (Kind.PERSON, "Jürgen Müller")]
    screen = AnswerScreen(policy(), spans, DenySet(secrets), {"2 May 2020": "DATE-B+14d"})
    assert await screen.push(draft) + await screen.close() == released
