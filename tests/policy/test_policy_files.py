"""The policies that are shipped, and the rules that a policy can claim."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind
from guardedvlm.policy.document import require
from guardedvlm.policy.legal import IDENTIFIERS, REFERENCE, RETENTION_DAYS, RETENTION_REFERENCE, SAFE_HARBOR, Rule
from guardedvlm.policy.load import examine_policy, load_policy
from guardedvlm.policy.model import Clear, Mode, Policy, Topic
from guardedvlm.policy.prohibited import PROHIBITIONS
from guardedvlm.policy.store import PolicyStore

FOLDER = Path(__file__).parents[2] / "policies"
HEALTHCARE = (FOLDER / "healthcare" / "policy.yaml").read_text()
FINANCE = (FOLDER / "finance" / "policy.yaml").read_text()


def parsed(text: str) -> Policy:
    return require(examine_policy(text, "p", FOLDER / "base")).value


def problems(text: str) -> list[str]:
    found = examine_policy(text, "p", FOLDER / "base")
    return [error.explanation for error in found] if isinstance(found, tuple) else []


def test_the_store_takes_all_of_them() -> None:
    assert PolicyStore(FOLDER).names == {"healthcare", "finance"}


def test_healthcare_hides_all_eighteen_identifiers() -> None:
    policy = load_policy(FOLDER / "healthcare" / "policy.yaml")
    assert [identifier.paragraph for identifier in SAFE_HARBOR] == list(string.ascii_uppercase[:18])
    assert [identifier.paragraph for identifier in SAFE_HARBOR if not identifier.kinds] == ["P"]
    for identifier in SAFE_HARBOR:
        for kind in identifier.kinds:
            assert policy.action(kind) in {Action.FILL, Action.LABEL}, kind
    assert policy.keep == {Kind.AMOUNT}
    assert policy.text.mode is Mode.STRICT
    assert Clear.DATES not in policy.text.clear
    assert Clear.AMOUNTS in policy.text.clear
    assert {Topic.IDENTIFY_PERSON, Topic.DESCRIBE_FACE, Topic.REVEAL_HIDDEN} <= policy.ask.forbid
    assert Topic.HEALTH not in policy.ask.forbid


def test_safe_harbor_knows_every_kind_but_amounts() -> None:
    # A new Kind must be put under an identifier, or deliberately left out here.
    known = frozenset().union(*(identifier.kinds for identifier in SAFE_HARBOR))
    assert set(Kind) - RESERVED_KINDS - known == {Kind.AMOUNT}


def test_finance_lets_receipts_be_answered() -> None:
    policy = load_policy(FOLDER / "finance" / "policy.yaml")
    assert policy.keep == {Kind.AMOUNT, Kind.DATE, Kind.ORGANIZATION}
    assert policy.text.mode is Mode.BALANCED
    assert policy.action(Kind.DATE) is Action.KEEP
    for kind in (Kind.PERSON, Kind.ADDRESS, Kind.ACCOUNT, Kind.PAYMENT_CARD, Kind.DATE_OF_BIRTH, Kind.FACE):
        assert policy.action(kind) is not Action.KEEP


@pytest.mark.parametrize("kind", sorted(kind for kind in Kind if kind not in RESERVED_KINDS | {Kind.AMOUNT}))
def test_no_identifier_can_be_kept_under_safe_harbor(kind: Kind) -> None:
    lines = [line for line in HEALTHCARE.splitlines() if not line.startswith(f"  {kind}: ")]
    text = "\n".join(lines).replace("keep: [AMOUNT]", f"keep: [AMOUNT, {kind}]")
    found = problems(text)
    assert found
    assert all(
        one.startswith("hipaa_safe_harbor (45 CFR 164.514(b)(2)(i)(") and one.endswith(f"asks to hide: {kind}")
        for one in found
    )
    assert not problems(text.replace("rules: [hipaa_safe_harbor]", "rules: []"))


def test_evidence_is_kept_as_long_as_a_rule_asks() -> None:
    short = HEALTHCARE.replace("retention_days: 2192", "retention_days: 2191")
    assert problems(short) == [
        "hipaa_safe_harbor (45 CFR 164.316(b)(2)(i)) asks for at least 2192 days of evidence, not 2191"
    ]
    short = FINANCE.replace("retention_days: 2557", "retention_days: 365")
    assert problems(short) == ["pci_dss (PCI DSS 4.0.1, 10.5.1) asks for at least 366 days of evidence, not 365"]


def test_card_numbers_cannot_be_kept_under_pci() -> None:
    text = FINANCE.replace("  PAYMENT_CARD: label", "  #").replace("keep: [AMOUNT", "keep: [PAYMENT_CARD, AMOUNT")
    assert problems(text) == [
        "glba (16 CFR 313.3(o)(2)(ii)(B), account numbers) asks to hide: PAYMENT_CARD",
        "pci_dss (PCI DSS 4.0.1, 3.4.1, primary account numbers) asks to hide: PAYMENT_CARD",
    ]


def test_every_rule_has_its_tables() -> None:
    assert set(IDENTIFIERS) == set(Rule) - {Rule.HIPAA_EXPERT}  # (b)(1) leaves it to the expert
    assert set(RETENTION_DAYS) == set(Rule) - {Rule.GDPR, Rule.GLBA}  # a longest time only; none
    assert all(IDENTIFIERS.values())
    assert (set(REFERENCE), set(RETENTION_REFERENCE)) == (set(IDENTIFIERS), set(RETENTION_DAYS))
    assert {entry.rule for entry in PROHIBITIONS} == set(Rule)
    assert all(any(char.isdigit() for char in entry.paragraph) for entry in PROHIBITIONS)


def test_the_digest_covers_what_takes_effect_and_nothing_else() -> None:
    policy = parsed(HEALTHCARE)
    assert parsed(HEALTHCARE + "\n# another comment\n").digest() == policy.digest()
    assert parsed(HEALTHCARE.replace("retention_days: 2192", "retention_days: 2193")).digest() != policy.digest()
    assert parsed(HEALTHCARE.replace("rules: [hipaa_safe_harbor]", "rules: []")).digest() != policy.digest()
    assert policy.action(Kind.UNREADABLE) is Action.FILL
