"""The independent look for faces: MTCNN on the pixels that will be sent. It shares no weights with the detector.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks"
(arXiv 1604.02878); nets and cascade of `facenet-pytorch` 2.6.0 (MIT). The one module of the guard that loads torch.
Landmarks that the cascade returns are dropped where they arrive.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.reading.session import keep_freed_memory
from guardedvlm.reading.weights import package_folder, pinned_file

PACKAGE = "facenet_pytorch"
WEIGHTS = {
    "data/pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "data/rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "data/onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
NAME = "mtcnn"

THRESHOLDS = (0.6, 0.7, 0.9)
"""Of the three nets. The first two are the package's own; the last one keeps print and patterns out."""
MIN_FACE = 20
"""Smallest face side that is searched, in pixels: the package's own value."""
SMALLEST_SIDE = MIN_FACE
"""A picture with a shorter side is enlarged to it: the cascade needs one whole window."""
FACTOR = 0.709
"""Steps of the scale pyramid: half the area a step (arXiv 1604.02878)."""
UPRIGHT_SIDE = 2560
"""Longest side looked at upright, in pixels: the largest geometry that an engine of ours declares."""
TURNED_SIDE = 960
"""Longest side looked at at 90, 180 and 270 degrees."""

Boxes = npt.NDArray[np.float32]


class FaceVerifier:
    """Finds visible faces in a redacted raster."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        paths = [pinned_file(PACKAGE, name, digest) for name, digest in WEIGHTS.items()]
        with _without_torchvision():
            from facenet_pytorch.models import mtcnn
        self._nets = []
        for make, path in zip((mtcnn.PNet, mtcnn.RNet, mtcnn.ONet), paths, strict=True):
            net = make(pretrained=False)
            net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            self._nets.append(net.eval())
        self._cascade = mtcnn.detect_face

    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file in use, by package and name."""
        return {f"{PACKAGE}/{name}": digest for name, digest in WEIGHTS.items()}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """Faces of an (H, W, 3) uint8 RGB raster at 0, 90, 180 and 270 degrees; boxes inside it."""
        size = Size.of(raster)
        return tuple(
            Finding(Kind.FACE, box, min(1.0, float(score)), NAME)
            for turns in range(4)
            for *corners, score in self._turned(raster, turns)
            if (box := Box.around([(corners[0], corners[1]), (corners[2], corners[3])]).clipped(size)) is not None
        )

    def _turned(self, raster: Raster, turns: int) -> Boxes:
        """Boxes (x0, y0, x1, y1, score) of faces that are upright after `turns` quarter turns of the raster."""
        height, width = raster.shape[:2]
        scale = min(1.0, (TURNED_SIDE if turns else UPRIGHT_SIDE) / max(height, width))
        target = (max(SMALLEST_SIDE, round(width * scale)), max(SMALLEST_SIDE, round(height * scale)))
        view = raster if target == (width, height) else cv2.resize(raster, target, interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1, score = self._faces(np.rot90(view, turns)).T
        w, h = target
        corners = (
            (x0, y0, x1, y1),
            (w - y1, x0, w - y0, x1),
            (w - x1, h - y1, w - x0, h - y0),
            (y0, h - x1, y1, h - x0),
        )[turns]
        fx, fy = width / w, height / h
        return np.stack([corners[0] * fx, corners[1] * fy, corners[2] * fx, corners[3] * fy, score], axis=1)

    def _faces(self, view: Raster) -> Boxes:
        with torch.inference_mode():
            found, _ = self._cascade(np.ascontiguousarray(view), MIN_FACE, *self._nets, THRESHOLDS, FACTOR, "cpu")
        return np.asarray(found[0], np.float32).reshape(-1, 5)


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Let `facenet_pytorch.models.mtcnn` be imported where torchvision is not installed.

    It needs two names of torchvision: `batched_nms`, given here, and `to_tensor`, which only cuts faces out. Its own
    `__init__` would load a face recogniser and its download code: a bare package of the same name stands in for it.
    """
    package = ModuleType(PACKAGE)
    package.__path__ = [str(package_folder(PACKAGE))]
    names = ("torchvision", "torchvision.transforms", "torchvision.ops", "torchvision.ops.boxes")
    stand_ins = {name: ModuleType(name) for name in names}
    stand_ins["torchvision.transforms"].functional = None  # type: ignore[attr-defined]
    stand_ins["torchvision.ops.boxes"].batched_nms = _batched_nms  # type: ignore[attr-defined]
    stand_ins[PACKAGE] = package
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _batched_nms(boxes: Any, scores: Any, groups: Any, threshold: float) -> Any:
    """Indices of the boxes to keep, the surest first: torchvision.ops.boxes.batched_nms for one picture.

    `groups` (the picture of each box) is always the same picture here.
    """
    x0, y0, x1, y1 = boxes.numpy().T
    areas = (x1 - x0) * (y1 - y0)
    order = np.argsort(-scores.numpy(), kind="stable")
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        wide = np.minimum(x1[best], x1[rest]) - np.maximum(x0[best], x0[rest])
        high = np.minimum(y1[best], y1[rest]) - np.maximum(y0[best], y0[rest])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        order = rest[common <= threshold * (areas[best] + areas[rest] - common)]
    return torch.as_tensor(np.array(kept, np.int64), device=groups.device)
