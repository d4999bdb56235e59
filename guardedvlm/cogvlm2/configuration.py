"""What a CogVLM2 checkpoint says about itself, in the published file's own key names.

The published `config.json` has no `model_type` and leaves out three numbers that upstream's code supplies: 8 KV heads,
untied embeddings, RoPE theta 500000. Here they are defaults, so that the file loads as it is. What it says about code
(`auto_map`) is dropped: nothing of the checkpoint is ever run.
"""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from guardedvlm.errors import ConfigurationError, Reason

MODEL_TYPE = "cogvlm2"
TEMPLATES = ("chat", "vqa", "base")
"""Values of `template_version`: how a question becomes a prompt."""
ROPE_MODES = ("upstream", "fp32")
"""upstream: angles in the model's dtype from the checkpoint's `inv_freq`; fp32: the usual angles, from theta."""
POOLING = 2
"""Side of the square of patches that the tower's convolution joins into one image token."""
IMAGE_MARKERS = 2
"""boi and eoi, which stand around an image's patches and are tokens too."""


class CogVLM2VisionConfig(PreTrainedConfig):
    """Sizes of the vision tower; the defaults are the 19B model's."""

    model_type = "cogvlm2_vision"
    base_config_key = "vision_config"

    dropout_prob: float = 0.0
    hidden_act: str = "gelu"
    in_channels: int = 3
    num_hidden_layers: int = 63
    hidden_size: int = 1792
    patch_size: int = 14
    num_heads: int = 16
    intermediate_size: int = 15360
    layer_norm_eps: float = 1e-6
    num_positions: int = 9217
    image_size: int = 1344
    initializer_range: float = 0.02

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of the image, before pooling."""
        return self.image_size // self.patch_size

    @property
    def image_tokens(self) -> int:
        """Tokens of one image: its pooled patches and the two markers."""
        return (self.patches_per_side // POOLING) ** 2 + IMAGE_MARKERS

    def check_integrity(self) -> None:
        """Raise ConfigurationError(CHECKPOINT_CONFIG) where the sizes contradict one another."""
        _require_positive(self, ("num_hidden_layers", "hidden_size", "num_heads", "intermediate_size"))
        _require_positive(self, ("in_channels", "patch_size", "image_size", "num_positions"))
        _require_small(self, ("layer_norm_eps",))
        side = self.patches_per_side
        _require(self.image_size == side * self.patch_size, "image_size is no multiple of patch_size")
        _require(side >= POOLING and side % POOLING == 0, "the grid of patches cannot be pooled in squares of two")
        _require(self.num_positions == side * side + 1, "num_positions is not the patches and one class token")
        _require(self.hidden_size % self.num_heads == 0, "num_heads does not divide hidden_size")
        _require(self.dropout_prob == 0.0, "dropout_prob is not 0, which upstream's tower alone supports")


class CogVLM2Config(PreTrainedConfig):
    """Sizes of the language model, its special tokens, and the vision tower's configuration.

    `num_multi_query_heads` is upstream's name for the KV heads. Raises ConfigurationError(CHECKPOINT_CONFIG) for sizes
    that contradict one another.
    """

    model_type = MODEL_TYPE
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CogVLM2VisionConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    # Caches ask for `num_key_value_heads`.
    attribute_map: ClassVar[dict[str, str]] = {"num_key_value_heads": "num_multi_query_heads"}

    vision_config: Any = None
    vocab_size: int = 128256
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_multi_query_heads: int = 8
    hidden_act: str = "silu"
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    rope_theta: float = 500000.0
    rope_mode: str = "upstream"
    template_version: str = "chat"
    bos_token_id: int | None = 128000
    eos_token_id: Any = None
    pad_token_id: int | None = 128002
    tie_word_embeddings: bool = False
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill what depends on other fields; forget what names code."""
        kwargs.pop("auto_map", None)
        if self.vision_config is None:
            self.vision_config = CogVLM2VisionConfig()
        elif isinstance(self.vision_config, dict):
            self.vision_config = CogVLM2VisionConfig(**self.vision_config)
        if self.eos_token_id is None:
            self.eos_token_id = [128001, 128009]
        super().__post_init__(**kwargs)
        self.check_integrity()

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def image_token_id(self) -> int:
        """Placeholder of an image's tokens: upstream uses the padding token."""
        return int(self.pad_token_id or 0)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every token that ends an answer."""
        return tuple(self.eos_token_id) if isinstance(self.eos_token_id, list | tuple) else (int(self.eos_token_id),)

    def check_integrity(self) -> None:
        """Raise ConfigurationError(CHECKPOINT_CONFIG) where the sizes contradict one another."""
        _require_positive(self, ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"))
        _require_positive(self, ("num_attention_heads", "num_multi_query_heads", "max_position_embeddings"))
        _require_small(self, ("rms_norm_eps",))
        heads, kv_heads = self.num_attention_heads, self.num_multi_query_heads
        _require(self.hidden_size % heads == 0, "num_attention_heads does not divide hidden_size")
        _require(heads % kv_heads == 0, "num_multi_query_heads does not divide num_attention_heads")
        _require(self.head_dim % 2 == 0, "the head size is odd, so it cannot be rotated")
        _require(not self.tie_word_embeddings, "tie_word_embeddings is set, and this model has its own lm_head")
        _require(self.template_version in TEMPLATES, "template_version is none of chat, vqa, base")
        _require(self.rope_mode in ROPE_MODES, "rope_mode is neither upstream nor fp32")
        special = (self.bos_token_id, self.pad_token_id, *self.eos_token_ids)
        fits = all(isinstance(token, int) and 0 <= token < self.vocab_size for token in special)
        _require(fits, "a special token is outside the vocabulary")
        self.vision_config.check_integrity()


def _require(holds: bool, explanation: str) -> None:
    if not holds:
        raise ConfigurationError(Reason.CHECKPOINT_CONFIG, place="config.json", explanation=explanation)


def _require_positive(config: PreTrainedConfig, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        # True is an int to Python, and no size.
        _require(type(value) is int and value > 0, f"{name} is no positive integer")


def _require_small(config: PreTrainedConfig, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        _require(type(value) in (int, float) and 0 <= value < 1, f"{name} is no number between 0 and 1")
