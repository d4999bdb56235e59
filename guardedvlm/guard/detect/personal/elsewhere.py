"""What is hidden in one place and must be found in the others: names that something vouches for, identifiers, births.

A name in a labelled field of page one stands in running text on page two, where nothing says that it is one; so does an
account number, and a birth date looks like any other date.
"""

from __future__ import annotations

from collections.abc import Iterable

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.guard.detect.personal.known import name_parts, possible_days
from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.detect.personal.resolve import PRECEDENCE

SURE_NAME = 0.75
"""Score from which on a name is searched elsewhere."""
SURE_FAMILY = PRECEDENCE.index("name")
"""The vaguest family of recognisers whose names are."""
LEAST_REPEATED = 3
"""Letters of a name's part that is searched elsewhere; "Li" is in too many words."""
LEAST_DIGITS = 5
"""Digits of an identifier that is searched elsewhere: fewer stand in many an amount."""
IDENTIFIERS = frozenset(
    {
        *(Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD, Kind.SSN, Kind.MEDICAL_RECORD, Kind.HEALTH_PLAN, Kind.LICENSE),
        *(Kind.DOCUMENT_NUMBER, Kind.VEHICLE, Kind.DEVICE, Kind.OTHER_ID, Kind.PHONE, Kind.ROUTING),
    }
)
"""Kinds whose digits are the same wherever they stand."""


def repeated_parts(names: Iterable[str]) -> list[str]:
    """The parts of names, folded, that are searched elsewhere; words of the language are not."""
    parts = {part for name in names for part in name_parts(name)}
    return sorted(p for p in parts if len(p) >= LEAST_REPEATED and p.isalpha() and not is_common_word(p))


def known_elsewhere(findings: Iterable[Finding]) -> tuple[tuple[Kind, str], ...]:
    """What of the findings of all pages is searched on each of them, as `Known` takes it. Give it hidden ones alone.

    An identifier is of one kind: of the one that the surest of its findings says.
    """
    found = sorted(findings, key=lambda finding: (-_rank(finding), -finding.score))
    parts = repeated_parts(f.secret for f in found if _is_sure_name(f))
    births = sorted({f.secret for f in found if f.kind is Kind.DATE_OF_BIRTH and possible_days(f.secret)})
    codes: dict[str, tuple[Kind, str]] = {}
    for finding in found:
        code = code_of(finding.secret)
        if finding.kind in IDENTIFIERS and sum(map(str.isdigit, code)) >= LEAST_DIGITS:
            codes.setdefault(code, (finding.kind, finding.secret))
    # All names as one: each line is then taken apart once.
    names = [(Kind.PERSON, "^".join(parts))] if parts else []
    return (*names, *((Kind.DATE_OF_BIRTH, birth) for birth in births), *codes.values())


def code_of(text: str) -> str:
    """The letters and digits of an identifier, however it is spaced and punctuated."""
    return "".join(filter(str.isalnum, text.casefold()))


def _is_sure_name(finding: Finding) -> bool:
    return finding.kind is Kind.PERSON and _rank(finding) >= SURE_FAMILY and finding.score >= SURE_NAME


def _rank(finding: Finding) -> int:
    """Of the family of the finding's recogniser."""
    return PRECEDENCE.index(finding.detector.partition("/")[0])
