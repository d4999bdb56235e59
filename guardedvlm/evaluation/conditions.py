"""What may have happened to a photograph: turned, far away, dark, out of focus, on a page, cut out, squashed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Box, Raster


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A picture, the boxes of its faces that count, and of other faces, which are no false finds."""

    raster: Raster
    faces: tuple[Box, ...]
    others: tuple[Box, ...] = ()


Change = Callable[[Photo], list[Photo]]


def moved(photo: Photo, matrix: npt.NDArray[Any], width: int, height: int) -> Photo:
    """The photo under a 2 x 3 affine map, with the boxes around its faces' corners."""
    raster = cv2.warpAffine(
        photo.raster, matrix, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )

    def there(face: Box) -> Box:
        corners = [(x, y, 1.0) for x in (face.x0, face.x1) for y in (face.y0, face.y1)]
        around = Box.around([tuple(matrix @ corner) for corner in corners])
        if not matrix[0, 1]:
            return around
        # The box around a turned square is larger than the face: keep its middle, of the face's own area.
        side = round((face.area * abs(np.linalg.det(matrix[:, :2]))) ** 0.5)
        return around.grown(-max(0, (around.width - side) // 2))

    return Photo(np.ascontiguousarray(raster), tuple(map(there, photo.faces)), tuple(map(there, photo.others)))


def turned(degrees: float) -> Change:
    """Turned about its centre; nothing is cut off."""

    def change(photo: Photo) -> list[Photo]:
        height, width = photo.raster.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        c, s = abs(matrix[0, 0]), abs(matrix[0, 1])
        w, h = round(width * c + height * s), round(width * s + height * c)
        matrix[:, 2] += ((w - width) / 2, (h - height) / 2)
        return [moved(photo, matrix, w, h)]

    return change


def face_side(pixels: int, on_page: bool = False) -> Change:
    """Scaled so that one face after the other has this side; only faces of about that size count.

    `on_page`: the photo lies on a white page of 1654 x 2339 px (A4 at 200 dpi).
    """

    def change(photo: Photo) -> list[Photo]:
        made = []
        height, width = photo.raster.shape[:2]
        for side in sorted({face.width for face in photo.faces}):
            scale = pixels / side
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            raster = cv2.resize(photo.raster, small, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            left, top = 0, 0
            if on_page:
                left, top = 200, 300
                page = np.full((2339, 1654, 3), 255, np.uint8)
                raster = raster[: 2339 - top, : 1654 - left]
                page[top : top + raster.shape[0], left : left + raster.shape[1]] = raster
                raster = page

            def placed(face: Box, scale: float = scale, dx: int = left, dy: int = top) -> Box:
                return Box.around(
                    [(face.x0 * scale + dx, face.y0 * scale + dy), (face.x1 * scale + dx, face.y1 * scale + dy)]
                )

            faces = tuple(placed(face) for face in photo.faces if face.width == side)
            others = tuple(placed(face) for face in photo.faces if face.width != side)
            made.append(Photo(np.ascontiguousarray(raster), faces, others))
        return made

    return change


def in_turn(first: Change, second: Change) -> Change:
    """One change after the other."""
    return lambda photo: [made for between in first(photo) for made in second(between)]


def toned(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Change:
    """Pixel values changed, geometry kept."""
    return lambda photo: [Photo(np.asarray(change(photo.raster), np.uint8), photo.faces)]


def cut_out(margin: float) -> Change:
    """One picture a face that shows little else: a portrait, with `margin` face sides around."""

    def change(photo: Photo) -> list[Photo]:
        made = []
        whole = Box(0, 0, photo.raster.shape[1], photo.raster.shape[0])
        for face in photo.faces:
            grow = round(margin * face.width)
            part = face.grown(grow).intersection(whole)
            assert part is not None
            at = Box(face.x0 - part.x0, face.y0 - part.y0, face.x1 - part.x0, face.y1 - part.y0)
            raster = np.ascontiguousarray(photo.raster[part.y0 : part.y1, part.x0 : part.x1])
            made.append(Photo(raster, (at,)))
        return made

    return change


def enlarged(factor: float) -> Change:
    """Scaled up: large pages with large faces."""

    def change(photo: Photo) -> list[Photo]:
        height, width = photo.raster.shape[:2]
        matrix = np.array([[factor, 0, 0], [0, factor, 0]], float)
        return [moved(photo, matrix, round(width * factor), round(height * factor))]

    return change


def squashed(photo: Photo) -> list[Photo]:
    """1344 x 1344 px, aspect ratio not kept: what CogVLM2 sees."""
    height, width = photo.raster.shape[:2]
    return [moved(photo, np.array([[1344 / width, 0, 0], [0, 1344 / height, 0]]), 1344, 1344)]


CONDITIONS: Mapping[str, Change] = {
    "upright": lambda photo: [photo],
    **{f"turned {degrees}": turned(degrees) for degrees in (90, 180, 270, 20, 45)},
    **{f"face {pixels} px": face_side(pixels) for pixels in (12, 16, 20, 24)},
    **{f"face {pixels} px on A4": face_side(pixels, on_page=True) for pixels in (12, 24, 64)},
    **{
        f"face {pixels} px on A4, {degrees}": in_turn(face_side(pixels, on_page=True), turned(degrees))
        for pixels in (40, 64)
        for degrees in (90, 180)
    },
    "dark": toned(lambda pixels: pixels * 0.25),
    "blur": toned(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2.5)),
    "grey": toned(lambda pixels: cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)),
    "noise": toned(lambda p: np.clip(p + np.random.default_rng(1).normal(0, 25, p.shape), 0, 255)),
    "portrait, wide": cut_out(0.5),
    "portrait, tight": cut_out(0.05),
    "4x larger": enlarged(4),
    "1344 squash": squashed,
}
