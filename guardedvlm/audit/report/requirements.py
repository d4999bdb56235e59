"""What four rules ask of records, and which section of the report answers. Not legal advice.

A requirement is told in our own words; whoever decides reads the rule itself. Checked against: 45 CFR part 164 as of
2025, PCI DSS 4.0.1, Regulation (EU) 2016/679, Regulation (EU) 2024/1689.
"""

from __future__ import annotations

from dataclasses import dataclass

CHECKED = (
    "Checked against 45 CFR part 164 as of 2025, PCI DSS 4.0.1, Regulation (EU) 2016/679 and Regulation (EU) 2024/1689."
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One paragraph: what it asks, where the report answers, and what it does not."""

    paragraph: str
    asks: str
    sections: tuple[str, ...]
    missing: str = ""  # what of it no ledger can show


@dataclass(frozen=True, slots=True)
class Regulation:
    """A rule and the requirements of it that a ledger can help with."""

    id: str
    name: str
    requirements: tuple[Requirement, ...]


HIPAA = Regulation(
    "hipaa",
    "HIPAA Security Rule, 45 CFR part 164",
    (
        Requirement(
            "164.312(b)",
            "Audit controls: mechanisms that record and examine activity",
            ("volumes", "refusals", "integrity"),
        ),
        Requirement(
            "164.308(a)(1)(ii)(D)",
            "Regular review of records of activity",
            ("review", "incidents"),
            "That somebody read this report is nowhere recorded.",
        ),
        Requirement(
            "164.312(c)(1), (2)",
            "Integrity: protection from improper alteration, and a way to see that it held",
            ("integrity",),
        ),
        Requirement(
            "164.312(d)",
            "Entity authentication",
            ("volumes",),
            "Callers are counted under pseudonyms; how each proved who it is stands in the tenants file.",
        ),
        Requirement(
            "164.316(b)(2)(i)",
            "Documentation kept for six years",
            ("policies", "integrity"),
            "The time of the oldest record is shown; that nothing older was due is the site's to show.",
        ),
        Requirement(
            "164.502(b)",
            "Minimum necessary",
            ("hidden", "policies"),
            "Whether the policy's choice is the minimum for the purpose is a decision, not a record.",
        ),
    ),
)

PCI = Regulation(
    "pci",
    "PCI DSS 4.0.1, requirement 10",
    (
        Requirement("10.2.1", "Audit logs are on and active", ("volumes", "integrity")),
        Requirement(
            "10.2.1.2, 10.2.1.6",
            "Administrative actions; starting, stopping and pausing of the logs",
            ("policies", "incidents"),
            "Who changed settings other than policies is not in the ledger.",
        ),
        Requirement(
            "10.2.2",
            "Who, what, when, outcome and origin of each event",
            ("volumes", "refusals"),
            "Network addresses are not recorded.",
        ),
        Requirement("10.3.2, 10.3.4", "Logs cannot be altered unseen", ("integrity",)),
        Requirement(
            "10.4.1",
            "Review of logs",
            ("review", "incidents"),
            "A daily review by a person or a tool is the site's to show.",
        ),
        Requirement(
            "10.5.1",
            "History of twelve months, three at once",
            ("integrity",),
            "The time of the oldest record is shown; archives elsewhere are not.",
        ),
        Requirement("10.6", "Synchronised time", (), "The ledger writes the machine's clock and cannot check it."),
        Requirement(
            "10.7.2, 10.7.3",
            "Failures of security controls are detected and answered",
            ("incidents", "refusals"),
            "Requests that were refused for it are counted; what people did then is not recorded.",
        ),
    ),
)

GDPR = Regulation(
    "gdpr",
    "GDPR, Article 30(1) and (2): record of processing",
    (
        Requirement(
            "Art. 30(1)(a)", "Name and contact of the controller", (), "Not in the ledger, which names nobody."
        ),
        Requirement(
            "Art. 30(1)(b)",
            "Purposes",
            ("policies",),
            "The policy in force is named; its description of the purpose stands in the policy file.",
        ),
        Requirement(
            "Art. 30(1)(c)",
            "Categories of data subjects and of personal data",
            ("hidden",),
            "Kinds of data that were hidden are counted; whose data they are is not known to the ledger.",
        ),
        Requirement(
            "Art. 30(1)(d)",
            "Categories of recipients",
            ("detectors",),
            "The model that got the redacted pictures is named; what callers did with answers is not recorded.",
        ),
        Requirement("Art. 30(1)(e)", "Transfers to third countries", (), "Not recorded."),
        Requirement(
            "Art. 30(1)(f)",
            "Time limits for erasure",
            ("integrity", "review"),
            "How long records are kept stands in the policy.",
        ),
        Requirement(
            "Art. 30(1)(g), 32(1)",
            "Technical measures, and tests of whether they work",
            ("hidden", "measured", "review", "integrity"),
        ),
    ),
)

AI_ACT = Regulation(
    "ai-act",
    "EU AI Act, Article 12 and its neighbours",
    (
        Requirement("Art. 12(1)", "Automatic recording of events over the lifetime", ("volumes", "integrity")),
        Requirement(
            "Art. 12(2)(a)",
            "Events that show where the system may present a risk, or was substantially modified",
            ("refusals", "incidents", "policies", "detectors"),
        ),
        Requirement("Art. 12(2)(b)", "Post-market monitoring", ("measured", "review", "incidents")),
        Requirement("Art. 12(2)(c), 26(5)", "Monitoring of operation by the deployer", ("volumes", "refusals")),
        Requirement(
            "Art. 14, 26(2)",
            "Human oversight",
            ("review",),
            "Views and marks of redacted pictures are recorded; oversight of answers is not.",
        ),
        Requirement("Art. 15", "Accuracy, declared with its metrics", ("measured",)),
        Requirement(
            "Art. 19(1), 26(6)",
            "Logs kept for six months at least",
            ("integrity",),
            "The time of the oldest record is shown.",
        ),
    ),
)

REGULATIONS = (HIPAA, PCI, GDPR, AI_ACT)
