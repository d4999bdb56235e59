"""What a measurement found, as JSON for a machine and as HTML for the people who decide."""

from __future__ import annotations

import base64
import html
import io
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from guardedvlm.audit.facts import Stage
from guardedvlm.core.region import Box, Raster
from guardedvlm.evaluation.share import Share, wilson

THUMBNAIL = 900
"""Pixels of the longer side of a picture in the report."""
QUALITY = 80
MOST_WORST = 12
"""Pictures that a report shows."""

Corners = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Worst:
    """A redacted picture on which something was missed, and where."""

    name: str
    missed: int
    picture: bytes = field(repr=False)  # JPEG
    told: str = ""


@dataclass(slots=True)
class Report:
    """Shares by group and name, refusals by reason, times by stage, and the worst pictures."""

    title: str
    policy: str
    policy_digest: str
    command: str
    pictures: int = 0
    shares: dict[str, dict[str, Share]] = field(default_factory=lambda: defaultdict(dict))
    refusals: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # milliseconds
    area_hidden: list[float] = field(default_factory=list)
    worst: list[Worst] = field(default_factory=list)
    cases: list[dict[str, object]] = field(default_factory=list)  # what was missed, one by one, without its text
    notes: list[str] = field(default_factory=list)

    def count_times(self, times: Mapping[Stage, int]) -> None:
        """Add the times of one request."""
        for stage, milliseconds in times.items():
            self.times[str(stage)].append(milliseconds)

    def show(self, worst: Worst) -> None:
        """Keep a picture if it is among the worst."""
        self.worst = sorted([*self.worst, worst], key=lambda one: -one.missed)[:MOST_WORST]

    def latency(self) -> dict[str, dict[str, float]]:
        """Median and 95 % quantile of each stage's milliseconds."""
        return {
            stage: {
                "p50": statistics.median(values),
                "p95": float(np.quantile(values, 0.95)),
                "n": len(values),
            }
            for stage, values in sorted(self.times.items())
        }

    def to_json(self) -> str:
        """Everything but the pictures."""
        told = {
            "title": self.title,
            "policy": self.policy,
            "policy_digest": self.policy_digest,
            "command": self.command,
            "pictures": self.pictures,
            "refused": {**asdict(self._refused()), "reasons": dict(self.refusals)},
            "area_hidden": statistics.fmean(self.area_hidden) if self.area_hidden else None,
            "shares": {
                group: {name: {"value": share.value, **asdict(share)} for name, share in rows.items()}
                for group, rows in self.shares.items()
            },
            "latency_ms": self.latency(),
            "worst": [{"name": one.name, "missed": one.missed} for one in self.worst],
            "cases": self.cases,
            "notes": self.notes,
        }
        return json.dumps(told, indent=2) + "\n"

    def to_html(self) -> str:
        """One file without anything outside; the pictures are the redacted ones."""
        parts = [
            f"<h1>{html.escape(self.title)}</h1>",
            f"<p>Policy <b>{html.escape(self.policy)}</b>, digest <code>{html.escape(self.policy_digest)}</code>. "
            f"{self.pictures} pictures, {self.refusals.total()} refused.</p>",
            f"<p><code>{html.escape(self.command)}</code></p>",
            *(f"<p>{html.escape(note)}</p>" for note in self.notes),
            *(_table(group, ("", "share", "95 %", "hits", "n"), _rows(rows)) for group, rows in self.shares.items()),
        ]
        if self.area_hidden:
            parts.append(f"<p>Area hidden: {statistics.fmean(self.area_hidden):.1%} of a picture on average.</p>")
        if self.refusals:
            parts.append(_table("Refusals", ("reason", "pictures"), [[k, str(v)] for k, v in self.refusals.items()]))
        latency = [[s, f"{v['p50']:.0f}", f"{v['p95']:.0f}", str(v["n"])] for s, v in self.latency().items()]
        if latency:
            parts.append(_table("Milliseconds by stage", ("stage", "p50", "p95", "n"), latency))
        if self.worst:
            parts.append("<h2>Worst pictures, as cleared</h2><p>Red: what should have been hidden and was not.</p>")
        for one in self.worst:
            picture = base64.b64encode(one.picture).decode("ascii")
            parts.append(
                f"<h3>{html.escape(one.name)}: {one.missed} missed</h3><p>{html.escape(one.told)}</p>"
                f'<img alt="" src="data:image/jpeg;base64,{picture}">'
            )
        return _PAGE.format(title=html.escape(self.title), body="\n".join(parts))

    def _refused(self) -> Share:
        return wilson(self.refusals.total(), self.pictures)


def marked(raster: Raster, places: Sequence[Corners | npt.NDArray[np.float64]]) -> bytes:
    """A small JPEG of a cleared picture with a red line around each place."""
    picture = Image.fromarray(raster)
    scale = min(1.0, THUMBNAIL / max(picture.size))
    small = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    pen = ImageDraw.Draw(small)
    for place in places:
        pen.polygon([(float(x) * scale, float(y) * scale) for x, y in place], outline=(255, 0, 0), width=2)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def corners(box: Box) -> list[tuple[float, float]]:
    """Corners of a box, to be marked."""
    return [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]


def _rows(shares: Mapping[str, Share]) -> list[list[str]]:
    return [
        [name, f"{share.value:.4f}", f"{share.low:.4f} to {share.high:.4f}", str(share.hits), str(share.n)]
        for name, share in shares.items()
    ]


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{html.escape(title)}</h2><table><tr>{top}</tr>{body}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ border-bottom: 1px solid #ccc; padding: .2rem .8rem; text-align: left }}
td:not(:first-child) {{ font-variant-numeric: tabular-nums }} img {{ max-width: 100%; border: 1px solid #999 }}
code {{ overflow-wrap: anywhere }}
</style></head><body>
{body}
</body></html>
"""
