"""Which parameter takes which tensor of the checkpoint. Names are the checkpoint's, with two exceptions."""

from __future__ import annotations

_TOWER = "model.vision."
"""vLLM wants a tower beside the language model, not in it."""
_HALVES = {"gate_proj.weight": 0, "up_proj.weight": 1, "dense_h_to_4h.weight": 1}
"""Last parts of the names of tensors that are halves of one parameter here, and which half."""


def parameter_of(name: str) -> tuple[str, int | None]:
    """The parameter that takes a tensor of the checkpoint, and which half of it; None for all."""
    own = name.removeprefix("model.") if name.startswith(_TOWER) else name
    for ending, half in _HALVES.items():
        if own.endswith("." + ending):
            return own.removesuffix(ending) + "gate_up_proj.weight", half
    return own, None
