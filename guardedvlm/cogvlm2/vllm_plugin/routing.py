"""Where a token goes, told with its position: so it holds for any part of a prompt, in any process.

vLLM keeps three channels of positions for each token of a prompt, cuts them where it cuts the prompt, skips those of a
prefix that is cached, hands them to every stage of a pipeline, and continues all three alike for what is generated. The
first channel is the position; the second is one more where the vision expert works; the third repeats the first.
Routing by token ids would not do: a model may generate the placeholder, and later stages are given no ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from guardedvlm.cogvlm2 import routing
from guardedvlm.cogvlm2.routing import Rows


def prompt_channels(tokens: Sequence[int], images: Iterable[Any], image_end: int) -> tuple[torch.Tensor, int]:
    """Positions of a whole prompt, shape (3, tokens), and what generation adds to a slot to get its position.

    `images` are the places of the images (`offset`, `length`); `image_end` is the placeholder that stands for eoi,
    which is an image's token and the language expert's. Text that holds a placeholder's token stays text.
    """
    types = torch.full((1, len(tokens)), routing.TEXT)
    for image in images:
        types[0, image.offset : image.offset + image.length] = routing.IMAGE
    positions = routing.position_ids(types)[0]
    by_vision = (types[0] == routing.IMAGE) & (torch.tensor(tokens) != image_end)
    following = int(positions[-1]) + 1 - len(tokens)
    return torch.stack((positions, positions + by_vision, positions)), following


def vision_mask(channels: torch.Tensor) -> torch.Tensor:
    """True where the vision expert works, shape (tokens,)."""
    return channels[1] != channels[0]


def plan_rows(channels: torch.Tensor) -> Rows | None:
    """Rows of a step's tokens for each expert; None where the vision expert has none. Synchronises with the host."""
    mask = vision_mask(channels)
    by_vision = mask.nonzero().flatten()
    if not len(by_vision):
        return None
    return Rows(image=by_vision, vision=by_vision, language=(~mask).nonzero().flatten())
