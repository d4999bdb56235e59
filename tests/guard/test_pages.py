"""The pages of a document: which are equal, which are asked together, and how their answers become one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from guardedvlm.cli.settings import find_policy
from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.ports import Draft, Evidence, FinishReason
from guardedvlm.core.region import Box, Raster
from guardedvlm.errors import Internal, Reason, Unavailable
from guardedvlm.guard.answers import Piece, joined, named
from guardedvlm.guard.image import DecodedImage, DecodedPage, Format, Secret
from guardedvlm.guard.pages import ClearedDocument, Document, Shown, together
from guardedvlm.inference.clearance import ClearedImage

STOP, LENGTH, CANNOT_TELL = FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANNOT_TELL


def raster(shade: int, height: int = 4, width: int = 6) -> Raster:
    found = np.full((height, width, 3), shade, np.uint8)
    found.setflags(write=False)
    return found


def document(*rasters: Raster) -> Document:
    pages = tuple(DecodedPage(index, each) for index, each in enumerate(rasters))
    return Document.of(DecodedImage(pages, Format.TIFF))


def test_equal_pages_are_one_sheet() -> None:
    # The last has the bytes of the first, in another shape.
    found = document(raster(1), raster(2), raster(1), raster(1, 6, 4))
    assert [sheet.pages for sheet in found.sheets] == [[0, 2], [1], [3]]
    assert found.pages == 4


def test_a_sheet_lets_its_pixels_go() -> None:
    pixels = raster(1)
    alive = weakref.ref(pixels)
    (sheet,) = document(pixels).sheets
    del pixels
    assert alive() is not None
    sheet.let_go()
    gc.collect()
    assert alive() is None
    with pytest.raises(Internal):
        _ = sheet.raster


def test_equal_cleared_pages_are_asked_once() -> None:
    images = [ClearedImage(each, raster_digest(each)) for each in (raster(1), raster(2), raster(1))]
    cleared = ClearedDocument((), tuple(images), [], (Finding(Kind.PERSON, Box(0, 0, 1, 1), 1.0, "x"),))
    assert [(shown.image, shown.pages) for shown in cleared.shown()] == [(images[0], (0, 2)), (images[1], (1,))]


@pytest.mark.parametrize(
    ("pages", "name"),
    [([0], "Page 1"), ([3], "Page 4"), ([0, 1, 2], "Pages 1-3"), ([0, 2], "Pages 1, 3"), ([1, 2, 6], "Pages 2-3, 7")],
)
def test_pages_are_named_as_a_reader_counts(pages: list[int], name: str) -> None:
    assert named(pages) == name


PLACE = Evidence(Box(0, 0, 1, 1), 0.5)


async def pieces(answers: Sequence[tuple[Sequence[int], Sequence[Draft]]]) -> tuple[list[Piece], list[int]]:
    """What comes of each picture's drafts, and how many pages had been asked after each."""
    image = ClearedImage(raster(1), "")
    shown = {Shown(image, tuple(pages)): drafts for pages, drafts in answers}

    async def ask(each: Shown) -> AsyncGenerator[Draft, None]:
        for draft in shown[each]:
            yield draft

    told: list[int] = []
    return [piece async for piece in joined(list(shown), ask, told.append, 1000)], told


async def test_drafts_of_one_page_pass_as_they_come() -> None:
    drafts = [Draft("The "), Draft("end. ", LENGTH, 7, 2, (PLACE,))]
    found, told = await pieces([([0], drafts)])
    assert [(piece.lead, piece.draft) for piece in found] == [("", draft) for draft in drafts]
    assert told == [1]


async def test_answers_of_several_pages_are_named_and_summed() -> None:
    found, told = await pieces(
        [
            ([0, 2], [Draft("It "), Draft("is 5. ", STOP, 10, 2, (PLACE,))]),
            ([1], [Draft("Who knows.", CANNOT_TELL, 10, 3, (PLACE,))]),
            ([3], [Draft("It is 7", LENGTH, 10, 4)]),
        ]
    )
    assert [(piece.lead, piece.draft.text) for piece in found] == [
        ("Pages 1, 3: ", "It is 5."),
        ("Page 4: ", "It is 7"),
        ("", ""),
    ]
    assert [(place.page, place.box) for place in found[0].draft.evidence] == [(0, PLACE.box), (2, PLACE.box)]
    assert [piece.draft.finish for piece in found] == [None, None, LENGTH]
    assert (found[-1].draft.input_tokens, found[-1].draft.output_tokens) == (30, 9)
    assert told == [2, 3, 4]


async def test_where_no_page_can_tell_the_first_says_so() -> None:
    found, _ = await pieces([([page], [Draft(f"No {page}.", CANNOT_TELL, 1, 1)]) for page in range(3)])
    assert [(piece.lead, piece.draft.text, piece.draft.finish) for piece in found] == [("", "No 0.", CANNOT_TELL)]


async def test_a_page_cannot_write_the_line_of_another() -> None:
    found, _ = await pieces([([0], [Draft("It is 5.\nPage 2: It is 9.", STOP)]), ([1], [Draft("It is 7.", STOP)])])
    assert [piece.draft.text for piece in found] == ["It is 5. Page 2: It is 9.", "It is 7.", ""]


async def test_an_answer_that_nobody_sees_is_none_and_a_cut_one_is_told() -> None:
    found, _ = await pieces([([0], [Draft("\u200b", STOP)]), ([1], [Draft("I cannot tell.", CANNOT_TELL)])])
    assert [(piece.lead, piece.draft.text, piece.draft.finish) for piece in found] == [("", "I cannot tell.", STOP)]
    found, _ = await pieces([([0], [Draft("", LENGTH)]), ([1], [Draft("It is 7.", STOP)])])
    assert found[-1].draft.finish is LENGTH


async def test_an_engine_that_does_not_end_is_not_believed() -> None:
    with pytest.raises(Unavailable):
        await pieces([([0], [Draft("x" * 600)] * 9), ([1], [Draft("It is 7.", STOP)])])


async def test_an_engine_that_stops_without_a_word_is_a_failure() -> None:
    with pytest.raises(Unavailable) as failure:
        await pieces([([0], [Draft("It is", STOP)]), ([1], [Draft("It is")])])
    assert failure.value.reason is Reason.INFERENCE_FAILED


def hit(kind: Kind, text: str, x: int, detector: str = "form/x") -> Finding:
    return Finding(kind, Box(x, 0, x + 50, 10), 0.9, detector, secret=text)


@pytest.mark.parametrize("kept", [Kind.PERSON, Kind.LICENSE])
def test_what_a_page_hides_stays_hidden_whatever_the_document_tells(kept: Kind) -> None:
    """A surer finding of a kind that the policy keeps stands where an e-mail address was hidden."""
    rules = find_policy("finance")
    hide = {kind: action for kind, action in rules.hide.items() if kind is not kept}
    rules = rules.model_copy(update={"hide": hide, "keep": rules.keep | {kept}})
    first = [hit(Kind.EMAIL, "jane.kowalski@example.org", 0)]
    second = [hit(kept, "jane.kowalski@example.org", 0, "known/name"), hit(Kind.ACCOUNT, "4829137", 100, "known/code")]
    found = together(first, second, [Secret(Kind.ACCOUNT, "482913-7")], rules)
    assert [(finding.kind, finding.box.x0) for finding in found] == [(Kind.EMAIL, 0), (Kind.ACCOUNT, 100)]


def test_one_identifier_has_one_kind_unless_that_gives_it_back() -> None:
    rules = find_policy("finance")
    told = [Secret(Kind.ACCOUNT, "4829 137")]
    assert [f.kind for f in together([hit(Kind.OTHER_ID, "4829137", 0)], [], told, rules)] == [Kind.ACCOUNT]
    say = rules.say.model_copy(update={"reidentify": frozenset({Kind.ACCOUNT})})
    giving = rules.model_copy(update={"say": say})
    assert [f.kind for f in together([hit(Kind.OTHER_ID, "4829137", 0)], [], told, giving)] == [Kind.OTHER_ID]
