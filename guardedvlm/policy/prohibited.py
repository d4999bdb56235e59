"""What must not stand together in a policy, for the rules that it claims; each entry with the paragraph that says so.

A table, so that a reader from the legal side can check it line by line. An entry says how a policy breaks it, never how
to get around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias

from guardedvlm.core.finding import Kind
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.vocabulary import DateLabels, Topic
from guardedvlm.policy.yaml_tree import Where

if TYPE_CHECKING:
    from guardedvlm.policy.model import Policy

Ground: TypeAlias = Literal["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
"""Letters of Article 9(2) GDPR."""

LONGEST_DAYS = 3_653
"""Ten years. Article 5(1)(e) GDPR names no number; this one is ours, and longer than every retention in this package
(seven years for SOX): a longer one is a decision for which no rule here can stand."""

REVIEW_DAYS = 14
"""Under HIPAA. The rule names no number; this one is ours: two weeks of a reviewer's work, and no archive of what may
show protected health information."""

SPECIAL_CATEGORIES: Mapping[Topic, str] = {
    Topic.ETHNICITY: "racial or ethnic origin",
    Topic.RELIGION: "religious beliefs",
    Topic.HEALTH: "data concerning health",
    Topic.SEXUAL_ORIENTATION: "sex life or sexual orientation",
    Topic.IDENTIFY_PERSON: "biometric data that identify",
    Topic.DESCRIBE_FACE: "biometric data that identify",
}
"""What Article 9(1) GDPR prohibits to process, as far as a topic stands for it."""

DERIVED: Mapping[Rule, str] = {
    Rule.HIPAA_EXPERT: "45 CFR 164.514(b)(1)",  # the expert has looked at exactly this
    Rule.GDPR: "Art. 4(5)",  # pseudonyms may derive from data; what they stand for is personal data all the same
}
"""Rules that allow labels which derive from what they hide, such as an interval between dates."""

Broken: TypeAlias = "Callable[[Policy, date], bool]"


@dataclass(frozen=True, slots=True)
class Prohibition:
    """A policy that claims `rule` may not be so that `is_broken` holds of it on this day."""

    rule: Rule
    paragraph: str
    where: Where
    explanation: str
    is_broken: Broken


def _speaks_of(policy: Policy, topic: Topic) -> bool:
    """Whether the topic may be asked or answered without a ground for it."""
    grounds = policy.gdpr.special_categories if policy.gdpr else {}
    return topic not in policy.ask.forbid & policy.say.forbid and topic not in grounds


def _special_category(topic: Topic) -> Prohibition:
    explanation = (
        f"{SPECIAL_CATEGORIES[topic]}: forbid {topic} under ask and say, or name under gdpr.special_categories the "
        "letter of Art. 9(2) that allows it"
    )
    return Prohibition(
        Rule.GDPR, "Art. 9(1)", ("ask", "forbid"), explanation, lambda policy, _: _speaks_of(policy, topic)
    )


PROHIBITIONS: tuple[Prohibition, ...] = (
    # Safe Harbor. Days between dates are elements of dates, and a label that tells them is derived from the data.
    Prohibition(
        Rule.HIPAA_SAFE_HARBOR,
        "45 CFR 164.514(b)(2)(i)(C) and (c)(1)",
        ("text", "date_labels"),
        "labels may not tell the days between dates; set random",
        lambda policy, _: policy.text.date_labels is DateLabels.INTERVAL,
    ),
    # (c) lets the covered entity itself re-identify, with a code that is not derived from the data (our labels are
    # random) and whose mechanism is not disclosed: the map is sealed for a key that this service does not have, and
    # nobody may talk the model into guessing.
    Prohibition(
        Rule.HIPAA_SAFE_HARBOR,
        "45 CFR 164.514(c)(2)",
        ("say", "reidentify"),
        "where labels may be undone, forbid reveal_hidden under ask and say: the mechanism is not disclosed",
        lambda policy, _: (
            bool(policy.say.reidentify) and Topic.REVEAL_HIDDEN not in policy.ask.forbid & policy.say.forbid
        ),
    ),
    Prohibition(
        Rule.HIPAA_EXPERT,
        "45 CFR 164.514(b)(1)(ii)",
        ("rules",),
        "the expert's determination must be documented; name it under expert",
        lambda policy, _: policy.expert is None,
    ),
    Prohibition(
        Rule.HIPAA_EXPERT,
        "45 CFR 164.514(b)(1)(i)",
        ("expert", "policy_version"),
        "the determination is of another version of this policy",
        lambda policy, _: policy.expert is not None and policy.expert.policy_version != policy.version,
    ),
    Prohibition(
        Rule.HIPAA_EXPERT,
        "45 CFR 164.514(b)(1)(i)",
        ("expert", "determined"),
        "the determination lies in the future",
        lambda policy, today: policy.expert is not None and policy.expert.determined > today,
    ),
    # The regulation knows no expiry; HHS's guidance of 2012 (2.8) describes time-limited determinations, because what
    # others know about people grows.
    Prohibition(
        Rule.HIPAA_EXPERT,
        "45 CFR 164.514(b)(1)(i)",
        ("expert", "expires"),
        "the determination has expired",
        lambda policy, today: policy.expert is not None and policy.expert.expires <= today,
    ),
    Prohibition(
        Rule.PCI_DSS,
        "PCI DSS 4.0.1, 3.4.1 and 3.5.1",
        ("say", "reidentify"),
        "a card number may not be given back, sealed or not; remove PAYMENT_CARD",
        lambda policy, _: Kind.PAYMENT_CARD in policy.say.reidentify,
    ),
    # 3.3.1 holds for encrypted storage as well. A picture in which a card's verification code was missed would be
    # exactly that.
    Prohibition(
        Rule.PCI_DSS,
        "PCI DSS 4.0.1, 3.3.1",
        ("review",),
        "no picture may be kept for review: one that shows a card's verification code would be stored with it",
        lambda policy, _: policy.review.is_on,
    ),
    *(
        Prohibition(
            rule,
            "45 CFR 164.502(b)",
            ("review", "days"),
            f"a picture that may show protected health information is kept for {REVIEW_DAYS} days at most",
            lambda policy, _: policy.review.is_on and policy.review.days > REVIEW_DAYS,
        )
        for rule in (Rule.HIPAA_SAFE_HARBOR, Rule.HIPAA_EXPERT)
    ),
    Prohibition(
        Rule.GLBA,
        "16 CFR 313.3(o)(2)(ii)(B)",
        ("ask", "forbid"),
        "blind data stays blind: forbid identify_person and reveal_hidden under ask and say",
        lambda policy, _: not {Topic.IDENTIFY_PERSON, Topic.REVEAL_HIDDEN} <= policy.ask.forbid & policy.say.forbid,
    ),
    *map(_special_category, SPECIAL_CATEGORIES),
    Prohibition(
        Rule.GDPR,
        "Art. 9(1)",
        ("gdpr", "special_categories"),
        f"only these are special categories here: {', '.join(SPECIAL_CATEGORIES)}",
        lambda policy, _: (
            policy.gdpr is not None and not policy.gdpr.special_categories.keys() <= set(SPECIAL_CATEGORIES)
        ),
    ),
    Prohibition(
        Rule.GDPR,
        "Art. 35(3)(b)",
        ("gdpr", "impact_assessment"),
        "special categories at scale need an impact assessment; name the document",
        lambda policy, _: (
            policy.gdpr is not None and bool(policy.gdpr.special_categories) and policy.gdpr.impact_assessment is None
        ),
    ),
    Prohibition(
        Rule.GDPR,
        "Art. 5(1)(e)",
        ("audit", "retention_days"),
        f"nothing is kept longer than {LONGEST_DAYS} days",
        lambda policy, _: policy.audit.retention_days > LONGEST_DAYS,
    ),
)
"""Every combination that the loader refuses because of a rule."""


def broken(policy: Policy, today: date) -> Iterator[tuple[Where, str]]:
    """Where and why `policy` breaks a rule that it claims, or leans on one that it does not claim."""
    for entry in PROHIBITIONS:
        if entry.rule in policy.rules and entry.is_broken(policy, today):
            yield entry.where, f"{entry.rule} ({entry.paragraph}): {entry.explanation}"
    # A claim that no rule stands behind would be a comment.
    for section, rule in (("expert", Rule.HIPAA_EXPERT), ("gdpr", Rule.GDPR)):
        if getattr(policy, section) is not None and rule not in policy.rules:
            yield (section,), f"{section} is given, but 'rules' does not name {rule}"
    unallowed = not policy.rules & (set(DERIVED) | {Rule.HIPAA_SAFE_HARBOR})  # Safe Harbor has said no above
    if policy.text.date_labels is DateLabels.INTERVAL and unallowed:
        allowed = " or ".join(f"{rule} ({paragraph})" for rule, paragraph in DERIVED.items())
        yield ("text", "date_labels"), f"interval derives labels from dates; a rule must allow it: {allowed}"
