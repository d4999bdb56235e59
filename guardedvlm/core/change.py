"""Why a policy was changed: closed, so that a record can say it."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """What made somebody change a policy."""

    FIRST = "first"  # there was none
    LAW = "law"  # a rule, a contract or a regulator's word changed
    INCIDENT = "incident"  # something got out, or nearly
    REVIEW = "review"  # what reviewers or a measurement found
    PURPOSE = "purpose"  # other documents, or other questions
    CORRECTION = "correction"  # it did not say what was meant
    UPKEEP = "upkeep"  # limits, wording, a new version of the schema
