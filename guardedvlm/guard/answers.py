"""One answer over several pages: each different picture is asked once, in the order of the pages.

"Page 2: The total is 12.00." The words before the colon are the guard's own. A page that cannot tell is left out; where
none can, the first one says so. Of a document of one page the drafts pass as they come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import pairwise

from guardedvlm.core.ports import Draft, Evidence, FinishReason
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.pages import Shown
from guardedvlm.guard.screen.normal import visible

Ask = Callable[[Shown], AsyncGenerator[Draft, None]]
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the draft, the guard's own words that stand before it on a new line ("" = none), and its pages."""

    draft: Draft
    lead: str = field(default="")
    pages: Sequence[int] = (0,)  # that it speaks of


async def joined(shown: Sequence[Shown], ask: Ask, told: Told, limit: int) -> AsyncGenerator[Piece, None]:
    """The pieces of the answer. `told` learns how many pages were asked about; `limit` is the most characters of one
    page's answer, above which an engine is not believed.

    The last one has the finish and the sum of the tokens.
    Raises Unavailable(INFERENCE_FAILED) where the engine stops without saying why, and what `ask` raises.
    """
    if sum(len(each.pages) for each in shown) == 1:
        async with aclosing(ask(shown[0])) as drafts:
            async for draft in drafts:
                if draft.finish is not None:
                    told(1)
                yield Piece(draft, pages=shown[0].pages)
        return
    answers: list[Draft] = []
    asked = 0
    for each in shown:
        answers.append(answer := await _whole(each, ask, limit))
        if _tells(answer):
            yield Piece(replace(answer, finish=None), f"{named(each.pages)}: ", each.pages)
        asked += len(each.pages)
        told(asked)
    silent = not any(map(_tells, answers))
    # Where no page says anything, the first that says why speaks for all.
    speaking = next((index for index, answer in enumerate(answers) if answer.text), 0)
    why = answers[speaking] if silent else None
    yield Piece(
        Draft(
            why.text if why else "",
            _finish(answers),
            sum(answer.input_tokens for answer in answers),
            sum(answer.output_tokens for answer in answers),
            why.evidence if why else (),
        ),
        pages=shown[speaking].pages,
    )


def _tells(answer: Draft) -> bool:
    return answer.finish is not FinishReason.CANNOT_TELL and bool(answer.text)


def _finish(answers: Sequence[Draft]) -> FinishReason:
    """LENGTH where one answer was cut off; CANNOT_TELL where each page cannot."""
    finishes = {answer.finish for answer in answers}
    if FinishReason.LENGTH in finishes:
        return FinishReason.LENGTH
    return FinishReason.STOP if FinishReason.STOP in finishes else FinishReason.CANNOT_TELL


async def _whole(shown: Shown, ask: Ask, limit: int) -> Draft:
    """All drafts about one picture as one, on one line, each place named for every page that it stands for.

    One line, so that no page's answer can write another one's.
    """
    text: list[str] = []
    length = 0
    evidence: list[Evidence] = []
    async with aclosing(ask(shown)) as drafts:
        async for draft in drafts:
            text.append(draft.text)
            length += len(draft.text)
            if length > limit:
                raise Unavailable(Reason.INFERENCE_FAILED)
            evidence += (replace(place, page=page) for page in shown.pages for place in draft.evidence)
            if draft.finish is not None:
                whole = " ".join(visible("".join(text)).split())
                return replace(draft, text=whole, evidence=tuple(evidence))
    raise Unavailable(Reason.INFERENCE_FAILED)


def named(pages: Sequence[int]) -> str:
    """Pages (from 0, in order) as a reader counts them: "Page 2", "Pages 1-3, 7"."""
    gaps = [(before, page) for before, page in pairwise(pages) if page != before + 1]
    starts, ends = [pages[0], *(page for _, page in gaps)], [*(before for before, _ in gaps), pages[-1]]
    runs = [f"{a + 1}-{b + 1}" if b > a else f"{a + 1}" for a, b in zip(starts, ends, strict=True)]
    return f"Page{'s' if len(pages) > 1 else ''} {', '.join(runs)}"
