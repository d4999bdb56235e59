"""Warnings stand on the line that they are about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guardedvlm.policy.document import require
from guardedvlm.policy.lint import warnings
from guardedvlm.policy.load import examine_policy

FOLDER = Path(__file__).parents[2] / "policies"
FINANCE = (FOLDER / "finance" / "policy.yaml").read_text()


def linted(text: str, *, has_cases: bool = True) -> list[str]:
    document = require(examine_policy(text, "p", FOLDER / "base"))
    lines = text.splitlines()
    return [
        f"{lines[place.line - 1].split(':')[0].strip()}: {told}"
        for place, told in warnings(document, has_cases=has_cases)
    ]


def test_the_shipped_policy_has_none() -> None:
    assert linted(FINANCE) == []
    assert linted(FINANCE, has_cases=False)[0].endswith("nobody notices when a rule changes what it does")


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("rules: [pci_dss, glba]", "rules: []", "rules: claims no rule"),
        ("languages: [en]", "languages: [en, de]", "languages: de: forbidden topics"),
        ("  mode: balanced", "  mode: balanced\n  clear: [labels]", "clear: is read in strict mode only"),
        ("  PERSON: label", "  PERSON: fill", "PERSON: PERSON is filled"),
        ("retention_days: 2557", "retention_days: 4000", "retention_days: is more than ten years"),
        ("reidentify: []", "reidentify: [PERSON]", "reidentify: labels may be undone"),
        (
            "religion, health, sexual_orientation, age,",
            "religion, health, age,",
            "forbid: sexual_orientation may not be said",
        ),
    ],
)
def test_what_is_probably_not_meant(old: str, new: str, warning: str) -> None:
    text = FINANCE.replace(old, new, 1)
    if "reidentify" in old:
        text = text.replace("boxes: true", "boxes: false")
    assert any(told.startswith(warning) for told in linted(text))


@pytest.mark.parametrize(
    ("review", "warning"),
    [
        (
            "random: 0.01, days: 3",
            "keeps redacted pictures that may still show somebody: guard them like the originals",
        ),
        ("random: 0.5", "is more than 0.1: an archive rather than a sample"),
        ("random: 0, margin: 0.1", "is 0: without a random sample no residual risk can be stated"),
    ],
)
def test_pictures_that_are_kept_for_review_are_warned_of(review: str, warning: str) -> None:
    healthcare = (FOLDER / "healthcare" / "policy.yaml").read_text()
    document = require(examine_policy(f"{healthcare}\nreview: {{{review}}}\n", "p", FOLDER / "base"))
    assert warning in [told for _, told in warnings(document, has_cases=True)]
    quiet = require(examine_policy(f"{healthcare}\nreview: {{random: 0}}\n", "p", FOLDER / "base"))
    assert not any("review" in told or "redacted pictures" in told for _, told in warnings(quiet, has_cases=True))


def test_what_nobody_forbids_is_told() -> None:
    text = FINANCE.replace("identify_person, ", "").replace("rules: [pci_dss, glba]", "rules: [pci_dss]")
    assert linted(text) == ["forbid: identify_person is forbidden neither in questions nor in answers"]


def test_labels_that_no_kind_has() -> None:
    text = re.sub(r"^(  [A-Z_]+): label", r"\1: fill", FINANCE, flags=re.MULTILINE)
    text = text.replace("personal: mask", "personal: label")
    assert any("is label, but no kind has labels" in told for told in linted(text))
