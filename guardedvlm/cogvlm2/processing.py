"""Questions, histories and pictures -> what the model takes.

A prompt is beginning-of-text, the image's tokens, the text. Rows of a batch are padded on the left: upstream's batch
demo pads on the right, and its shorter rows come out wrong. Control tokens that stand in a question are text, not
control: a question cannot end its own turn or pose as an image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerFast, ProcessorMixin

from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.cogvlm2.headers import CONFIG, read_json
from guardedvlm.cogvlm2.image_processing import CogVLM2ImageProcessor, Picture
from guardedvlm.cogvlm2.prompts import render
from guardedvlm.cogvlm2.routing import IMAGE, TEXT
from guardedvlm.cogvlm2.weights import read_config
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason

TOKENIZER = "tokenizer.json"


class CogVLM2Processor(ProcessorMixin):
    """`processor(images=..., text=..., history=...)` gives input_ids, token_type_ids, attention_mask, pixel_values."""

    def __init__(self, image_processor: Any, tokenizer: Any, config: CogVLM2Config | None = None) -> None:
        super().__init__(image_processor, tokenizer)
        self.config = config or CogVLM2Config()
        tokenizer.padding_side = "left"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **_: Any) -> CogVLM2Processor:
        """The processor of a checkpoint directory: its `config.json` and `tokenizer.json` say all.

        Raises ConfigurationError: CHECKPOINT_MISSING, CHECKPOINT_CONFIG, TOKENIZER_INVALID.
        """
        directory = Path(pretrained_model_name_or_path)
        config = read_config(directory)
        image_processor = CogVLM2ImageProcessor(image_size=config.vision_config.image_size)
        return cls(image_processor, read_tokenizer(directory, config), config)

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **_: Any) -> list[str]:
        """Write what `from_pretrained` reads, and return the paths. A configuration that is there, the model's, stays.

        Raises ConfigurationError(OUTPUT_UNWRITABLE), also for `push_to_hub`: nothing leaves this machine.
        """
        directory = Path(save_directory)
        if push_to_hub:
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation="a processor is written to a directory")
        directory.mkdir(parents=True, exist_ok=True)
        self.tokenizer.backend_tokenizer.save(str(directory / TOKENIZER))
        if not (directory / CONFIG).exists():
            self.config.save_pretrained(directory)
        return [str(directory / CONFIG), str(directory / TOKENIZER)]

    def __call__(
        self,
        images: Picture | Sequence[Picture | None] | None = None,
        text: str | Sequence[str] = "",
        history: Sequence[Any] | None = None,
        template: str | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """One prompt, or a batch where `text` is a sequence.

        images: a picture, or for a batch one or None for each row. history: (question, answer) turns; for a batch a
        sequence of them for each row. template: "chat", "vqa" or "base"; the checkpoint's own where it is None.

        Gives input_ids, token_type_ids, attention_mask, each int64 (batch, tokens), and with images pixel_values,
        float32 (images, 3, side, side). Raises InvalidInput: FIELD_INVALID where the rows do not match,
        FORMAT_UNSUPPORTED for what is no picture.
        """
        queries = [text] if isinstance(text, str) else list(text)
        pictures = _rows(images, queries, is_one=isinstance(text, str) and not isinstance(images, list | tuple))
        histories = _rows(history, queries, is_one=isinstance(text, str))
        name = template or self.config.template_version
        prompts = [render(query, turns or (), name) for query, turns in zip(queries, histories, strict=True)]
        data: dict[str, Any] = self._padded(
            [self._row(prompt, picture is not None) for prompt, picture in zip(prompts, pictures, strict=True)]
        )
        present = [picture for picture in pictures if picture is not None]
        if present:
            data["pixel_values"] = self.image_processor(present)["pixel_values"]
        return BatchFeature(data, tensor_type=return_tensors)

    def encode_text(self, text: str) -> list[int]:
        """Tokens of plain text, without any special one."""
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return cast(list[int], encoded["input_ids"])

    def _row(self, prompt: str, has_image: bool) -> tuple[list[int], list[int]]:
        """Tokens and their types."""
        words = self.encode_text(prompt)
        image = self.config.vision_config.image_tokens if has_image else 0
        ids = [cast(int, self.config.bos_token_id), *[self.config.image_token_id] * image, *words]
        return ids, [TEXT, *[IMAGE] * image, *[TEXT] * len(words)]

    def _padded(self, rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, list[list[int]]]:
        longest = max(len(ids) for ids, _ in rows)
        pads = [longest - len(ids) for ids, _ in rows]
        return {
            "input_ids": [[self.config.image_token_id] * pad + ids for pad, (ids, _) in zip(pads, rows, strict=True)],
            "token_type_ids": [[TEXT] * pad + types for pad, (_, types) in zip(pads, rows, strict=True)],
            "attention_mask": [[0] * pad + [1] * (longest - pad) for pad in pads],
        }


def read_tokenizer(directory: Path, config: CogVLM2Config) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint directory, from `tokenizer.json` alone.

    Raises ConfigurationError(CHECKPOINT_MISSING), and TOKENIZER_INVALID where the file is damaged, where a special
    token of the configuration is none of the tokenizer's, or where it has more tokens than the model.
    """
    content = read_json(directory / TOKENIZER, Reason.TOKENIZER_INVALID)
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / TOKENIZER))
        # The library numbers special tokens anew where the file's numbers leave a gap.
        keeps_ids = all(tokenizer.convert_tokens_to_ids(one["content"]) == one["id"] for one in content["added_tokens"])
    except Exception:  # the library raises bare Exception for a file that it cannot read
        raise ConfigurationError(Reason.TOKENIZER_INVALID, place=TOKENIZER) from None
    if not keeps_ids:
        raise ConfigurationError(Reason.TOKENIZER_INVALID, place=TOKENIZER, explanation="special tokens are missing")
    added = tokenizer.added_tokens_decoder
    special = {"bos_token": config.bos_token_id, "eos_token": config.eos_token_ids[0], "pad_token": config.pad_token_id}
    for token in (*special.values(), *config.eos_token_ids):
        if token not in added or not added[token].special:
            explanation = f"token {token} of config.json is no special token"
            raise ConfigurationError(Reason.TOKENIZER_INVALID, place=TOKENIZER, explanation=explanation)
    if len(tokenizer) > config.vocab_size:
        raise ConfigurationError(
            Reason.TOKENIZER_INVALID, place=TOKENIZER, explanation="more tokens than the model has"
        )
    tokenizer.add_special_tokens({name: added[token] for name, token in special.items() if token is not None})
    tokenizer.model_max_length = config.max_position_embeddings
    return tokenizer


def _rows(value: Any, queries: Sequence[str], is_one: bool) -> list[Any]:
    """A value for each row of the batch."""
    if value is None:
        return [None] * len(queries)
    rows = [value] if is_one or not isinstance(value, list | tuple) else list(value)
    if len(rows) != len(queries) or not queries:
        raise InvalidInput(Reason.FIELD_INVALID, rows=len(rows), questions=len(queries))
    return rows


AutoProcessor.register(CogVLM2Config, CogVLM2Processor, exist_ok=True)
