"""What a question or an answer is about by rules, as far as a policy can forbid it.

The rules look for a person and what is asked or said of that person: "how old is she" is about AGE, "how old is this
invoice" is not. They work on folded words without punctuation, so that neither case nor a full stop nor an underscore
changes the verdict. A person named by the label of a hidden region (PERSON-A) is a person. Asking for a field of a
document ("the patient's name") identifies nobody: the field's value is hidden by its kind.
English in full; German, French and Spanish in their plain forms. What no rule foresaw is the classifier's part
(`topic_model`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from guardedvlm.core.finding import Kind
from guardedvlm.guard.screen.normal import fold, normalise
from guardedvlm.guard.screen.topic_rules import FRAGMENTS, PERSON_TOKEN, RULES
from guardedvlm.policy.model import Topic

_LABEL = re.compile(rf"\b(?:{Kind.PERSON}|{Kind.FACE})-[a-z]{{1,2}}\b|\[(?:{Kind.PERSON}|{Kind.FACE})\]", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_APOSTROPHES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(who|what|where|when|how|he|she|it|that|there|here)['’]?s\b"), r"\1 is"),
    (re.compile(r"\b(they|you|we|who|what)['’]re\b"), r"\1 are"),
    (re.compile(r"(?<=[a-z])['’]s\b"), " poss"),
    (re.compile(r"(?<=s)['’](?=\s)"), " poss"),
    (re.compile(r"n['’]t\b"), " not"),
)
_PARTED = re.compile(r"\blinkedin(?=s?\b)")
"""A capital within it parts this name, and no other notation does; the classifier learnt it in two words."""
_SPELLED_OUT = re.compile(r"\b(?:[a-z] ){2,}[a-z]\b")
_FRAGMENT = re.compile("|".join(sorted(FRAGMENTS, key=len, reverse=True)))


def words_of(text: str) -> str:
    """`text` as the rules read it: folded words, one space between them, the label of a person as one word."""
    plain = fold(_CAMEL.sub(" ", _LABEL.sub(f" {PERSON_TOKEN}", normalise(text))))
    for pattern, replacement in _APOSTROPHES:
        plain = pattern.sub(replacement, plain)
    plain = _PARTED.sub("linked in", re.sub(r"[\W_]+", " ", plain)).strip()
    return _SPELLED_OUT.sub(lambda run: run[0].replace(" ", ""), plain)


def topics_of(text: str) -> frozenset[Topic]:
    """Topics that `text`, a question or a statement in any spelling, is about by the rules."""
    words = words_of(text)
    return frozenset(topic for topic, rule in _rules().items() if rule.search(words))


@cache
def _rules() -> Mapping[Topic, re.Pattern[str]]:
    return {
        topic: re.compile("|".join(rf"\b(?:{_expanded(rule)})\b" for rule in rules.split("\n") if rule))
        for topic, rules in RULES.items()
    }


def _expanded(rule: str) -> str:
    """The rule with its fragments written out."""
    rule = rule.replace("PERSON_TOKEN", PERSON_TOKEN)
    while (wider := _FRAGMENT.sub(lambda name: f"(?:{FRAGMENTS[name[0]]})", rule)) != rule:
        rule = wider
    return re.sub(r"\((?!\?)", "(?:", rule)
