"""Pictures -> pixels: squash to the model's square, scale to 0..1, normalise as CLIP does.

PIL and numpy only. A picture that is the model's square already, as the guard's are, is not resampled: what was
verified is what the model sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from guardedvlm.errors import InvalidInput, Reason

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green, blue between 0 and 1 (github.com/openai/CLIP, clip.py)."""
IMAGE_SIZE = 1344
"""Side in pixels that the 19B model sees."""

Picture = Image.Image | npt.NDArray[np.uint8]
"""A picture, or its pixels: uint8, (height, width, 3)."""


class CogVLM2ImageProcessor(BaseImageProcessor):
    """`processor(images)["pixel_values"]`: float32, (images, 3, image_size, image_size)."""

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        image_size: int = IMAGE_SIZE,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)

    def preprocess(
        self, images: Picture | Sequence[Picture], return_tensors: str | None = None, **_: Any
    ) -> BatchFeature:
        """Pixels of one picture or of several.

        The aspect ratio is not kept. Raises InvalidInput(FORMAT_UNSUPPORTED) for anything but pictures and uint8 RGB.
        """
        pictures = [images] if isinstance(images, Image.Image | np.ndarray) else list(images)
        pixels = np.stack([self._pixels(picture) for picture in pictures])
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)

    def _pixels(self, picture: Picture) -> npt.NDArray[np.float32]:
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
                raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
            picture = Image.fromarray(picture)
        if not isinstance(picture, Image.Image):
            raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
        side = (self.image_size, self.image_size)
        squashed = picture.convert("RGB")
        if squashed.size != side:
            squashed = squashed.resize(side, Image.Resampling.BICUBIC)
        scaled = np.asarray(squashed, np.float32) / np.float32(255)
        normed = (scaled - np.asarray(self.image_mean, np.float32)) / np.asarray(self.image_std, np.float32)
        return np.ascontiguousarray(normed.transpose(2, 0, 1))
