"""Who may have labels undone, and what is given back."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from guardedvlm.audit.facts import Method
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import NotPermitted, Reason, Refused
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.redact import Labels
from guardedvlm.guard.reidentify import check_reidentification_allowed, holds_card, sealed_strings
from guardedvlm.guard.run import GuardRequest, Run
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.model import Policy, SayRules
from guardedvlm.transport.reidentification import OpeningKey

OPENING = OpeningKey(X25519PrivateKey.generate())
KEY = OPENING.public
REQUEST = "5f" * 16
MAY = Caller("clinic", "records-office", frozenset({Role.CALLER, Role.REIDENTIFY}))
MAY_NOT = Caller("clinic", "gateway", frozenset({Role.CALLER, Role.REVIEWER, Role.POLICY_ADMIN}))


def policy(*kinds: Kind, rules: frozenset[Rule] = frozenset()) -> Policy:
    return Policy(
        name="test",
        version="2025-01-01",
        description="for tests",
        rules=rules,
        hide=dict.fromkeys(set(Kind) - RESERVED_KINDS, Action.LABEL),
        say=SayRules(reidentify=frozenset(kinds)),
    )


def test_role_policy_and_key_together_allow_it() -> None:
    check_reidentification_allowed(MAY, policy(Kind.PERSON), KEY)
    with pytest.raises(NotPermitted) as unknown:
        check_reidentification_allowed(MAY_NOT, policy(Kind.PERSON), KEY)
    assert unknown.value.reason is Reason.ROLE_MISSING
    for rules, key in ((policy(), KEY), (policy(Kind.PERSON), None)):
        with pytest.raises(Refused) as refused:
            check_reidentification_allowed(MAY, rules, key)
        assert refused.value.reason is Reason.POLICY_FORBIDS


def wishing(policy: Policy, *, image: bool = False, strings: bool = False) -> Run:
    request = GuardRequest(
        MAY, policy, RawImage(b""), Deadline.after(9), Method.REDACT_IMAGE, "", None, image, strings, KEY
    )
    return Run(request, None, None, None)  # type: ignore[arg-type]  # nothing but the request is looked at


def test_a_picture_that_the_policy_does_not_give_out_is_refused() -> None:
    closed = policy(Kind.PERSON).model_copy(update={"say": SayRules(redacted_image=False)})
    wishing(closed).check_wishes_allowed()
    wishing(policy(Kind.PERSON), image=True, strings=True).check_wishes_allowed()
    for run in (wishing(closed, image=True), wishing(closed, strings=True), wishing(policy(), strings=True)):
        with pytest.raises(Refused) as refused:
            run.check_wishes_allowed()
        assert refused.value.reason is Reason.POLICY_FORBIDS


def test_nothing_is_sealed_that_nobody_asked_for() -> None:
    labels = Labels(found(PERSON="Jane Doe"), policy(Kind.PERSON))
    assert wishing(policy(Kind.PERSON)).sealed(labels) is None


def found(**texts: str) -> list[Finding]:
    return [Finding(Kind(kind), Box(0, 0, 9, 9), 0.9, "test", secret=text) for kind, text in texts.items()]


def given_back(findings: list[Finding], rules: Policy) -> dict[str, tuple[str, ...]]:
    sealed = sealed_strings(Labels(findings, rules), rules, KEY, REQUEST)
    opened = OPENING.open(sealed.box, REQUEST)
    assert sealed.labels == len(opened)
    return {label.rpartition("-")[0]: read for label, read in opened.items()}


def test_only_the_kinds_that_the_policy_names_are_given_back() -> None:
    findings = found(PERSON="Jane Doe", SSN="123-45-6789", DATE="3 May 2024")
    assert given_back(findings, policy(Kind.PERSON, Kind.DATE)) == {"PERSON": ("Jane Doe",), "DATE": ("3 May 2024",)}
    assert given_back(findings, policy(Kind.URL)) == {}


def test_no_card_number_is_given_back_under_pci_whatever_it_was_taken_for() -> None:
    findings = found(PERSON="Jane Doe", ACCOUNT="no. 4111 1111 1111 1111 / 7", OTHER_ID="12-34")
    pci = policy(Kind.PERSON, Kind.ACCOUNT, Kind.OTHER_ID, rules=frozenset({Rule.PCI_DSS}))
    assert given_back(findings, pci) == {"PERSON": ("Jane Doe",), "OTHER_ID": ("12-34",)}
    assert "ACCOUNT" in given_back(findings, policy(Kind.ACCOUNT))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("4111111111111111", True),
        ("4111-1111-1111-1111", True),
        ("00 4111 1111 1111 1111 99", True),
        ("4111.1111.1111.1112", False),
        ("12345", False),
        ("", False),
        ("4111 1111 and 1111 1111", True),
        ("4111 - 1111 - 1111 - 1111", True),
        ("4111\u20131111\u20131111\u20131111", True),
        ("4111/1111/1111\n1111", True),
        ("\uff14111 1111 1111 1111", True),
        ("4111 1111 1111 111l", True),
        ("4111 1111 1111 1112", False),
    ],
)
def test_card_numbers_are_seen_in_pieces(text: str, holds: bool) -> None:
    assert holds_card(text) is holds
