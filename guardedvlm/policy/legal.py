"""What a policy must do to claim that it follows a rule: identifiers to hide, and how long evidence is kept.

A policy that lists a rule under `rules` and does not do what it asks is refused, so that the claim in the file, in
GetPolicy and in the audit is never only a comment. This is the technical part of each rule, as far as a file can be
checked for it, and no legal advice. What must not stand together in a policy is in `policy.prohibited`.
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
    HIPAA_EXPERT = "hipaa_expert"
    """45 CFR 164.514(b)(1): what is hidden is what a documented determination by an expert says."""
    PCI_DSS = "pci_dss"
    """PCI DSS 4.0.1, requirements 3.4.1, 3.5.1 and 10.5.1."""
    GLBA = "glba"
    """16 CFR 313.3(o)(2)(ii)(B): what is left is blind data, without the identifiers of a consumer."""
    GDPR = "gdpr"
    """Regulation (EU) 2016/679, the articles that a file can be checked for: 4(5), 5(1)(c) and (e), 9, 25(2), 35(3)."""


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

BLIND_DATA: tuple[Identifier, ...] = (
    # "blind data that does not contain personal identifiers such as account numbers, names, or addresses"
    _identifier("16 CFR 313.3(o)(2)(ii)(B)", "names", Kind.PERSON, Kind.SIGNATURE),
    _identifier("16 CFR 313.3(o)(2)(ii)(B)", "addresses", Kind.ADDRESS, Kind.EMAIL, Kind.PHONE),
    _identifier(
        "16 CFR 313.3(o)(2)(ii)(B)",
        "account numbers",
        *(Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD, Kind.ROUTING, Kind.CODE),
    ),
    # "such as": what a bank asks to know its customer by identifies as well.
    _identifier(
        "16 CFR 313.3(o)(2)(ii)(B)",
        "other personal identifiers",
        *(Kind.SSN, Kind.DATE_OF_BIRTH, Kind.LICENSE, Kind.DOCUMENT_NUMBER, Kind.MRZ, Kind.FACE, Kind.OTHER_ID),
    ),
)
"""Gramm-Leach-Bliley: information without these is no personally identifiable financial information."""

DIRECT_IDENTIFIERS: tuple[Identifier, ...] = (
    # Dates, amounts and organisations may be what the purpose needs; who it is about never is, for a language model.
    _identifier("Art. 4(1) and 25(2)", "names", Kind.PERSON, Kind.SIGNATURE),
    _identifier(
        "Art. 4(1) and 25(2)",
        "identification numbers",
        *(Kind.SSN, Kind.MEDICAL_RECORD, Kind.HEALTH_PLAN, Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD),
        *(Kind.LICENSE, Kind.DOCUMENT_NUMBER, Kind.MRZ, Kind.VEHICLE, Kind.DEVICE, Kind.OTHER_ID, Kind.CODE),
    ),
    _identifier("Art. 4(1) and 25(2)", "location data", Kind.ADDRESS),
    _identifier("Art. 4(1) and 25(2)", "online identifiers", Kind.EMAIL, Kind.PHONE, Kind.IP_ADDRESS, Kind.URL),
    _identifier("Art. 4(1) and 25(2)", "physical and social identity", Kind.FACE, Kind.ATTRIBUTE, Kind.DATE_OF_BIRTH),
)
"""Article 4(1) names what identifies; 25(2) wants only what the purpose needs, by default."""

IDENTIFIERS: Mapping[Rule, tuple[Identifier, ...]] = {
    Rule.HIPAA_SAFE_HARBOR: SAFE_HARBOR,
    Rule.PCI_DSS: ACCOUNT_DATA,
    Rule.GLBA: BLIND_DATA,
    Rule.GDPR: DIRECT_IDENTIFIERS,
}
"""What a rule asks to hide. hipaa_expert is not here: 164.514(b)(1) leaves it to the expert."""

REFERENCE: Mapping[Rule, str] = {
    Rule.HIPAA_SAFE_HARBOR: "45 CFR 164.514(b)(2)(i)({})",
    Rule.PCI_DSS: "PCI DSS 4.0.1, {}",
    Rule.GLBA: "{}",
    Rule.GDPR: "{}",
}
"""How a paragraph of `IDENTIFIERS` is cited."""

RETENTION_DAYS: Mapping[Rule, int] = {
    Rule.HIPAA_SAFE_HARBOR: 2_192,  # six years, 45 CFR 164.316(b)(2)(i)
    Rule.HIPAA_EXPERT: 2_192,  # the same
    Rule.PCI_DSS: 366,  # twelve months, PCI DSS 4.0.1, 10.5.1
}
"""Days that the evidence of a rule is kept at least; the GDPR asks for no least time."""

RETENTION_REFERENCE: Mapping[Rule, str] = {
    Rule.HIPAA_SAFE_HARBOR: "45 CFR 164.316(b)(2)(i)",
    Rule.HIPAA_EXPERT: "45 CFR 164.316(b)(2)(i)",
    Rule.PCI_DSS: "PCI DSS 4.0.1, 10.5.1",
}
"""What asks for it."""
