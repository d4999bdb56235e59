"""What a policy must do to claim that it follows a rule: identifiers to hide, and how long evidence is kept.

A policy that lists a rule under `rules` and does not do what it asks is refused, so that the claim in the file, in
GetPolicy and in the audit is never only a comment. This is the technical part of each rule and no legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from guardedvlm.core.finding import Kind


class Rule(StrEnum):
    """Rules that a policy can claim to follow."""

    HIPAA_SAFE_HARBOR = "hipaa_safe_harbor"
    """45 CFR 164.514(b)(2)(i)."""
    PCI_DSS = "pci_dss"
    """PCI DSS 4.0.1, requirements 3.4.1 and 10.5.1."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier that a rule names, and the kinds that stand for it."""

    paragraph: str
    name: str
    kinds: frozenset[Kind]


def _identifier(paragraph: str, name: str, *kinds: Kind) -> Identifier:
    return Identifier(paragraph, name, frozenset(kinds))


SAFE_HARBOR: tuple[Identifier, ...] = (
    # "of the individual or of relatives, employers, or household members": an employer's name is one of them, and a
    # provider's name on a letterhead is how a patient of a small town is found.
    _identifier("A", "names", Kind.PERSON, Kind.SIGNATURE, Kind.ORGANIZATION),
    _identifier("B", "geographic subdivisions smaller than a state", Kind.ADDRESS),
    _identifier("C", "dates but the year, ages over 89", Kind.DATE, Kind.DATE_OF_BIRTH, Kind.AGE),
    _identifier("D", "telephone numbers", Kind.PHONE),
    _identifier("E", "fax numbers", Kind.PHONE),
    _identifier("F", "e-mail addresses", Kind.EMAIL),
    _identifier("G", "social security numbers", Kind.SSN),
    _identifier("H", "medical record numbers", Kind.MEDICAL_RECORD),
    _identifier("I", "health plan beneficiary numbers", Kind.HEALTH_PLAN),
    _identifier("J", "account numbers", Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD, Kind.ROUTING),
    _identifier("K", "certificate and license numbers", Kind.LICENSE, Kind.DOCUMENT_NUMBER, Kind.MRZ),
    _identifier("L", "vehicle identifiers and plates", Kind.VEHICLE),
    _identifier("M", "device identifiers and serial numbers", Kind.DEVICE),
    _identifier("N", "URLs", Kind.URL),
    _identifier("O", "IP addresses", Kind.IP_ADDRESS),
    # No kind stands for them: a picture that *is* a fingerprint, an iris or a retina must not be sent at all.
    _identifier("P", "biometric identifiers"),
    _identifier("Q", "full-face photographs and comparable images", Kind.FACE),
    # Height, eye colour and place of birth on an identity document single a person out together.
    _identifier("R", "any other unique number, characteristic or code", Kind.OTHER_ID, Kind.CODE, Kind.ATTRIBUTE),
)
"""The 18 identifiers of 45 CFR 164.514(b)(2)(i)(A)-(R)."""

ACCOUNT_DATA: tuple[Identifier, ...] = (
    # 3.4.1 would allow the first six and last four digits to those who need them; a language model does not.
    _identifier("3.4.1", "primary account numbers", Kind.PAYMENT_CARD),
)
"""PCI DSS 4.0.1, requirement 3."""

IDENTIFIERS: Mapping[Rule, tuple[Identifier, ...]] = {
    Rule.HIPAA_SAFE_HARBOR: SAFE_HARBOR,
    Rule.PCI_DSS: ACCOUNT_DATA,
}

RETENTION_DAYS: Mapping[Rule, int] = {
    Rule.HIPAA_SAFE_HARBOR: 2_192,  # six years, 45 CFR 164.316(b)(2)(i)
    Rule.PCI_DSS: 366,  # twelve months, PCI DSS 4.0.1, 10.5.1
}
"""Days that the evidence of a rule is kept at least."""
