"""What the screen's tests share: policies, and recognisers small enough to run ten thousand times."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind, Span
from guardedvlm.guard.detect.personal.checks import luhn
from guardedvlm.guard.screen import Spans
from guardedvlm.policy.model import Policy

KEPT = frozenset({Kind.AMOUNT, Kind.ORGANIZATION, Kind.AGE, Kind.URL})
_RULES = (
    (Kind.PERSON, re.compile(r"(?<![A-Za-z])(?:Jane|John|Tom)\s(?:Roe|Poe|Hanks)(?![A-Za-z])")),
    (Kind.EMAIL, re.compile(r"[\w.]+@[\w.]+\w")),
    (Kind.AMOUNT, re.compile(r"\$\d[\d,.]*\d")),
    (Kind.SSN, re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")),
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


async def _spans(text: str) -> tuple[Span, ...]:
    found = [Span(m.start(), m.end(), kind, 0.9, "rule") for kind, rule in _RULES for m in rule.finditer(text)]
    for card in _CARD.finditer(text):
        if luhn(re.sub(r"\D", "", card[0])):
            found.append(Span(card.start(), card.end(), Kind.PAYMENT_CARD, 1.0, "rule"))
    return tuple(sorted(found, key=lambda span: span.start))


@pytest.fixture(scope="session")
def spans() -> Spans:
    """Persons of a short list, e-mail addresses, dollars, SSNs and card numbers with a right check digit."""
    return _spans


@pytest.fixture(scope="session")
def policy() -> Callable[..., Policy]:
    """A policy that keeps KEPT and hides every other kind; `ask`, `say` and `text` as given; grounding is off
    unless `say` names it."""
    hide: dict[Kind, Literal[Action.FILL, Action.LABEL]] = {
        kind: Action.LABEL for kind in Kind if kind not in KEPT | RESERVED_KINDS
    }
    make = partial(Policy, name="test", version="2026-01-01", description="test", hide=hide, keep=KEPT)
    return lambda **parts: make(**parts | {"say": {"grounding": "off"} | parts.get("say", {})})
