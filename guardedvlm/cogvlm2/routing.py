"""Which expert a token goes to, and at which position it stands: both from the token types of the whole prompt.

Both look at a token's neighbours, so they are computed once for a prompt and sliced. Computed on a part of it, the
part's last image token would be taken for the end of the image.

Types are 1 for an image's tokens (boi, patches, eoi) and 0 for text; what is generated is always text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from guardedvlm.errors import InvalidInput, Reason

TEXT, IMAGE = 0, 1
"""Token types."""
OFFSET = "cogvlm2_position_offset"
"""Attribute of a cache: position minus cache slot of whatever follows its prompt, shape (batch, 1)."""


class Rows(NamedTuple):
    """Where a batch's tokens go, as indices into its (batch * tokens) rows, each of shape (count,).

    A NamedTuple, because hooks that place layers on several devices move the tensors of tuples along.
    """

    image: torch.Tensor
    """Rows whose embedding comes from the vision tower: boi, patches, eoi."""
    vision: torch.Tensor
    """Rows of the vision experts: boi and patches."""
    language: torch.Tensor
    """All others: eoi, text, padding."""


def vision_expert_mask(token_type_ids: torch.Tensor) -> torch.Tensor:
    """True where the vision expert works, shape (batch, tokens).

    That is where an image token is followed by another: boi and the patches. eoi is not, and neither is the last token
    of the sequence, whatever its type.
    """
    is_image = token_type_ids == IMAGE
    mask = torch.zeros_like(is_image)
    mask[:, :-1] = is_image[:, :-1] & is_image[:, 1:]
    return mask


def position_ids(token_type_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
    """Positions for the rotary embedding, shape (batch, tokens), of whole prompts.

    Every token takes the next position, but the patches of an image share one: an image costs three positions, for boi,
    patches and eoi. Padding takes none. The first column is position 0 whatever stands there: with padding on the left
    it is padding, and the prompt itself then begins at 1. That is upstream's own quirk, and its weights do not mind.
    """
    is_image = token_type_ids == IMAGE
    is_real = torch.ones_like(is_image) if attention_mask is None else attention_mask.bool()
    is_image = is_image & is_real
    between = torch.zeros_like(is_image)
    # A patch has an image token on both sides; boi and eoi have one on one side.
    between[:, 1:-1] = is_image[:, :-2] & is_image[:, 1:-1] & is_image[:, 2:]
    steps = is_real.clone()
    steps[:, 1:] &= ~(between[:, 1:] & between[:, :-1])
    steps[:, 0] = False
    return steps.long().cumsum(dim=-1)


def plan_rows(token_type_ids: torch.Tensor, images: int, image_tokens: int, device: Any) -> Rows | None:
    """Where the tokens of a prompt go; None when all are text, so that no layer gathers anything.

    Reads the types on the host: one synchronisation a prompt, and none a layer. `images` is the number of images that
    came with the prompt, `image_tokens` the tokens that each is. Raises InvalidInput(IMAGE_TOKENS) where the types ask
    for another number, or where an image is cut.
    """
    types = token_type_ids.cpu()
    is_image = types == IMAGE
    wanted = int(is_image.sum())
    if wanted != images * image_tokens:
        raise InvalidInput(Reason.IMAGE_TOKENS, tokens=wanted, expected=images * image_tokens)
    if wanted == 0:
        return None
    by_vision = vision_expert_mask(types)
    if int((is_image & ~by_vision).sum()) != images:
        raise InvalidInput(Reason.IMAGE_TOKENS, images=images)
    rows = (is_image, by_vision, ~by_vision)
    return Rows(*(mask.flatten().nonzero().flatten().to(device) for mask in rows))


def image_token_types(input_ids: torch.Tensor, attention_mask: torch.Tensor | None, placeholder: int) -> torch.Tensor:
    """Types of a prompt that came without: the placeholder is an image's, unless the mask says that it is padding."""
    is_image = input_ids == placeholder
    return (is_image if attention_mask is None else is_image & attention_mask.bool()).long()


def mask_of_left_padding(input_ids: torch.Tensor, padding: int) -> torch.Tensor:
    """Attention mask of prompts that came without: what precedes the first other token is padding.

    Padding and the image placeholder are one token, but an image always stands after the beginning-of-text token.
    """
    return ((input_ids != padding).long().cumsum(dim=-1) > 0).long()


def remember_offset(cache: Any, positions: torch.Tensor) -> None:
    """Note on a cache how far positions, shape (batch, tokens), of what it is about to take lag behind its slots."""
    slots = cache.get_seq_length() + positions.shape[1]
    setattr(cache, OFFSET, positions[:, -1:] + 1 - slots)


def copy_offset(source: Any, target: Any) -> None:
    """Note on a cache what `remember_offset` noted on the one that it was filled from."""
    setattr(target, OFFSET, getattr(source, OFFSET))


def following_positions(cache: object, past: int, tokens: int) -> torch.Tensor:
    """Positions of `tokens` tokens of text after `past` cached ones, shape (batch, tokens)."""
    offset: torch.Tensor = getattr(cache, OFFSET)
    return torch.arange(past, past + tokens, device=offset.device) + offset
