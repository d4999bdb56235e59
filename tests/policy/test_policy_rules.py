"""Illegal combinations: each is refused with the rule's paragraph, and so is a claim that nothing stands behind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind
from guardedvlm.errors import Reason, Refused
from guardedvlm.policy import store
from guardedvlm.policy.document import examine
from guardedvlm.policy.load import parse_policy
from guardedvlm.policy.model import Policy, Release
from guardedvlm.policy.prohibited import LONGEST_DAYS, PROHIBITIONS
from guardedvlm.policy.store import PolicyStore

TODAY = datetime.now(UTC).date()
HIDE = "hide:\n" + "".join(f"  {kind}: label\n" for kind in Kind if kind not in RESERVED_KINDS)
QUIET = "[identify_person, describe_face, ethnicity, religion, health, sexual_orientation, age, reveal_hidden]"


def written(rules: str = "", text: str = "", ask: str = "", say: str = "", rest: str = "", days: int = 2557) -> str:
    return (
        'name: clinic\nversion: "2026-11-23"\ndescription: For tests.\n'
        f"rules: [{rules}]\n{HIDE}text: {{{text}}}\nask: {{{ask or f'forbid: {QUIET}'}}}\n"
        f"say: {{{say or f'forbid: {QUIET}'}}}\naudit: {{retention_days: {days}}}\n{rest}"
    )


def problems(text: str) -> list[str]:
    found = examine(text, "p", Policy, Reason.POLICY_INVALID)
    return [error.explanation for error in found] if isinstance(found, tuple) else []


def expert(version: str = "2026-11-23", determined: date = TODAY, expires: date = TODAY + timedelta(days=1)) -> str:
    return (
        f'expert: {{determination: "QA-117, signed", policy_version: "{version}", determined: {determined}, '
        f"expires: {expires}}}\n"
    )


INTERVAL = "date_labels: interval"
GIVEN_BACK = f"forbid: {QUIET}, reidentify: [PERSON]"
TALKATIVE = "forbid: [identify_person], reidentify: [PERSON]"
SOUND = [
    written(),
    written("hipaa_safe_harbor"),
    written("hipaa_safe_harbor", say=GIVEN_BACK),
    written("hipaa_expert", rest=expert()),
    written("hipaa_expert", INTERVAL, rest=expert()),
    written("pci_dss", say=GIVEN_BACK),
    written("gdpr"),
    written("gdpr", INTERVAL, say=GIVEN_BACK),
    written("gdpr", days=LONGEST_DAYS),
    written("gdpr, pci_dss, hipaa_expert", INTERVAL, say=GIVEN_BACK, rest=expert()),
    written(
        "gdpr",
        ask="forbid: [identify_person, describe_face, ethnicity, religion, sexual_orientation]",
        rest="gdpr: {special_categories: {health: h}, impact_assessment: DPIA-7}\n",
    ),
]


@pytest.mark.parametrize("text", SOUND)
def test_legal_combinations_are_taken(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "paragraph", "explanation"),
    [
        (
            written("hipaa_safe_harbor", INTERVAL),
            "hipaa_safe_harbor (45 CFR 164.514(b)(2)(i)(C) and (c)(1))",
            "labels may not tell the days between dates; set random",
        ),
        (
            written("hipaa_safe_harbor", say=TALKATIVE),
            "hipaa_safe_harbor (45 CFR 164.514(c)(2))",
            "where labels may be undone, forbid reveal_hidden under ask and say: the mechanism is not disclosed",
        ),
        (
            written("hipaa_safe_harbor", ask="forbid: [age]", say=GIVEN_BACK),
            "hipaa_safe_harbor (45 CFR 164.514(c)(2))",
            "where labels may be undone, forbid reveal_hidden under ask and say: the mechanism is not disclosed",
        ),
        (
            written("hipaa_expert"),
            "hipaa_expert (45 CFR 164.514(b)(1)(ii))",
            "the expert's determination must be documented; name it under expert",
        ),
        (
            written("hipaa_expert", rest=expert(version="2026-01-01")),
            "hipaa_expert (45 CFR 164.514(b)(1)(i))",
            "the determination is of another version of this policy",
        ),
        (
            written("hipaa_expert", rest=expert(determined=TODAY + timedelta(days=2), expires=date(2999, 1, 1))),
            "hipaa_expert (45 CFR 164.514(b)(1)(i))",
            "the determination lies in the future",
        ),
        (
            written("hipaa_expert", rest=expert(determined=date(2020, 1, 1), expires=TODAY)),
            "hipaa_expert (45 CFR 164.514(b)(1)(i))",
            "the determination has expired",
        ),
        (
            written("pci_dss", say=f"forbid: {QUIET}, reidentify: [PERSON, PAYMENT_CARD]"),
            "pci_dss (PCI DSS 4.0.1, 3.4.1 and 3.5.1)",
            "a card number may not be given back, sealed or not; remove PAYMENT_CARD",
        ),
        (
            written("pci_dss", rest="review: {margin: 0.1}\n"),
            "pci_dss (PCI DSS 4.0.1, 3.3.1)",
            "no picture may be kept for review: one that shows a card's verification code would be stored with it",
        ),
        (
            written("hipaa_safe_harbor", rest="review: {random: 0.1, days: 15}\n"),
            "hipaa_safe_harbor (45 CFR 164.502(b))",
            "a picture that may show protected health information is kept for 14 days at most",
        ),
        (
            written("hipaa_expert", rest=expert() + "review: {random: 0.1, days: 15}\n"),
            "hipaa_expert (45 CFR 164.502(b))",
            "a picture that may show protected health information is kept for 14 days at most",
        ),
        (
            written("glba", ask=f"forbid: {QUIET.replace(', reveal_hidden', '')}"),
            "glba (16 CFR 313.3(o)(2)(ii)(B))",
            "blind data stays blind: forbid identify_person and reveal_hidden under ask and say",
        ),
        (
            written("gdpr", days=LONGEST_DAYS + 1),
            "gdpr (Art. 5(1)(e))",
            f"nothing is kept longer than {LONGEST_DAYS} days",
        ),
        (
            written("gdpr", rest="gdpr: {special_categories: {age: a}, impact_assessment: DPIA-7}\n"),
            "gdpr (Art. 9(1))",
            "only these are special categories here: "
            "ethnicity, religion, health, sexual_orientation, identify_person, describe_face",
        ),
        (
            written("gdpr", rest="gdpr: {special_categories: {health: h}}\n"),
            "gdpr (Art. 35(3)(b))",
            "special categories at scale need an impact assessment; name the document",
        ),
    ],
)
def test_an_illegal_combination_is_refused_with_its_paragraph(text: str, paragraph: str, explanation: str) -> None:
    assert problems(text) == [f"{paragraph}: {explanation}"]


@pytest.mark.parametrize("topic", QUIET.strip("[]").split(", ")[:6])
@pytest.mark.parametrize("part", ["ask", "say"])
def test_every_special_category_is_forbidden_or_has_its_ground(topic: str, part: str) -> None:
    left = QUIET.replace(f"{topic}, ", "")
    spoken = written("gdpr", **{part: f"forbid: {left}"})
    (problem,) = problems(spoken)
    assert problem.startswith("gdpr (Art. 9(1)): ")
    assert f"forbid {topic} under ask and say" in problem
    assert problems(spoken + f"gdpr: {{special_categories: {{{topic}: a}}, impact_assessment: DPIA-7}}\n") == []


def test_the_table_is_tested_as_a_whole() -> None:
    """One case of each entry is above: a new entry needs one."""
    assert len(PROHIBITIONS) == 15 + 6 - 1  # two cases belong to 164.514(c)(2)


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (written(rest=expert()), "expert is given, but 'rules' does not name hipaa_expert"),
        (written("pci_dss", rest="gdpr: {}\n"), "gdpr is given, but 'rules' does not name gdpr"),
        (
            written("", INTERVAL),
            "interval derives labels from dates; a rule must allow it: "
            "hipaa_expert (45 CFR 164.514(b)(1)) or gdpr (Art. 4(5))",
        ),
        (
            written("pci_dss", INTERVAL),
            "interval derives labels from dates; a rule must allow it: "
            "hipaa_expert (45 CFR 164.514(b)(1)) or gdpr (Art. 4(5))",
        ),
        (
            written("gdpr", INTERVAL).replace("  DATE: label", "  DATE: fill"),
            "text.date_labels is interval, but hide.DATE is not label",
        ),
        (
            written(say="reidentify: [FACE, SSN]").replace("  FACE: label", "  FACE: fill"),
            "say.reidentify names what has no label under 'hide': FACE",
        ),
        (
            written(say="reidentify: [UNREADABLE]"),
            "say.reidentify names what has no label under 'hide': UNREADABLE",
        ),
        (written("hipaa_expert", rest="expert: {}\n"), "expert.determination is missing"),
    ],
)
def test_a_claim_that_nothing_stands_behind_is_refused(text: str, explanation: str) -> None:
    assert explanation in problems(text)


def test_a_word_or_a_date_that_is_wrong_is_named() -> None:
    wrong = written("hipaa_expert", rest=expert().replace("determination", "determinatoin"))
    assert "unknown key 'determinatoin' in expert; did you mean 'determination'?" in problems(wrong)
    wrong = written("hipaa_expert", rest=expert().replace(f"expires: {TODAY + timedelta(days=1)}", "expires: soon"))
    assert problems(wrong) == ["expert.expires must be a date, YYYY-MM-DD"]
    wrong = written("gdpr", rest="gdpr: {special_categories: {health: z}}\n")
    assert problems(wrong) == ["gdpr.special_categories.health: 'z' is not known"]


def test_no_rule_lets_labels_derive_from_data_but_those_that_the_table_names() -> None:
    for rules in ("hipaa_safe_harbor, hipaa_expert", "hipaa_safe_harbor, gdpr"):
        assert problems(written(rules, INTERVAL, rest=expert() if "expert" in rules else ""))[0].startswith(
            "hipaa_safe_harbor (45 CFR 164.514(b)(2)(i)(C)"
        )


def test_a_determination_that_expires_while_the_service_runs_ends_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clinic").mkdir()
    (tmp_path / "clinic" / "policy.yaml").write_text(written("hipaa_expert", rest=expert()))
    policies = PolicyStore(tmp_path)
    assert policies.policy_for("clinic").rules

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr(store, "datetime", Tomorrow)
    with pytest.raises(Refused) as refused:
        policies.policy_for("clinic")
    assert refused.value.reason is Reason.POLICY_EXPIRED


def test_a_policy_without_a_determination_is_always_in_force() -> None:
    assert parse_policy(written()).in_force(date(2999, 1, 1))


TOKEN = {"release": "token", "grounding": "off", "forbid": []}


def streaming(hidden: set[Kind], **say: object) -> Policy:
    """A policy that hides `hidden` and releases word by word."""
    hide = dict.fromkeys(hidden | {Kind.FACE}, Action.FILL)
    keep = set(Kind) - RESERVED_KINDS - hide.keys()
    return Policy(
        name="t", version="2026-01-01", description="t", hide=hide, keep=frozenset(keep), say={**TOKEN, **say}
    )


def test_token_goes_with_rules_that_need_no_sentence() -> None:
    assert streaming({Kind.SSN, Kind.PAYMENT_CARD, Kind.EMAIL}).say.release is Release.TOKEN


@pytest.mark.parametrize(
    ("hidden", "say", "rule"),
    [
        ({Kind.SSN, Kind.PERSON}, {}, "hide PERSON"),
        ({Kind.SSN}, {"forbid": ["age"]}, "say.forbid"),
        ({Kind.SSN}, {"grounding": "mask"}, "say.grounding mask"),
    ],
)
def test_token_with_a_rule_for_whole_sentences_is_refused(hidden: set[Kind], say: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        streaming(hidden, **say)
    assert rule in str(refusal.value)
