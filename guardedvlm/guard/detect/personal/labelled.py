"""Recogniser of labelled values in running text: "MRN: 12345", "DOB 01/02/1960", "my name is Jane Doe".

The same labels stand on forms; where a page's layout is known, `form` reads it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.labels import Label, find_labels, join
from guardedvlm.guard.detect.personal.values import trimmed_value
from guardedvlm.guard.detect.personal.view import View

_COLON = re.compile(r"\s{0,3}(?:#\s?)?[:=]+\s{0,4}|\s?#\s?(?=\w)")
_COPULA = re.compile(r"\s(?:is|was|are|ist|lautet|est|es|of)\s(?:called\s)?", re.IGNORECASE)
_NONE = re.compile(r"[\s.]{1,3}")
MAX_VALUE_CHARS = 120


def labelled_values(view: View) -> Iterator[Span]:
    """The value after every label that a colon, "is" or, for numbers, nothing at all connects with it."""
    offset = 0
    for line in view.text.splitlines(keepends=True):
        labels = join(line, find_labels(line))
        following = [*(label.start for label in labels[1:]), len(line)][: len(labels)]
        for label, limit in zip(labels, following, strict=True):
            found = _value(line, label, limit)
            if found is not None and label.kind is not None:
                yield view.span(
                    offset + found[0], offset + found[1], label.kind, 0.85, f"form/{label.kind.value.lower()}"
                )
        offset += len(line)


def _value(line: str, label: Label, limit: int) -> tuple[int, int] | None:
    """[start, end) of the value of `label` in `line`; a following label ends it."""
    if label.kind is None or label.kind is Kind.AMOUNT:
        return None
    rest = line[label.end : label.end + MAX_VALUE_CHARS]
    colon = _COLON.match(rest)
    link = colon or _COPULA.match(rest) or _NONE.match(rest)
    start = label.end + (link.end() if link else 0)
    if not link and not line[start : start + 1].isdigit():
        return None
    end = limit if start < limit < len(line) else len(line.rstrip("\n"))
    if label.kind is Kind.PERSON and link is not None and link.re is _NONE and line[start : start + 1].islower():
        return None
    return trimmed_value(line, start, min(end, start + MAX_VALUE_CHARS), label, strict=colon is None)


def values_on_the_next_line(view: View) -> Iterator[Span]:
    """A label alone on its line, its value alone on the next ("Name:\\nJane Doe"), in plain text without a layout."""
    lines, offset = [], 0
    for line in view.text.splitlines(keepends=True):
        lines.append((offset, line))
        offset += len(line)
    for (_, above), (start, below) in pairwise(lines):
        labels = join(above.strip(), find_labels(above.strip()))
        if len(labels) != 1 or labels[0].start or _COLON.sub("", above.strip()[labels[0].end :]):
            continue
        kind = labels[0].kind
        found = trimmed_value(below, 0, len(below.rstrip("\n")), labels[0], strict=":" not in above)
        if found is not None and kind is not None and kind is not Kind.AMOUNT:
            yield view.span(start + found[0], start + found[1], kind, 0.75, f"form/{kind.value.lower()}")
