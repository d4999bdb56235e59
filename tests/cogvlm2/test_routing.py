"""Experts and positions, against sequences written out by hand and against a slow oracle, a token at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.cogvlm2 import routing
from guardedvlm.errors import InvalidInput, Reason

PROMPT = torch.tensor([[0, 1, 1, 1, 1, 1, 0, 0]])


def test_eoi_is_language():
    assert routing.vision_expert_mask(PROMPT).tolist() == [[False, True, True, True, True, False, False, False]]


def test_an_image_costs_three_positions():
    assert routing.position_ids(PROMPT).tolist() == [[0, 1, 2, 2, 2, 3, 4, 5]]


def test_left_padding_begins_at_one():
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), PROMPT), dim=1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]])
    assert routing.position_ids(padded, mask).tolist() == [[0, 0, 0, 1, 2, 3, 3, 3, 4, 5, 6]]
    assert routing.vision_expert_mask(padded)[0, 3:].tolist() == routing.vision_expert_mask(PROMPT)[0].tolist()


def test_text_counts():
    assert routing.position_ids(torch.zeros(1, 5, dtype=torch.long)).tolist() == [[0, 1, 2, 3, 4]]


def test_the_last_token_of_a_part_would_go_wrong():
    """Why mask and positions are made of the whole prompt: its first half, alone, ends its image early."""
    whole, half = routing.vision_expert_mask(PROMPT), routing.vision_expert_mask(PROMPT[:, :4])
    assert whole[0, 3]
    assert not half[0, 3]
    assert routing.position_ids(PROMPT)[0, 3] != routing.position_ids(PROMPT[:, :4])[0, 3]


@st.composite
def prompts(draw):
    """A row of types, as upstream builds them, with padding on the left."""
    padding = draw(st.integers(0, 4))
    image = [1] * draw(st.sampled_from([0, 3, 4, 7]))
    row = [0, *image, *[0] * draw(st.integers(1, 5))]
    return [0] * padding + row, [0] * padding + [1] * len(row)


@given(prompts())
def test_positions_a_token_at_a_time(prompt):
    types, mask = prompt
    expected, position = [], -1
    for index, (kind, real) in enumerate(zip(types, mask, strict=True)):
        inner = kind == 1 and types[index - 1] == 1 and types[index + 1] == 1
        if index == 0:
            position = 0
        elif real and not (inner and types[index - 2] == 1):
            position += 1
        expected.append(position)
    assert routing.position_ids(torch.tensor([types]), torch.tensor([mask])).tolist() == [expected]


def test_rows_are_a_partition():
    types = torch.cat((PROMPT, torch.zeros_like(PROMPT), PROMPT))
    rows = routing.plan_rows(types, 2, 5, "cpu")
    assert sorted([*rows.vision.tolist(), *rows.language.tolist()]) == list(range(24))
    assert rows.image.tolist() == [1, 2, 3, 4, 5, 17, 18, 19, 20, 21]
    assert rows.vision.tolist() == [1, 2, 3, 4, 17, 18, 19, 20]
    assert routing.plan_rows(torch.zeros_like(PROMPT), 0, 5, "cpu") is None


@pytest.mark.parametrize(
    ("types", "images"),
    [(PROMPT, 0), (PROMPT, 2), (torch.zeros_like(PROMPT), 1), (torch.tensor([[0, 1, 1, 0, 1, 1, 1, 0]]), 1)],
)
def test_types_must_fit_the_images(types, images):
    with pytest.raises(InvalidInput) as error:
        routing.plan_rows(types, images, 5, "cpu")
    assert error.value.reason is Reason.IMAGE_TOKENS


def test_padding_and_placeholder_are_one_token():
    ids = torch.tensor([[9, 9, 1, 9, 9, 9, 2]])
    mask = routing.mask_of_left_padding(ids, 9)
    assert mask.tolist() == [[0, 0, 1, 1, 1, 1, 1]]
    assert routing.image_token_types(ids, mask, 9).tolist() == [[0, 0, 0, 1, 1, 1, 0]]
