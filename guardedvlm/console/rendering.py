"""Templates, and how values are written in them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from guardedvlm import __version__
from guardedvlm.errors import SENTENCES, Reason
from guardedvlm.web.assets import asset

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
SHORT = 8
"""Digits of a pseudonym or digest that are shown where the whole would not fit."""


class Rendering:
    """Renders the templates of this package. Everything is escaped. `review` tells whether there is a queue."""

    def __init__(self, *, review: bool = False) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "when": when,
            "short": short,
            "number": lambda value: f"{value:,}",
            "counts": counts,
            "duration": duration,
            "because": because,
            "words": lambda value: str(value).replace("_", " ").lower(),
            "pretty": lambda line: json.dumps(json.loads(line), indent=1, sort_keys=True),
        }
        self._environment.globals |= {
            "asset": functools.partial(asset, STATIC),
            "product": __version__,
            "review": review,
            "now": functools.partial(datetime.now, UTC),
        }

    def response(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        """A page."""
        session = getattr(request.state, "session", None)
        text = self._environment.get_template(template).render(path=request.url.path, session=session, **context)
        return HTMLResponse(text, status, headers={"Vary": "HX-Request"})


def when(at: int | datetime | str | None, form: str = "%Y-%m-%d %H:%M:%S") -> Markup | str:
    """A time in UTC as an element; milliseconds, a datetime or a record's text."""
    if at is None or at == "":
        return "–"
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at / 1000, UTC)
    stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}">{}</time>').format(stamp, moment.strftime(form))


def short(digits: str | None) -> Markup | str:
    """The first digits, and all of them for who points at it."""
    if not digits:
        return "–"
    return Markup('<code title="{}">{}</code>').format(digits, digits[:SHORT])


def counts(found: str | Mapping[str, int]) -> str:
    """`PERSON 3, FACE 1`, most first."""
    table: Mapping[str, int] = (json.loads(found) if found else {}) if isinstance(found, str) else found
    listed = ", ".join(f"{kind} {n}" for kind, n in sorted(table.items(), key=lambda item: (-item[1], item[0])))
    return listed or "–"


def duration(taken: float) -> str:
    """Milliseconds as a reader says them: `420 ms`, `2.4 s`, `3 min 20 s`."""
    if taken < 1000:
        return f"{round(taken)} ms"
    if taken < 60_000:
        return f"{taken / 1000:.1f} s"
    return f"{int(taken // 60_000):,} min {int(taken % 60_000 // 1000)} s"


def because(reason: str) -> str:
    """A reason's sentence."""
    try:
        return SENTENCES[Reason(reason)]
    except (ValueError, KeyError):
        return ""
