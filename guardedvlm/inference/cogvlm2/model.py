"""CogVLM2 answering one prompt at a time, in the thread that calls: checkpoint, prompt, generation, words."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from transformers import (
    CompileConfig,
    DynamicCache,
    LogitsProcessorList,
    StaticCache,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.utils.logging import disable_progress_bar

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, routing
from guardedvlm.cogvlm2.checkpoint import check, check_adapter
from guardedvlm.cogvlm2.offload import Offload
from guardedvlm.core.clearance import Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Draft, FinishReason, Reading, Sampling
from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason, TimedOut
from guardedvlm.inference.cogvlm2.asked import IMAGE_POSITIONS, LEAST_TEMPERATURE, with_schema
from guardedvlm.inference.cogvlm2.constrained import Grammars
from guardedvlm.inference.cogvlm2.prefixes import PrefixCache

PREFIX_BYTES = 4 * 2**30
"""KV of 14 pictures of the 19B model: 2,307 tokens of 128 KiB are 288 MiB."""
WARM_UP_TOKENS = 2
WARM_UP_SECONDS = 600.0
COMPILE_BACKEND = "inductor"
"""torch.compile's own default."""
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Loading:
    """How a checkpoint is put into memory."""

    directory: Path
    manifest: Path | None = None  # where the checkpoint's digests stand; None: beside it
    dtype: str = "auto"  # "auto": the checkpoint's own
    device_map: str = "auto"  # "auto": the GPUs there are, else the CPU
    attention: str = "sdpa"
    offload: bool = False  # what serves the prefill alone waits in host memory (`cogvlm2.offload`)
    prefix_bytes: int = PREFIX_BYTES
    adapter: Path | None = None  # LoRA adapter on top; its manifest stands beside it
    compile_backend: str = ""  # decode as one graph that this backend of torch.compile made; "": as it comes


class Model:
    """A loaded checkpoint. Not for two threads at once."""

    def __init__(self, loading: Loading) -> None:
        """Verify the checkpoint's digests, load it and generate once.

        Raises ConfigurationError: CHECKPOINT_*, TENSOR_*, TOKENIZER_INVALID.
        """
        self.digest = _digest(loading)
        disable_progress_bar()
        self._processor = CogVLM2Processor.from_pretrained(loading.directory)
        self._model = CogVLM2ForCausalLM.from_pretrained(
            loading.directory,
            dtype=loading.dtype,
            device_map=loading.device_map if torch.cuda.is_available() and not loading.offload else None,
            attn_implementation=loading.attention,
            adapter=loading.adapter,
        ).eval()
        if loading.offload:
            Offload(self._model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self._config = self._model.config
        # The published file's limit of prompt and answer together; each call brings its own for the answer.
        self._model.generation_config.max_length = None
        self.prefixes = PrefixCache(loading.prefix_bytes)
        self._grammars = Grammars(
            self._processor.tokenizer, int(self._config.vocab_size), sorted(self._config.eos_token_ids)
        )
        self._decoding = _Compiled(self._config, loading.compile_backend) if loading.compile_backend else None
        self._warm_up()

    @property
    def side(self) -> int:
        """Pixels of the square that the model takes."""
        return int(self._config.vision_config.image_size)

    @property
    def context(self) -> int:
        """Positions that a prompt and its answer have together."""
        return int(self._config.max_position_embeddings)

    def answer(
        self,
        raster: Raster,
        question: str,
        history: tuple[Turn, ...],
        schema: str,
        sampling: Sampling,
        key: tuple[str, str],
        deadline: Deadline,
        left: threading.Event,
        say: Callable[[Draft], None],
    ) -> None:
        """Call `say` with every piece of the answer. Ends early, without a last piece, once `left` is set.

        Raises InvalidInput(PROMPT_TOO_LONG), TimedOut(DEADLINE_EXCEEDED).
        """
        asked = with_schema(question, schema)
        turns = [(turn.question, turn.answer) for turn in history]
        inputs = self._processor(images=raster, text=asked, history=turns).to(self._model.device)
        tokens = int(inputs["input_ids"].shape[1])
        room = self._room(tokens)
        words = _Words(self._processor.tokenizer, set(self._config.eos_token_ids), say)
        constraint = self._grammars.constraint(schema) if schema else None
        stops = StoppingCriteriaList([_Stop(deadline, left)])
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(sampling.seed)
            try:
                prefix = self._prefix(inputs, key)
                self._model.generate(
                    **inputs,
                    **(self._decoding.options(prefix) if self._decoding else {"past_key_values": prefix}),
                    max_new_tokens=min(sampling.max_tokens, room),
                    streamer=words,
                    stopping_criteria=stops,
                    logits_processor=LogitsProcessorList([constraint] if constraint else []),
                    pad_token_id=self._config.pad_token_id,
                    **_sampling(sampling),
                )
            except RuntimeError:  # out of memory is one: what is kept must not make the next request fail too
                self.prefixes.clear()
                raise
        if left.is_set():
            return
        if deadline.is_past and not words.ended:
            raise TimedOut(Reason.DEADLINE_EXCEEDED)
        words.finish(tokens, constraint.readings(self._processor.tokenizer) if constraint else ())

    def _room(self, tokens: int) -> int:
        """Tokens that an answer may have behind a prompt of `tokens`. Raises InvalidInput(PROMPT_TOO_LONG)."""
        image = self._config.vision_config.image_tokens
        positions = tokens - image + IMAGE_POSITIONS
        if positions >= self.context:
            raise InvalidInput(Reason.PROMPT_TOO_LONG, positions=positions, limit=self.context)
        return self.context - positions

    def _prefix(self, inputs: dict[str, Any], key: tuple[str, str]) -> Any:
        """A cache that holds beginning-of-text and the picture."""
        cache = self.prefixes.get(key)
        if cache is None:
            cache = DynamicCache(config=self._config)
            length = 1 + self._config.vision_config.image_tokens
            begun = {name: inputs[name][:, :length] for name in ("input_ids", "token_type_ids", "attention_mask")}
            self._model(**begun, pixel_values=inputs["pixel_values"], past_key_values=cache, logits_to_keep=1)
            self.prefixes.put(key, cache)
        return cache

    def _warm_up(self) -> None:
        """The first generation compiles kernels and finds out whether the weights give numbers at all."""
        grey = torch.full((self.side, self.side, 3), 128, dtype=torch.uint8).numpy()
        said: SimpleQueue[Draft] = SimpleQueue()
        sampling = Sampling(max_tokens=WARM_UP_TOKENS)
        never = threading.Event()
        self.answer(grey, "Ready?", (), "", sampling, ("", ""), Deadline.after(WARM_UP_SECONDS), never, said.put)
        self.prefixes = PrefixCache(self.prefixes.limit_bytes)


class _Compiled:
    """Decoding as one graph, which a GPU replays with one launch. It needs a cache whose tensors never move: one, as
    long as the context, which each request starts anew."""

    def __init__(self, config: Any, backend: str) -> None:
        # A picture's tokens share positions: the context holds more tokens than positions.
        tokens = config.max_position_embeddings + config.vision_config.image_tokens - IMAGE_POSITIONS
        self._cache = StaticCache(config=config, max_cache_len=tokens)
        self._config = CompileConfig(backend=backend)
        self._config._compile_all_devices = True  # the library compiles on a CPU only when told so

    def options(self, prefix: DynamicCache) -> dict[str, Any]:
        """What `generate` takes to go on from `prefix` in the one cache."""
        self._cache.reset()
        for index, layer in enumerate(prefix.layers):
            self._cache.update(layer.keys, layer.values, index)
        routing.copy_offset(prefix, self._cache)
        return {"past_key_values": self._cache, "compile_config": self._config}


def _digest(loading: Loading) -> str:
    """SHA-256 that names the weights that answer: the checkpoint's, or that of checkpoint and adapter together."""
    base = check(loading.directory, manifest=loading.manifest).digest
    if loading.adapter is None:
        return base
    return hashlib.sha256(f"{base} {check_adapter(loading.adapter)}".encode()).hexdigest()


def _sampling(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature < LEAST_TEMPERATURE:
        return {"do_sample": False, "temperature": None, "top_p": None}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}


class _Stop(StoppingCriteria):
    """Ends generation between two steps: time is up, or nobody listens any more."""

    def __init__(self, deadline: Deadline, left: threading.Event) -> None:
        self._deadline = deadline
        self._left = left

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ARG002 - the library's
        ends = self._left.is_set() or self._deadline.is_past
        return torch.full((len(input_ids),), ends, dtype=torch.bool, device=input_ids.device)


class _Words(BaseStreamer):
    """Tokens -> text, as soon as it is whole characters."""

    def __init__(self, tokenizer: Any, ends: set[int], say: Callable[[Draft], None]) -> None:
        self._tokenizer = tokenizer
        self._ends = ends
        self._say = say
        self._pending: list[int] = []
        self._is_prompt = True
        self._count = 0
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, then each token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        for token in value.flatten().tolist():
            self._take(token)

    def _take(self, token: int) -> None:
        self._count += 1
        if token in self._ends:
            self.ended = True
            return
        self._pending.append(token)
        text = self._text()
        # A character of several bytes may be cut by a token's end.
        if text and not text.endswith(_REPLACEMENT):
            self._pending.clear()
            self._say(Draft(text))

    def end(self) -> None:
        """Nothing: `finish` says the last piece, when it is known why there are no more."""

    def finish(self, input_tokens: int, readings: tuple[Reading, ...] = ()) -> None:
        """Say the last piece."""
        finish = FinishReason.STOP if self.ended else FinishReason.LENGTH
        self._say(Draft(self._text(), finish, input_tokens, self._count, readings=readings))

    def _text(self) -> str:
        text: str = self._tokenizer.decode(self._pending, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
