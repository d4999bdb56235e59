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


class Instructions(StrEnum):
    """What happens where the picture's own text instructs the model. It is counted in any case."""

    FLAG = "flag"  # counted, and told of in the response
    QUOTE = "quote"  # quoted to the model as text of the picture that is not to be followed
    REFUSE = "refuse"


class PersonalText(StrEnum):
    """What happens to a personal span of a question or an answer."""

    LABEL = "label"  # PERSON-A
    MASK = "mask"  # [PERSON]
    REFUSE = "refuse"


class Release(StrEnum):
    """How a streamed answer leaves."""

    WHOLE = "whole"
    SENTENCE = "sentence"
    TOKEN = "token"  # noqa: S105  # by words, held back by length; only without a rule that needs whole sentences


class GroundRule(StrEnum):
    """What happens to a number, date, amount or identifier of an answer that does not stand in the picture."""

    OFF = "off"
    FLAG = "flag"  # told of in the response
    MASK = "mask"  # [UNGROUNDED]
    REFUSE = "refuse"
