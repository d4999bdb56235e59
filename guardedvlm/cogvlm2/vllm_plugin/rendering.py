"""Prompts of `vllm serve`'s own API: the checkpoint's template, and text that stays text.

The published tokenizer's chat template is Llama 3's, not this model's. And vLLM reads control tokens in a rendered
prompt as control: here a question cannot end its own turn or pose as an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing
from vllm.renderers.base import BaseRenderer
from vllm.renderers.chat_utils import parse_chat_messages, parse_chat_messages_async
from vllm.renderers.params import ChatParams
from vllm.tokenizers.hf import get_cached_tokenizer
from vllm.tokenizers.protocol import TokenizerLike

from guardedvlm.cogvlm2.processing import read_tokenizer
from guardedvlm.cogvlm2.prompts import Turn, render
from guardedvlm.cogvlm2.weights import read_config

FORMAT = "string"
"""How vLLM hands the text of a message over."""


class CogVLM2Tokenizer(TokenizerLike):
    """The checkpoint's tokenizer: beginning-of-text comes first, and no text gives any other control token."""

    @classmethod
    def from_pretrained(cls, path_or_repo_id: str | Path, *_: Any, **__: Any) -> Any:
        """Read `tokenizer.json`; raises ConfigurationError(CHECKPOINT_MISSING, CHECKPOINT_CONFIG, TOKENIZER_INVALID)"""
        directory = Path(path_or_repo_id)
        tokenizer = read_tokenizer(directory, read_config(directory))
        tokenizer.name_or_path = str(directory)
        tokenizer.split_special_tokens = True
        bos = str(tokenizer.bos_token)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
        return get_cached_tokenizer(tokenizer)


class CogVLM2Renderer(BaseRenderer[Any]):
    """Messages -> tokens, as the native model's processor makes them of a question and a history."""

    def render_messages(self, messages: list[Any], params: ChatParams) -> tuple[list[Any], Any]:
        """The conversation and its prompt. Raises ValueError, a bad request, for roles that the template has not."""
        conversation, pictures, ids = parse_chat_messages(
            messages, self.model_config, content_format=FORMAT, media_io_kwargs=params.media_io_kwargs
        )
        return conversation, self._prompt(conversation, params, pictures, ids)

    async def render_messages_async(self, messages: list[Any], params: ChatParams) -> tuple[list[Any], Any]:
        """As `render_messages`."""
        conversation, pictures, ids = await parse_chat_messages_async(
            messages, self.model_config, content_format=FORMAT, media_io_kwargs=params.media_io_kwargs
        )
        return conversation, self._prompt(conversation, params, pictures, ids)

    def _prompt(self, conversation: list[Any], params: ChatParams, pictures: Any, ids: Any) -> dict[str, Any]:
        template = params.chat_template_kwargs.get("template") or self.model_config.hf_config.template_version
        query, history = split_turns(conversation)
        text = render(query, history, template)
        prompt: dict[str, Any] = {"prompt_token_ids": self.get_tokenizer().encode(text)}
        if pictures is not None:
            prompt["multi_modal_data"] = pictures
        if ids is not None:
            prompt["multi_modal_uuids"] = ids
        return prompt


def split_turns(conversation: list[Any]) -> tuple[str, list[Turn]]:
    """The question at hand and the turns before it. Raises ValueError unless user and assistant alternate, user last.

    The model knows no system prompt and no tools.
    """
    roles = [message["role"] for message in conversation]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise ValueError("messages must alternate between user and assistant, beginning and ending with user")
    texts = [message.get("content") or "" for message in conversation]
    return texts[-1], list(zip(texts[:-1:2], texts[1:-1:2], strict=True))
