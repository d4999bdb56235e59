"""Recogniser of organisations by what their names begin or end with; the statistical one takes many for persons.

A firm is told by its legal form or the word for its trade. Where such a name is also somebody's ("Ahmad bin Ali
Trading", "Joe Tan Store"), nothing is said here, and what says PERSON holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from guardedvlm.core.finding import Kind, Span
from guardedvlm.core.firm import LEADING, LEGAL, TRAILING
from guardedvlm.guard.detect.personal.labels import find_labels
from guardedvlm.guard.detect.personal.lexicon import (
    fold,
    is_common_word,
    is_given_name,
    is_usual_given_name,
    is_usual_surname,
)
from guardedvlm.guard.detect.personal.names import is_plain
from guardedvlm.guard.detect.personal.resolve import FIRM
from guardedvlm.guard.detect.personal.view import View

_INSTITUTIONS = (
    r"Bank|BANK|Hospital|HOSPITAL|Clinic|CLINIC|"
    r"Medical (?:Center|Centre)|MEDICAL (?:CENTER|CENTRE)|Health System|University|UNIVERSITY|Pharmacy|PHARMACY|"
    r"Insurance|INSURANCE"
)
_WORD = r"\(?[A-ZÀ-Þ0-9][\w&.'()/-]{0,30}"
_ORGANIZATION = re.compile(
    rf"(?<!\w)(?:{_WORD} |& ){{1,6}}\(?(?:{LEGAL}|(?i:enterprise|trading|holdings)|{_INSTITUTIONS})\b\.?"
    r"(?: ?\([^)\n]{1,12}\))?"
)
_NAME = r"[A-ZÀ-Þ][\w&.'-]{0,30}"
_LED = re.compile(rf"(?<![\w@.])(?:(?i:{LEADING}))(?: (?:{_NAME}|&)){{1,4}}(?!\w)")
_TRAILED = re.compile(
    rf"(?<![\w@.])(?:{_NAME} |& ){{1,5}}(?:(?=[A-Z])(?i:{TRAILING})(?!\w)(?: & | )?){{1,3}}(?:{LEGAL}(?!\w)\.?)?"
)
_INCORPORATED = re.compile(rf"(?<![\w@.])(?:{_WORD}(?: |(?<=\)))|& ){{1,6}}\(?{LEGAL}(?!\w)\.?")
_GOES_ON = re.compile(r" *[A-ZÀ-Þ][\w'-]")
_TRADE = re.compile(rf"(?<!\w)(?:{LEGAL}|(?i:{LEADING}|{TRAILING}))(?!\w)\.?")
ROLES = frozenset(
    {
        *("manager", "owner", "cashier", "staff", "director", "chef", "waiter", "waitress", "guest", "customer"),
        *("client", "patient", "supervisor", "partner", "founder", "proprietor", "prop", "assistant", "clerk"),
        *("employee", "operator", "agent", "attn"),
    }
)
"""Words beside a trade ("Store Manager ...") that make of the rest a person."""
PARTICLES = frozenset({"bin", "binti", "bte", "bt", "ibn", "a/l", "a/p", "s/o", "d/o"})
"""Words that stand in nothing but persons' names."""
FULL_NAME = 3
"""Words that are a full name where the first of them is a usual surname: "Lim Seng Tho"."""


def organizations(view: View) -> Iterator[Span]:
    """Names before a legal form or a word for an institution, which begin with a capital; and names of firms."""
    for match in _ORGANIZATION.finditer(view.text):
        if not any(c.isalpha() for c in match[0].rsplit(" ", 1)[0]):
            continue  # "3 Insurance" is a heading
        yield view.span(*match.span(), Kind.ORGANIZATION, 0.6, "pattern/organization")
    for pattern in (_LED, _TRAILED, _INCORPORATED):
        for match in pattern.finditer(view.text):
            if pattern is _TRAILED and _GOES_ON.match(view.text, match.end()):
                continue
            if is_firm(match[0]):
                yield view.span(match.start(), match.start() + len(match[0].rstrip()), Kind.ORGANIZATION, 0.6, FIRM)


def is_firm(text: str) -> bool:
    """Whether a name with a legal form or a trade in it is a firm's, and not also that of somebody who owns it or works
    there."""
    own = _TRADE.sub(" ", text).split()
    folded = [fold(word) for word in own]
    if not own or is_plain(" ".join(own)) or not ROLES.isdisjoint(folded) or not PARTICLES.isdisjoint(folded):
        return False
    if any(is_usual_given_name(word) or _labels_person(word) for word in own):
        return False
    if len(own) >= FULL_NAME and is_usual_surname(own[0]):
        return False
    solid = [word for word in folded if word.isalpha() and len(word) > 1 and not is_common_word(word)]
    return not any(is_given_name(a) and is_usual_surname(b) for a, b in pairwise(solid))


def _labels_person(word: str) -> bool:
    return any(label.kind is Kind.PERSON for label in find_labels(word))
