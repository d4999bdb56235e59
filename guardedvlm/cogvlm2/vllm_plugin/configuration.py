"""The checkpoint's configuration as vLLM wants to read it."""

from __future__ import annotations

from typing import Any, ClassVar

from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.errors import ConfigurationError, Reason


class CogVLM2VllmConfig(CogVLM2Config):
    """`CogVLM2Config`, and what tells vLLM that the model makes a prompt's positions itself.

    Raises ConfigurationError(CHECKPOINT_CONFIG) as the class above does, and where no token is free to stand for the
    end of an image.
    """

    model_type = "cogvlm2_vllm"
    ignore_keys_at_rope_validation: ClassVar[set[str]] = {"mrope_section"}

    rope_parameters: Any = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill what depends on other fields."""
        super().__post_init__(**kwargs)
        # vLLM keeps three channels of positions for a model that names sections. The angles are all the first one's.
        half = self.head_dim // 2
        self.rope_parameters = {
            "rope_type": "default",
            "rope_theta": self.rope_theta,
            "mrope_section": [half, 0, 0],
        }
        if self.image_end_token_id >= self.vocab_size or self.image_end_token_id in self.eos_token_ids:
            raise ConfigurationError(
                Reason.CHECKPOINT_CONFIG, place="config.json", explanation="no token is free for the end of an image"
            )

    @property
    def image_end_token_id(self) -> int:
        """Placeholder of an image's last token, which the language expert takes: the token after the image's own.

        In Llama 3's tokenizer that is another reserved one, which no text gives.
        """
        return self.image_token_id + 1
