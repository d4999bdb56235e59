"""CogVLM2 as an ordinary transformers model: prompts and images in, logits out.

What depends on the whole prompt (where each token goes, its position) is made once and handed down; see `routing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import is_flash_attn_2_available, logging

from guardedvlm.cogvlm2 import routing, weights
from guardedvlm.cogvlm2.configuration import MODEL_TYPE, CogVLM2Config
from guardedvlm.cogvlm2.generation import CogVLM2GenerationMixin
from guardedvlm.cogvlm2.language import CogVLM2DecoderLayer, CogVLM2RMSNorm
from guardedvlm.cogvlm2.rope import CogVLM2RotaryEmbedding
from guardedvlm.cogvlm2.vision import (
    CogVLM2Adapter,
    CogVLM2PatchEmbedding,
    CogVLM2VisionTower,
    CogVLM2VisionTransformer,
)
from guardedvlm.errors import InvalidInput, Reason

logger = logging.get_logger(__name__)


class CogVLM2PreTrainedModel(PreTrainedModel):
    """What the library wants to know of the model."""

    config_class = CogVLM2Config
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["CogVLM2DecoderLayer", "CogVLM2VisionLayer", "CogVLM2PatchEmbedding"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _can_compile_fullgraph = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CogVLM2RotaryEmbedding):
            module.inv_freq.copy_(module.frequencies(module.inv_freq.device))
        elif isinstance(module, CogVLM2PatchEmbedding):
            nn.init.normal_(module.cls_embedding, std=self.config.initializer_range)
        elif isinstance(module, CogVLM2VisionTower):
            nn.init.normal_(module.boi, std=self.config.initializer_range)
            nn.init.normal_(module.eoi, std=self.config.initializer_range)

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *args: Any, **options: Any) -> str:
        """flash_attention_2 where it is installed; where not, sdpa, and one line of log says so.

        The library would look for a build on the network instead.
        """
        if attn_implementation == "flash_attention_2" and not is_flash_attn_2_available():
            logger.warning_once("flash_attention_2 is not installed here: attention runs with sdpa")
            attn_implementation = "sdpa"
        return str(super()._check_and_adjust_attn_implementation(attn_implementation, *args, **options))


@dataclass(slots=True)
class _Recorded:
    """Intermediate states, where the caller asked for them."""

    hidden_states: tuple[torch.Tensor, ...] | None
    attentions: tuple[torch.Tensor | None, ...] | None

    def add(self, hidden_states: torch.Tensor) -> None:
        if self.hidden_states is not None:
            self.hidden_states += (hidden_states,)

    def add_attention(self, probabilities: torch.Tensor | None) -> None:
        if self.attentions is not None:
            self.attentions += (probabilities,)


class CogVLM2Model(CogVLM2PreTrainedModel):
    """Everything but the head."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(CogVLM2DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.vision = CogVLM2VisionTower(config, CogVLM2VisionTransformer(config), CogVLM2Adapter(config))
        # Set once the layers' frequencies are known to be equal: then the angles are made once for all layers.
        self.layers_share_rope = False
        self.register_load_state_dict_post_hook(_forget_shared_rope)
        self.post_init()

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images, 3, side, side) -> (images, image tokens, hidden).

        Raises InvalidInput(PIXELS_SIZE) for pixels of another shape.
        """
        vision = self.config.vision_config
        expected = (vision.in_channels, vision.image_size, vision.image_size)
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != expected:
            raise InvalidInput(Reason.PIXELS_SIZE, channels=expected[0], side=expected[1])
        return self.vision(pixel_values.to(self.vision.patch_embedding.proj.weight.dtype))

    def share_rope(self) -> None:
        """Compare the layers' frequencies; where all are equal, as in every published checkpoint, make angles once."""
        frequencies = [layer.self_attn.rotary_emb.inv_freq for layer in self.layers]
        known = all(one.device.type != "meta" for one in frequencies)
        self.layers_share_rope = known and all(torch.equal(frequencies[0].cpu(), one.cpu()) for one in frequencies)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPast:
        """See `CogVLM2ForCausalLM.forward`; gives the last layer's states, normed."""
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if token_type_ids is None and pixel_values is not None and input_ids is not None:
            token_type_ids = routing.image_token_types(input_ids, attention_mask, self.config.image_token_id)
        if position_ids is None:
            position_ids = self._positions(embeds, token_type_ids, attention_mask, past_key_values)
        self._require_context(position_ids)
        if past_key_values is not None and position_ids.shape[1] > 1 and not torch.compiler.is_compiling():
            routing.remember_offset(past_key_values, position_ids)
        embeds, rows = self._with_images(embeds, token_type_ids, pixel_values)
        # Without the positions: the library would take an image's equal ones for several packed sequences.
        mask = create_causal_mask(
            config=self.config, inputs_embeds=embeds, attention_mask=attention_mask, past_key_values=past_key_values
        )
        recorded = _Recorded(() if output_hidden_states else None, () if output_attentions else None)
        hidden_states = self._through_layers(embeds, rows, position_ids, mask, past_key_values, recorded)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            past_key_values=past_key_values,
            hidden_states=recorded.hidden_states,
            attentions=recorded.attentions,
        )

    def _through_layers(
        self,
        hidden_states: torch.Tensor,
        rows: routing.Rows | None,
        position_ids: torch.Tensor,
        mask: Any,
        cache: Cache | None,
        recorded: _Recorded,
    ) -> torch.Tensor:
        rope = None
        if self.layers_share_rope:
            rope = self.layers[0].self_attn.rotary_emb(position_ids, hidden_states.dtype)
        for layer in self.layers:
            recorded.add(hidden_states)
            hidden_states, probabilities = layer(
                hidden_states, rows, rope, position_ids, attention_mask=mask, past_key_values=cache
            )
            recorded.add_attention(probabilities)
        hidden_states = self.norm(hidden_states)
        recorded.add(hidden_states)
        return hidden_states

    def _with_images(
        self, embeds: torch.Tensor, token_type_ids: torch.Tensor | None, pixel_values: torch.Tensor | None
    ) -> tuple[torch.Tensor, routing.Rows | None]:
        """The images' embeddings in their places, and where each token goes."""
        images = 0 if pixel_values is None else len(pixel_values)
        if token_type_ids is None:
            if images:
                raise InvalidInput(Reason.IMAGE_TOKENS, tokens=0, images=images)
            return embeds, None
        # A cache may hold the beginning already: the types of what is new are the last ones.
        types = token_type_ids[:, -embeds.shape[1] :]
        if types.shape != embeds.shape[:2]:
            raise InvalidInput(Reason.IMAGE_TOKENS, tokens=embeds.shape[1], types=types.shape[1])
        rows = routing.plan_rows(types, images, self.config.vision_config.image_tokens, embeds.device)
        if rows is None or pixel_values is None:
            return embeds, rows
        features = self.get_image_features(pixel_values).to(embeds.device, embeds.dtype)
        flat = embeds.flatten(0, 1).index_copy(0, rows.image, features.flatten(0, 1))
        return flat.view_as(embeds), rows

    def _positions(
        self,
        embeds: torch.Tensor,
        token_type_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        cache: Cache | None,
    ) -> torch.Tensor:
        """Positions of a call that came without; what follows a cached prompt continues from that prompt's last."""
        batch, tokens = embeds.shape[:2]
        past = 0 if cache is None else int(cache.get_seq_length())
        types = token_type_ids
        if types is None and not past:
            types = torch.zeros((batch, tokens), dtype=torch.long, device=embeds.device)
        is_flat = attention_mask is None or attention_mask.ndim == 2
        if is_flat and types is not None and types.shape[1] == past + tokens:
            return routing.position_ids(types, attention_mask)[:, -tokens:]
        if past and hasattr(cache, routing.OFFSET):
            return routing.following_positions(cache, past, tokens)
        raise InvalidInput(Reason.POSITIONS_UNKNOWN, cached=past)

    def _require_context(self, position_ids: torch.Tensor) -> None:
        """A prompt must fit into the positions that the model knows. Not asked in decoding, as it synchronises."""
        if position_ids.shape[1] == 1 or torch.compiler.is_compiling():
            return
        last, limit = int(position_ids[:, -1].max()), self.config.max_position_embeddings
        if last >= limit:
            raise InvalidInput(Reason.PROMPT_TOO_LONG, positions=last + 1, limit=limit)


def _forget_shared_rope(model: CogVLM2Model, _: Any) -> None:
    """Other weights were put in: what was known of their frequencies is not known any more."""
    model.layers_share_rope = False


class CogVLM2ForCausalLM(CogVLM2PreTrainedModel, CogVLM2GenerationMixin):
    """CogVLM2 with its head: `from_pretrained` of the published directory, `forward`, `generate`."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__(config)
        self.model = CogVLM2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **options: Any) -> Any:
        """Load a checkpoint directory: the published one as it is, one that `save_pretrained` wrote, or the int4 one.

        Every tensor of the model comes from the checkpoint and every tensor of the checkpoint goes into the model.
        `adapter` is the directory of a PEFT adapter (LoRA) that is put on top, whole too; it must be safetensors.
        Raises ConfigurationError: CHECKPOINT_* and TENSOR_* (see `checkpoint.check`), before any weight is read.
        """
        wants_report, adapter = options.pop("output_loading_info", False), options.pop("adapter", None)
        if adapter is not None:
            weights.require_adapter(Path(adapter))
        source, options = weights.prepare(pretrained_model_name_or_path, options)
        model, report = super().from_pretrained(source, *args, output_loading_info=True, **options)
        weights.require_complete(report)
        if source is None and pretrained_model_name_or_path is not None:
            model.generation_config = weights.read_generation_config(Path(pretrained_model_name_or_path), model.config)
        model.model.share_rope()
        if adapter is not None:
            weights.put_on(model, Path(adapter))
        return (model, report) if wants_report else model

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images, 3, side, side) -> (images, image tokens, hidden); raises as `CogVLM2Model.get_image_features`."""
        return self.model.get_image_features(pixel_values)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits in float32, shape (batch, tokens, vocabulary), of the last `logits_to_keep` tokens; 0 means all.

        input_ids, attention_mask, token_type_ids: (batch, tokens); types are 1 for image tokens (boi, patches, eoi) and
        are derived from the placeholder where missing. pixel_values: (images, 3, side, side), the images of the batch
        in the order of its rows; rows without an image have none. With `past_key_values`, what was given before is not
        given again, but the attention mask covers it.

        Routing and positions are derived here unless `position_ids` are given. `hidden_states` are the input of each
        layer and the normed output.

        Raises InvalidInput: IMAGE_TOKENS, PIXELS_SIZE, PROMPT_TOO_LONG, POSITIONS_UNKNOWN.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            pixel_values=pixel_values,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=self.config.output_hidden_states
            if output_hidden_states is None
            else output_hidden_states,
            output_attentions=output_attentions,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept]).float()
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **options)
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return result.to_tuple() if return_dict is False else result


# What works on any model of the library (adapters, pipelines) finds it by its configuration.
AutoConfig.register(MODEL_TYPE, CogVLM2Config, exist_ok=True)
AutoModelForCausalLM.register(CogVLM2Config, CogVLM2ForCausalLM, exist_ok=True)
