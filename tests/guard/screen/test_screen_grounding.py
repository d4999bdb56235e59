"""Numbers, dates and identifiers of an answer are looked up in the picture; what is not there is not passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import Span
from guardedvlm.core.grounding import Ground
from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.screen import AnswerScreen, Deed, DenySet, Grounding, Verdict
from guardedvlm.guard.screen.moments import moments
from guardedvlm.guard.screen.quantities import decimals
from guardedvlm.guard.screen.spelled import spelled
from guardedvlm.policy.model import Policy

MakePolicy = Callable[..., Policy]
PAGE = (
    "TAX INVOICE INV-00123/A", "Date: 27/03/201811:40", "Total (RM) 1,234.50", "Cash 2,000.00", "Change 765.50",
    "Tel 03-1234 5678", "GST 6% 9 .00", "Dose 500mg BP 120/80", "8 pieces", "Due 2703/2019",
)  # fmt: skip


def words(lines: Sequence[str]) -> tuple[Word, ...]:
    """Words ten pixels a character, a line every thirty pixels."""
    found: list[Word] = []
    for row, line in enumerate(lines):
        left = 10
        for text in line.split():
            found.append(Word(text, Box(left, 30 * row + 5, left + 10 * len(text), 30 * row + 25)))
            left += 10 * len(text) + 8
    return tuple(found)


async def nothing(text: str) -> tuple[Span, ...]:
    return ()


def screen_of(policy: Policy, pages: Sequence[Sequence[str]] = (PAGE,), asked: Sequence[str] = ()) -> AnswerScreen:
    shown = {index: words(lines) for index, lines in enumerate(pages)}
    return AnswerScreen(policy, nothing, DenySet(()), {}, (), Grounding(shown, asked))


async def released(policy: Policy, draft: str, asked: Sequence[str] = ()) -> str:
    screen = screen_of(policy, asked=asked)
    return await screen.push(draft) + await screen.close()


@pytest.mark.parametrize(
    "draft",
    [
        "The total is 1,234.50, that is 1234.5 or 1.234,50 or RM 1 234,50.",
        "It is MYR 1234.50.",
        "It was on 27 March 2018, 2018-03-27, 03/27/2018, 27.03.18, at 11:40 AM.",
        "In March 2018. In 2018.",
        "It is due on 27 March 2019.",
        "Invoice INV-00123/A, or inv 00123 a.",
        "Call 0312345678 or 03-1234 5678.",
        "Take 0.5 g, that is 500 milligrams.",
        "The pressure is 120/80. GST is 6 % or 9.00.",
        "oh three one two three four five six seven eight",
        "Yes.",
    ],
)
async def test_what_the_picture_shows_is_kept_in_any_spelling(policy: MakePolicy, draft: str) -> None:
    screen = screen_of(policy(say={"grounding": "mask"}))
    assert await screen.push(draft) + await screen.close() == draft
    assert not [span for span in screen.grounding if span.ground is not Ground.GROUNDED]


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("The total is 1,243.50.", "The total is [UNGROUNDED]."),
        ("The total is 8.00.", "The total is [UNGROUNDED]."),
        ("It was on 28 March 2018.", "It was on [UNGROUNDED]."),
        ("It was at 11:41.", "It was at [UNGROUNDED]."),
        ("Invoice INV-00124/A.", "Invoice [UNGROUNDED]."),
        ("Account 7730419952 it is.", "Account [UNGROUNDED] it is."),
        ("Account 7730 419 952 it is.", "Account [UNGROUNDED] it is."),
        ("Account 7, 7, 3, 0, 4, 1 it is.", "Account [UNGROUNDED] it is."),
        ("Account seven seven three zero.", "Account [UNGROUNDED]."),
        ("Take 500 ml of it.", "Take [UNGROUNDED] of it."),
        ("The pressure is 120/90.", "The pressure is 120/[UNGROUNDED]."),
        ("GST is 7 %.", "GST is [UNGROUNDED]."),
        ("Code ４１７.", "Code [UNGROUNDED]."),
    ],
)
async def test_what_the_picture_does_not_show_is_masked(policy: MakePolicy, draft: str, expected: str) -> None:
    assert await released(policy(say={"grounding": "mask"}), draft) == expected


@pytest.mark.parametrize(
    ("draft", "asked"),
    [
        ("There are 3 items.", ()),
        ("1. First.\n2. Second.", ()),
        ("No, it is not 77.10.", ("Is it 77.10?",)),
        ("Of 2,000.00 and 1,234.50 the sum is 3,234.50.", ()),
        ("It is $1,234.50.", ()),
        ("DATE-A and DATE-A+14d.", ()),
    ],
)
async def test_counts_the_question_and_sums_are_only_told_of(
    policy: MakePolicy, draft: str, asked: Sequence[str]
) -> None:
    assert await released(policy(say={"grounding": "mask"}), draft, asked) == draft
    assert await released(policy(say={"grounding": "refuse"}), draft, asked) == draft


async def test_spans_lie_in_the_released_text_and_boxes_on_the_page(policy: MakePolicy) -> None:
    screen = screen_of(policy(say={"grounding": "mask"}))
    text = await screen.push("Account 7730419952. The total is 1,234.50, for 4 items.") + await screen.close()
    assert [(text[span.start : span.end], span.ground) for span in screen.grounding] == [
        ("[UNGROUNDED]", Ground.MASKED),
        ("1,234.50", Ground.GROUNDED),
        ("4", Ground.UNGROUNDED),
    ]
    (place,) = screen.grounding[1].places
    assert (place.page, place.box) == (0, next(word.box for word in words(PAGE) if word.text == "1,234.50"))
    assert (screen.report.verdict, screen.report.deed) == (Verdict.MODIFY, Deed.MASK)
    assert dict(screen.report.grounds) == {Ground.GROUNDED: 1, Ground.MASKED: 1, Ground.UNGROUNDED: 1}


async def test_each_page_is_looked_up_by_itself(policy: MakePolicy) -> None:
    screen = screen_of(policy(say={"grounding": "mask"}), pages=(["Total 12.00"], ["Total 99.00"], ["Total 99.00"]))
    text = await screen.push("The total is 12.00 or 99.00.", "Page 1: ", (0,))
    text += await screen.push("The total is 12.00 or 99.00.", "Pages 2-3: ", (1, 2)) + await screen.close()
    assert text == ("Page 1: The total is 12.00 or [UNGROUNDED].\nPages 2-3: The total is [UNGROUNDED] or 99.00.")
    found = [(text[span.start : span.end], [place.page for place in span.places]) for span in screen.grounding]
    assert found == [("12.00", [0]), ("[UNGROUNDED]", []), ("[UNGROUNDED]", []), ("99.00", [1, 2])]


async def test_an_ungrounded_claim_can_refuse_the_answer_or_be_told_of(policy: MakePolicy) -> None:
    with pytest.raises(Refused) as refusal:
        await released(policy(say={"grounding": "refuse"}), "It is 1,243.50.")
    assert refusal.value.reason is Reason.ANSWER_REFUSED
    screen = screen_of(policy(say={"grounding": "flag"}))
    assert await screen.push("It is 1,243.50.") + await screen.close() == "It is 1,243.50."
    assert [span.ground for span in screen.grounding] == [Ground.UNGROUNDED]
    assert (screen.report.verdict, screen.report.deed) == (Verdict.ALLOW, Deed.NONE)


async def test_a_screen_that_is_shown_no_picture_finds_nothing_in_it(policy: MakePolicy) -> None:
    screen = AnswerScreen(policy(say={"grounding": "mask"}), nothing, DenySet(()), {})
    assert await screen.push("It is 1,234.50.") + await screen.close() == "It is [UNGROUNDED]."


DRAFTS = st.lists(
    st.sampled_from(
        ["1,234.50", "1,243.50", " ", ". ", "\n", "27/03/2018", "28 March ", "2018", "7730", "419", "952", "-", "RM ",
         "five ", "six ", "the total ", "INV-00123/A ", "3 items ", "１２", "PERSON-A ", "12", "0/8", "0"]
    ),
    max_size=20,
).map("".join)  # fmt: skip


@settings(max_examples=200)
@given(DRAFTS, st.data())
def test_cuts_change_neither_text_nor_spans(policy: MakePolicy, draft: str, data: st.DataObject) -> None:
    async def told(chunks: Sequence[str]) -> tuple[str, object]:
        screen = screen_of(policy(say={"grounding": "mask"}))
        text = "".join([await screen.push(chunk) for chunk in chunks]) + await screen.close()
        spans = screen.grounding
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        return text, spans

    cuts = sorted(data.draw(st.lists(st.integers(0, len(draft)), max_size=8)))
    bounds = [0, *cuts, len(draft)]
    chunks = [draft[a:b] for a, b in pairwise(bounds)]
    assert asyncio.run(told(chunks)) == asyncio.run(told([draft]))


@pytest.mark.parametrize(
    ("number", "values"),
    [
        ("1,234.50", ["1234.5"]),
        ("1.234,50", ["1234.5"]),
        ("1.234", ["1.234", "1234"]),
        ("12,5", ["12.5"]),
        ("1,234,567", ["1234567"]),
        ("1'234.50", ["1234.5"]),
        ("0.500", ["0.5"]),
        ("1.2.3", []),
    ],
)
def test_a_number_says_every_value_that_it_may_have(number: str, values: list[str]) -> None:
    assert {format(value.normalize(), "f") for value in decimals(number)} == set(values)


def test_a_date_says_every_day_that_it_may_be() -> None:
    (found,) = moments("on 03/05/2024")
    assert found.days == {(2024, 5, 3), (2024, 3, 5)}
    assert [sorted(item.days) for item in moments("May 2024, 3. Mai, 20240503")] == [
        [(2024, 5, 0)],
        [(0, 5, 3)],
        [(2024, 5, 3)],
    ]


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("four one double one", "4111"),
        ("twenty-one eleven", "2111"),
        ("vier eins eins eins", "4111"),
        ("cuatro, uno. uno uno", "4111"),
        ("forty 11", ""),
        ("one of them", ""),
    ],
)
def test_digits_in_words(text: str, digits: str) -> None:
    assert "".join(number.digits for number in spelled(text)) == digits
