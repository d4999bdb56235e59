"""A labelled folder: pictures and what is on them.

Three layouts, told apart by what lies in the folder:

    labels.jsonl     ours; one JSON object a line: {"file": "a.png", "labels": [...], "conditions": {"light": "dark"}}
                     a label: {"box": [x0, y0, x1, y1], "text": "Jane Roe", "kind": "PERSON", "name": "holder"};
                     pixels of page "page" (0 where it is left out), half-open; kind null or absent: about nobody;
                     text and name may be left out, too
    box/ img/ key/   ICDAR 2019 SROIE: lines as CSV (x1,y1,...,x4,y4,text), fields as JSON; the address is personal
    boxes.xml        dlib's imglab: boxes around faces
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box
from guardedvlm.errors import ConfigurationError, Reason

LABELS, SROIE, IMGLAB = "labels.jsonl", "box", "boxes.xml"
LEAST_NAMED = 4
"""Letters and digits from which a line is part of the address or the company of a receipt; fewer are found in every
one."""
LEAST_VALUE = 3


@dataclass(frozen=True, slots=True)
class Label:
    """Something on a picture. `kind` is None for what is about nobody; `name` is what the report groups by."""

    box: Box
    kind: Kind | None
    name: str
    text: str = field(default="", repr=False)
    page: int = 0

    def words(self) -> Iterator[Box]:
        """Boxes of the words of the text, in proportion to their characters; the whole box without text."""
        if not self.text.split():
            yield self.box
        at = 0
        for word in self.text.split():
            start = self.text.index(word, at)
            at = start + len(word)
            left = self.box.x0 + self.box.width * start // len(self.text)
            right = self.box.x0 + self.box.width * at // len(self.text)
            yield Box(left, self.box.y0, max(left + 1, right), self.box.y1)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its labels."""

    path: Path
    labels: tuple[Label, ...]
    conditions: Mapping[str, str] = field(default_factory=dict)


def samples(folder: Path) -> list[Sample]:
    """The pictures of a folder in the order of their names.

    Raises ConfigurationError(INPUT_UNREADABLE) for a folder without labels, or labels that cannot be used: a
    measurement of half of the data would look like one of all.
    """
    if (folder / LABELS).is_file():
        found = list(_own(folder))
    elif (folder / SROIE).is_dir():
        found = list(_sroie(folder))
    elif (folder / IMGLAB).is_file():
        found = list(_imglab(folder))
    else:
        raise _unusable(folder, f"no {LABELS}, {IMGLAB} or {SROIE}/ in it")
    missing = sum(not sample.path.is_file() for sample in found)
    if missing or not found:
        raise _unusable(folder, f"{missing} of {len(found)} labelled pictures are not there")
    return sorted(found, key=lambda sample: sample.path.name)


class _Label(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    box: Annotated[list[int], Field(min_length=4, max_length=4)]
    kind: Annotated[Kind | None, Field(strict=False)] = None
    name: str = ""
    text: str = ""
    page: Annotated[int, Field(ge=0)] = 0


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    file: str
    labels: list[_Label]
    conditions: dict[str, str] = {}


def _own(folder: Path) -> Iterator[Sample]:
    for number, line in enumerate((folder / LABELS).read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = _Line.model_validate_json(line)
            labels = tuple(
                Label(Box(*one.box), one.kind, one.name or str(one.kind or "about nobody"), one.text, one.page)
                for one in told.labels
            )
        except (ValidationError, ValueError):
            raise _unusable(folder, f"line {number} of {LABELS} is not what its documentation says") from None
        path = (folder / told.file).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise _unusable(folder, f"line {number} of {LABELS} names a file outside the folder")
        yield Sample(path, labels, told.conditions)


def write_labels(folder: Path, found: list[Sample]) -> None:
    """Write `labels.jsonl` for pictures that lie in `folder`."""
    lines = [
        json.dumps(
            {
                "file": str(sample.path.relative_to(folder)),
                "labels": [
                    {
                        "box": [label.box.x0, label.box.y0, label.box.x1, label.box.y1],
                        "kind": label.kind,
                        "name": label.name,
                        "text": label.text,
                        "page": label.page,
                    }
                    for label in sample.labels
                ],
                "conditions": dict(sample.conditions),
            },
            ensure_ascii=False,
        )
        for sample in found
    ]
    (folder / LABELS).write_text("\n".join(lines) + "\n", "utf-8")


def _sroie(folder: Path) -> Iterator[Sample]:
    for path in sorted((folder / "box").glob("*.csv")):
        try:
            key: dict[str, Any] = json.loads((folder / "key" / f"{path.stem}.json").read_text("utf-8"))
            with path.open(encoding="utf-8", errors="replace", newline="") as stream:
                rows = [row for row in csv.reader(stream, quoting=csv.QUOTE_NONE) if len(row) > 8]
            labels = tuple(_sroie_label(row, key) for row in rows if "".join(row[8:]).strip())
        except (OSError, ValueError):
            raise _unusable(folder, f"labels number {path.stem[:16]} cannot be read") from None
        yield Sample(folder / "img" / f"{path.stem}.jpg", labels)


def _sroie_label(row: list[str], key: Mapping[str, Any]) -> Label:
    numbers = list(map(int, row[:8]))
    text = ",".join(row[8:]).strip()
    name = role_of(text, key)
    box = Box.around(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return Label(box, Kind.ADDRESS if name == "address" else None, name, text)


def role_of(text: str, key: Mapping[str, Any]) -> str:
    """What a line of a receipt is by its key: address, company, date, total, or other."""
    solid = _squeezed(text)
    for name in ("address", "company"):
        if len(solid) >= LEAST_NAMED and not solid.isdigit() and solid in _squeezed(str(key.get(name, ""))):
            return name
    for name in ("date", "total"):
        value = _squeezed(str(key.get(name, "")))
        if len(value) >= LEAST_VALUE and value in solid:
            return name
    return "other"


def _squeezed(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())


def _imglab(folder: Path) -> Iterator[Sample]:
    try:
        # The labels are the site's own; expat reads no external entities, and Python's bounds the expansion of others.
        tree = ElementTree.parse(folder / IMGLAB)  # noqa: S314
        for image in tree.iter("image"):
            boxes = (
                {side: int(value) for side, value in box.attrib.items() if side in _SIDES} for box in image.iter("box")
            )
            labels = tuple(
                Label(Box(b["left"], b["top"], b["left"] + b["width"], b["top"] + b["height"]), Kind.FACE, "face")
                for b in boxes
            )
            yield Sample(folder / image.attrib["file"], labels)
    except (ElementTree.ParseError, KeyError, ValueError):
        raise _unusable(folder, f"{IMGLAB} cannot be read") from None


_SIDES = frozenset({"left", "top", "width", "height"})


def _unusable(folder: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.INPUT_UNREADABLE, place=str(folder), explanation=explanation)
