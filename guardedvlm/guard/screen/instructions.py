"""Instructions to a model in the text of a picture: "ignore previous instructions", however small or faint it is.

Text in a picture is data. The embedded reader treats it so by its nature; a model may not, so what reads like an
instruction to one is found, counted, and quoted to the model as something not to be followed, or refuses the request.

Two looks at each line and at the lines around it: rules for what speaks to a model or overrules somebody (English,
German, French, Spanish), and a classifier (TF-IDF and logistic regression, its weights in the wheel, digest pinned),
which is believed only where it is nearly certain: forms instruct people all the time.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from guardedvlm.core.word import Word
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.screen.normal import normalise
from guardedvlm.guard.verify.verifiers import phrases
from guardedvlm.reading.weights import pinned_file

CLASSIFIER = (
    "svguardian",
    "_runtime/guardian.runtime.json.gz",
    "674174000c38d2220278b7354eb57cc2b580c54c9125fe55503d17914b161557",
)
ATTACKS = frozenset({"prompt_injection", "jailbreak", "data_exfiltration"})
"""Its classes that are instructions; "pii" and others are the business of other detectors."""
CERTAIN = 0.92
"""Its score from which on it is believed; its own threshold is 0.81. "You must present this receipt for a refund" has
0.86; no line of 48 receipts whose letters were read has more than 0.91."""
LEAST_WORDS = 4
"""Words of letters in a text that the classifier is asked about: of less it knows nothing."""
LINES_TOGETHER = 4
"""Lines that are looked at as one text: an instruction is seldom longer on a form."""
CLASSIFIED = frozenset({1, LINES_TOGETHER})
"""Numbers of lines that the classifier looks at together; each look takes half a millisecond."""
MOST_QUOTED = 4
"""Texts that are quoted to the model; their number is counted in full."""
MOST_CHARS = 200
"""Characters of one quoted text."""

_ORDER = (
    r"(?:ignore|disregard|discard|forget|override|bypass|overrule|do not (?:follow|obey|apply)|don'?t (?:follow|obey)|"
    r"vergiss|ignorier\w*|missachte\w*|umgeh\w*|ignor(?:e|ez|a|ar|en)\b|oubli(?:e|ez)|olvid[ae]\w*)"
)
_WHOSE = (
    r"(?:(?:previous|prior|above|earlier|preceding|all|any|other|system|safety|vorherige[nrs]?|obige[nrs]?|"
    r"précédentes?|anteriores|toute?s|todas|the|your|these|those|alle[nr]?|les|las|que)\W+){0,5}"
)
_RULES = (
    r"(?:instructions?|prompts?|rules?|polic(?:y|ies)|guidelines?|restrictions?|filters?|commands?|anweisung(?:en)?|"
    r"regeln|consignes|instrucciones|reglas|(?:the )?question|what you were told|everything you were told)"
)
_MODEL = (
    r"(?:language model|vision model|\bL?LMs?\b|\bVLMs?\b|\bA\.?I\.?(?: (?:model|assistant|system|agent))\b|"
    r"chat ?bots?\b|\bGPT\b|system prompt|developer mode|jailbreak\w*|sprachmodell|modèle de langue|"
    r"modelo de lenguaje|\b(?:note|message|attention|instructions?) (?:to|for) (?:the |any )?"
    r"(?:A\.?I\.?|model|assistant|bot)\b)"
)
_SPEAKS = re.compile(
    rf"\b{_ORDER}\W+{_WHOSE}{_RULES}|{_MODEL}|"
    r"^\W*(?:system|assistant)\s*:.*\b(?:you|reply|answer|output|reveal|user|now on)\b|"
    r"\b(?:forget|ignore|disregard|discard) (?:the above|all of|everything)|\byou are now (?:an?|in|the)\b|"
    r"\b(?:attention|dear|hey|hello)\W+(?:A\.?I\.?|model|assistant|bot)\b|"
    r"\b(?:when|while|if) (?:you )?(?:summari[sz]|read|process|describ|analy[sz])\w* this\b[^.]{0,40}"
    r"\b(?:say|state|answer|reply)|"
    r"\bnew instructions?\s*:|\bfrom now on\W+(?:you|reply|answer|act|respond)\b|"
    r"\bpretend (?:to be|that you|you are)\b|"
    r"\b(?:reveal|output|print|spell|encode|repeat|tell|describe|read)\b[^.]{0,40}"
    r"\b(?:hidden|redacted|masked|blacked|covered|under the black|behind the (?:bar|box|mask))|"
    r"\b(?:when|if) (?:you are |anyone |somebody )?asked about this\b|"
    r"\byou must (?:answer|reply|say|respond)\b|\b(?:ignore|disregard) (?:the|all) (?:above|question)\b",
    re.IGNORECASE | re.MULTILINE,
)
_LETTERS = re.compile(r"[A-Za-zÀ-ſ]{2,}")


def instructions(lines: Sequence[str]) -> tuple[str, ...]:
    """The texts among a page's lines, in order, that instruct a model; lines that only do so together are one text.

    Raises Unavailable where the classifier is absent or changed.
    """
    found: dict[int, str] = {}
    taken: set[int] = set()
    for size in range(1, LINES_TOGETHER + 1):
        for first in range(len(lines) - size + 1):
            window = range(first, first + size)
            text = " ".join(lines[at] for at in window)
            if taken.isdisjoint(window) and (_SPEAKS.search(text) or (size in CLASSIFIED and _is_attack(text))):
                found[first] = text
                taken.update(window)
    return tuple(found[first] for first in sorted(found))


def instructions_in(pages: Sequence[Sequence[Word]]) -> tuple[str, ...]:
    """The instructions to a model among the cleared words of each page, each once. Raises as `instructions`."""
    found = (text for words in pages for text in instructions([line.text for line in phrases(words)]))
    return tuple(dict.fromkeys(found))


def quoted(texts: Sequence[str]) -> tuple[str, ...]:
    """What of them is quoted to the model: no control characters, not too many, not too long."""
    return tuple(normalise(text)[:MOST_CHARS] for text in texts[:MOST_QUOTED])


def _is_attack(text: str) -> bool:
    if len(_LETTERS.findall(text)) < LEAST_WORDS:
        return False
    verdict = _classifier().predict(text)
    return verdict["category"] in ATTACKS and verdict["malicious_score"] >= CERTAIN


@cache
def _classifier() -> Any:
    """The package's own runtime over the pinned file: its `resolve_runtime` might download another."""
    path = pinned_file(*CLASSIFIER)
    try:
        from svguardian.model.pure_infer import PureGuardian
    except ImportError:
        raise Unavailable(Reason.DETECTOR_MISSING, package="svguardian") from None
    return PureGuardian(json.loads(gzip.decompress(path.read_bytes())))
