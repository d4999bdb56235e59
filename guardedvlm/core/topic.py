"""What a question or a statement about people is about, as far as a policy can forbid it."""

from __future__ import annotations

from enum import StrEnum


class Topic(StrEnum):
    """Questions and statements about people that a policy can forbid."""

    IDENTIFY_PERSON = "identify_person"
    DESCRIBE_FACE = "describe_face"
    ETHNICITY = "ethnicity"
    RELIGION = "religion"
    HEALTH = "health"
    SEXUAL_ORIENTATION = "sexual_orientation"
    AGE = "age"
    REVEAL_HIDDEN = "reveal_hidden"
