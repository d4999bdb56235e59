"""Zone 2: CogVLM2 as a native transformers model. The checkpoint's own names, and none of its code.

The three names below load torch when they are first used; `checkpoint` alone needs transformers' configuration only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardedvlm.cogvlm2.configuration import CogVLM2Config
    from guardedvlm.cogvlm2.modeling import CogVLM2ForCausalLM
    from guardedvlm.cogvlm2.processing import CogVLM2Processor

__all__ = ["CogVLM2Config", "CogVLM2ForCausalLM", "CogVLM2Processor"]

_PLACES = {"CogVLM2Config": "configuration", "CogVLM2ForCausalLM": "modeling", "CogVLM2Processor": "processing"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(name)
    return getattr(import_module(f"guardedvlm.cogvlm2.{_PLACES[name]}"), name)
