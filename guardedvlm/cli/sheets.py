"""What `demo` leaves to look at: before/after sheets as PNG and one page that shows them.

The pictures are the demo's own, without a person's consent to ask for; the guard itself never writes a raw picture.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEIGHT = 900
"""Height of either picture on a sheet, in pixels: two A4 pages side by side fit a laptop's screen."""
GAP, BAR = 24, 56
PAPER, INK, GREY, RULE = "#ffffff", "#14181f", "#5b6573", "#d8dde5"

STYLE = """
:root { color-scheme: light dark; --ink: #14181f; --paper: #fff; --grey: #5b6573; --rule: #d8dde5;
  --ok: #17663a; --no: #9c2b1f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf0; --paper: #14181f; --grey: #9aa4b2; --rule: #313843; --ok: #6fce98; --no: #f08a7d } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1200px;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.5rem }
p.lead { color: var(--grey) }
img { width: 100%; height: auto; border: 1px solid var(--rule); border-radius: 6px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 } dt { color: var(--grey) }
dd { margin: 0 } .released { color: var(--ok) } .refused { color: var(--no) } code { font-size: .9em }
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture on the page: its sheet's file name and what happened, as (term, text, class)."""

    title: str
    sheet: str
    facts: Sequence[tuple[str, str, str]]


def before_after(before: Image.Image, after: Image.Image, title: str) -> Image.Image:
    """A sheet with both pictures side by side under a title bar."""
    left, right = _at_height(before), _at_height(after)
    sheet = Image.new("RGB", (left.width + right.width + 3 * GAP, HEIGHT + BAR + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, INK, ImageFont.load_default(24))
    second = left.width + 2 * GAP
    for x, picture, caption in (
        (GAP, left, "before: sent by the caller"),
        (second, right, "after: all that the model saw"),
    ):
        draw.text((x, GAP + 32), caption, GREY, ImageFont.load_default(15))
        sheet.paste(picture, (x, BAR + GAP))
        draw.rectangle((x - 1, BAR + GAP - 1, x + picture.width, BAR + GAP + HEIGHT), outline=RULE)
    return sheet


def write_page(folder: Path, lead: str, entries: Sequence[Entry]) -> Path:
    """Write index.html into `folder`; needs no network to be looked at. Returns its path."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1"><title>GuardedVLM demo</title>',
        f"<style>{STYLE}</style><h1>GuardedVLM demo</h1><p class=lead>{html.escape(lead)}</p>",
    ]
    for entry in entries:
        facts = "".join(
            f"<dt>{html.escape(term)}</dt><dd class={html.escape(kind) or 'fact'}>{html.escape(text)}</dd>"
            for term, text, kind in entry.facts
        )
        alt = html.escape(f"{entry.title}, before and after redaction")
        picture = f'<img src="{html.escape(entry.sheet)}" alt="{alt}" loading=lazy>' if entry.sheet else ""
        parts.append(f"<section><h2>{html.escape(entry.title)}</h2>{picture}<dl>{facts}</dl></section>")
    path = folder / "index.html"
    path.write_text("\n".join(parts) + "\n", "utf-8")
    return path


def _at_height(picture: Image.Image) -> Image.Image:
    width = max(1, round(picture.width * HEIGHT / picture.height))
    return picture.convert("RGB").resize((width, HEIGHT), Image.Resampling.LANCZOS)
