"""Which labels may be undone, for whom: decided before the picture is touched."""

from __future__ import annotations

import unicodedata

from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import NotPermitted, Reason, Refused
from guardedvlm.guard.detect.personal.checks import payment_card
from guardedvlm.guard.redact import Labels
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.model import Policy
from guardedvlm.transport.reidentification import Sealed, SealingKey

CARD_DIGITS = range(12, 20)
"""Lengths of a PAN (ISO/IEC 7812-1: up to 19)."""
_DIGITS_READ = str.maketrans("OoIl|", "00111")
"""Letters that readers take digits for."""


def check_reidentification_allowed(caller: Caller, policy: Policy, key: SealingKey | None) -> None:
    """Raise NotPermitted(ROLE_MISSING) for a caller without the role, Refused(POLICY_FORBIDS) where the policy gives
    back no kind or no key is named: a map that could not be sealed is not made."""
    if Role.REIDENTIFY not in caller.roles:
        raise NotPermitted(Reason.ROLE_MISSING)
    if not policy.say.reidentify or key is None:
        raise Refused(Reason.POLICY_FORBIDS)


def sealed_strings(labels: Labels, policy: Policy, key: SealingKey, request: str) -> Sealed:
    """What the labels stand for, of the kinds that the policy gives back, sealed for `key`."""
    behind = labels.by_label(policy.say.reidentify)
    if Rule.PCI_DSS in policy.rules:
        # 3.4.1, 3.5.1: whatever kind it was taken for ("ACCOUNT"), a card number is not given back.
        behind = {label: read for label, read in behind.items() if not any(map(holds_card, read))}
    return key.seal(behind, request)


def holds_card(text: str) -> bool:
    """Whether a PAN may stand in `text`, in pieces however parted, misread, or within a longer number.

    In doubt it does: a string with more digits than one that is kept back here wrongly is only not given back.
    """
    read = unicodedata.normalize("NFKC", text).translate(_DIGITS_READ)
    run = "".join(filter(str.isdigit, read))
    return any(
        payment_card(run[start : start + length]) for length in CARD_DIGITS for start in range(len(run) - length + 1)
    )
