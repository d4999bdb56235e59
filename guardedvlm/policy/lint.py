"""What is legal in a policy and probably not meant."""

from __future__ import annotations

from collections.abc import Iterator

from guardedvlm.core.finding import Action, Kind
from guardedvlm.policy.document import Document, Place
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.model import Mode, PersonalText, Policy, Topic
from guardedvlm.policy.yaml_tree import Where

LONG_DAYS = 3_653
"""Ten years: longer than what any rule of this package asks for."""
WELL_KNOWN = frozenset({"en"})
"""Languages whose topic rules are complete; of others the plain forms are known (guard.screen.topics)."""
LARGE_SHARE = 0.1
"""Of the requests. What bounds the risk is the number that was looked at, which grows with time at any share."""
PROTECTED = frozenset({Rule.HIPAA_SAFE_HARBOR, Rule.HIPAA_EXPERT, Rule.GDPR})
LINKS = frozenset({Kind.ACCOUNT, Kind.PERSON, Kind.MEDICAL_RECORD})
"""Kinds that questions tell apart: "from which account to which"."""


def warnings(document: Document[Policy], *, has_cases: bool) -> list[tuple[Place, str]]:
    """Warnings by line; none is an error."""
    found = [*_warnings(document.value, document)]
    if not has_cases:
        found.append(((), "has no cases: nobody notices when a rule changes what it does"))
    return sorted((document.source.place(where), text) for where, text in found)


def _warnings(policy: Policy, document: Document[Policy]) -> Iterator[tuple[Where, str]]:
    written = document.source.places
    if not policy.rules:
        yield ("rules",), "claims no rule, so no rule's identifiers, paragraphs or retention are checked"
    if policy.text.mode is Mode.BALANCED and ("text", "clear") in written:
        yield ("text", "clear"), "is read in strict mode only; balanced shows what was read and is not personal"
    for language in sorted(set(policy.text.languages) - WELL_KNOWN):
        yield ("text", "languages"), f"{language}: forbidden topics are known in their plain forms only"
    yield from _spoken(policy)
    for kind in sorted(LINKS):
        if policy.hide.get(kind) is Action.FILL:
            yield ("hide", kind.value), f"{kind} is filled: questions that tell two of them apart find no answer"
    if policy.say.personal is PersonalText.LABEL and not any(a is Action.LABEL for a in policy.hide.values()):
        yield ("say", "personal"), "is label, but no kind has labels"
    if policy.audit.retention_days > LONG_DAYS:
        yield ("audit", "retention_days"), "is more than ten years"
    yield from _reviewed(policy)
    if policy.say.reidentify and not policy.say.boxes:
        yield ("say", "reidentify"), "labels may be undone, but where they stand is not told (say.boxes)"


def _reviewed(policy: Policy) -> Iterator[tuple[Where, str]]:
    rules = policy.review
    if not rules.is_on:
        return
    if policy.rules & PROTECTED:
        yield ("review",), "keeps redacted pictures that may still show somebody: guard them like the originals"
    if rules.random > LARGE_SHARE:
        yield ("review", "random"), f"is more than {LARGE_SHARE:g}: an archive rather than a sample"
    if not rules.random:
        yield ("review", "random"), "is 0: without a random sample no residual risk can be stated"


def _spoken(policy: Policy) -> Iterator[tuple[Where, str]]:
    for topic in sorted(policy.ask.forbid - policy.say.forbid - {Topic.AGE}):
        yield ("say", "forbid"), f"{topic} may not be asked about, but it may be said"
    for topic in sorted(policy.say.forbid - policy.ask.forbid):
        yield ("ask", "forbid"), f"{topic} may not be said, but it may be asked about"
    for topic in sorted({Topic.IDENTIFY_PERSON, Topic.REVEAL_HIDDEN} - policy.ask.forbid - policy.say.forbid):
        yield ("ask", "forbid"), f"{topic} is forbidden neither in questions nor in answers"
