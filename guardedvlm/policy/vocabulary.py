"""The closed vocabularies of a policy file."""

from __future__ import annotations

from enum import StrEnum

from guardedvlm.core.topic import Topic

__all__ = ["Clear", "DateLabels", "Mode", "PersonalText", "Release", "Topic"]


class Mode(StrEnum):
    """When text stays visible. No mode shows what could not be read."""

    STRICT = "strict"
    """Only text that was read with confidence and that `text.clear` names."""
    BALANCED = "balanced"
    """Text that was read with confidence and in which nothing personal was found."""


class Clear(StrEnum):
    """Classes of text that a strict policy lets stay visible."""

    LABELS = "labels"  # form and table labels: "Total", "Date of birth", "Findings"
    COMMON_WORDS = "common_words"  # words of the language that are no names
    NUMBERS = "numbers"  # numbers of up to four digits that are part of nothing else
    AMOUNTS = "amounts"  # money and quantities with a unit
    DATES = "dates"


class DateLabels(StrEnum):
    """What the label of a hidden date tells."""

    RANDOM = "random"  # DATE-A: which dates are equal, and nothing else
    INTERVAL = "interval"  # DATE-A, DATE-A+14d: days since the first of the dates that lie within a year of it


class PersonalText(StrEnum):
    """What happens to a personal span of a question or an answer."""

    LABEL = "label"  # PERSON-A
    MASK = "mask"  # [PERSON]
    REFUSE = "refuse"


class Release(StrEnum):
    """How a streamed answer leaves."""

    WHOLE = "whole"
    SENTENCE = "sentence"
