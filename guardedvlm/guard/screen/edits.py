"""Personal places of a text, and what is written in their stead."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from guardedvlm.core.finding import RESERVED_KINDS, Kind, Span
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.personal import numbers
from guardedvlm.guard.detect.personal.view import folded
from guardedvlm.guard.screen.deny import DenySet, Match, normalise_secret
from guardedvlm.guard.screen.forms import Forms
from guardedvlm.policy.model import PersonalText, Policy

Spans = Callable[[str], Awaitable[tuple[Span, ...]]]
"""The personal-data recognisers of the pipeline: spans of a text, or an error."""

LABEL = re.compile(
    rf"\b(?:{'|'.join(Kind)})-[A-Z]{{1,2}}\b(?:\+\d{{1,3}}d\b)?|\[(?:{'|'.join(Kind)}|HIDDEN|UNGROUNDED)\]"
)
"""What the guard itself writes in the place of a value: it tells nothing and passes untouched (`own_labels`)."""
_NUMBER_PIECES = re.compile(r"(?<=\d)(?![.,]\d{1,3}(?!\d))[^\w]{1,4}(?=\d)")
"""What stands between the pieces of a number; not the marks of "1,234.50", or a column of amounts became a card."""
_JOINED_RULES = (numbers.payment_cards, numbers.ibans)
"""Numbers with check digits: the only ones that are believed when digits were put together from pieces. Any other rule
would make an account number of a column of amounts."""
HIDDEN_MASK = "[HIDDEN]"
UNGROUNDED_MASK = "[UNGROUNDED]"


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters [start, end) are replaced. `secrets` are candidates for what stood there, the text itself first."""

    start: int
    end: int
    kind: Kind
    secrets: tuple[str, ...] = field(default=(), repr=False)
    ungrounded: bool = False  # nobody's value that is known: it does not stand in the picture

    def moved(self, offset: int) -> Edit:
        """The same edit in a text that starts `offset` characters earlier."""
        return replace(self, start=self.start + offset, end=self.end + offset)


def own_labels(text: str, dealt: Collection[str]) -> Iterator[re.Match[str]]:
    """The guard's labels and masks in a text. One with a number in it ("DATE-A+14d") is believed only where this
    request `dealt` it: any number can be written like that."""
    return (label for label in LABEL.finditer(text) if "+" not in label[0] or label[0] in dealt)


async def personal_edits(
    text: str, policy: Policy, spans: Spans, hidden: Sequence[DenySet], dealt: Collection[str] = ()
) -> tuple[Edit, ...]:
    """Every place of a normalised text that the policy hides, merged where they overlap, in order.

    Looks three times: recognisers on the text, those of numbers with check digits on the text with numbers put together
    that were written in pieces ("4111. 1111. ..."), and the hidden strings of this request. Labels of the guard are
    left alone.
    Raises what the recognisers raise; Refused(DETECTOR_FAILED) where a span lies outside the text.
    """
    if not any(map(str.isalnum, text)):
        return ()
    forms = Forms.of(text)
    found = [match for deny in hidden for match in deny.matches(forms)] + _as_matches(await spans(text), len(text))
    found += _in_pieces(text)
    kept_out = [_whole_words(text, match) for match in found if policy.hides(match.kind)]
    labels = list(own_labels(text, dealt))
    return _merged(text, [part for match in kept_out for part in _outside_labels(text, match, labels)])


class Substitutes:
    """What is written in the place of a value: one label for one value throughout a request.

    `labels`: hidden text, in any spelling -> the label that the picture shows in its place. `taken`: labels of the
    picture, also those of which no text is known.
    """

    def __init__(self, labels: Mapping[str, str], personal: PersonalText, taken: Collection[str] = ()) -> None:
        self._personal = personal
        self.dealt_before = frozenset(taken).union(labels.values())
        """Labels of this request before its answer."""
        self._labels = {normalise_secret(secret): label for secret, label in labels.items()}
        self.dealt: dict[str, str] = {}
        """Labels that no value of the picture has: value -> label, for the values of a question. Content."""

    def of(self, edit: Edit) -> str:
        """The label or mask for `edit`; a value without a label in the picture gets the next free one of its kind."""
        if edit.kind in RESERVED_KINDS or self._personal is not PersonalText.LABEL:
            return mask(edit)
        for secret in edit.secrets:
            if label := self._labels.get(secret) or self._label_of_part(secret, edit.kind):
                return label
        label = self._next(edit.kind)
        if label is None:
            return mask(edit)
        if edit.secrets:
            self._labels[edit.secrets[0]] = self.dealt[edit.secrets[0]] = label
        return label

    def _label_of_part(self, part: str, kind: Kind) -> str | None:
        """The label of the only value of `kind` that contains `part` ("Smith" of "John Smith")."""
        labels = {label for value, label in self._labels.items() if part in value and label.startswith(f"{kind}-")}
        return labels.pop() if len(labels) == 1 and len(part) > 2 else None

    def _next(self, kind: Kind) -> str | None:
        """The first label that neither the picture nor an earlier value has; None when all 702 are taken."""
        taken = self.dealt_before.union(self._labels.values())
        return next((label for label in map(f"{kind}-{{}}".format, _letters()) if label not in taken), None)


def applied(text: str, edits: Iterable[Edit], substitute: Callable[[Edit], str]) -> str:
    """`text` with every edit made."""
    out: list[str] = []
    cursor = 0
    for edit in edits:
        out += [text[cursor : edit.start], substitute(edit)]
        cursor = edit.end
    return "".join([*out, text[cursor:]])


def mask(edit: Edit) -> str:
    """The mask of the edit's kind: "[PERSON]"; "[HIDDEN]" for what is hidden without a known kind."""
    if edit.ungrounded:
        return UNGROUNDED_MASK
    return HIDDEN_MASK if edit.kind in RESERVED_KINDS else f"[{edit.kind}]"


def _letters() -> Iterable[str]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from letters
    yield from (first + second for first in letters for second in letters)


def _as_matches(spans: Iterable[Span], length: int) -> list[Match]:
    matches = [Match(span.start, span.end, span.kind) for span in spans]
    if any(match.end > length for match in matches):
        # The recognisers looked at another text than this one: nothing that they say can be used.
        raise Refused(Reason.DETECTOR_FAILED, stage="screen")
    return matches


def _in_pieces(text: str) -> Iterator[Match]:
    """Numbers with check digits whose pieces stand apart in a text."""
    joined, origin = _joined(text)
    if joined == text:
        return
    view = folded(joined)
    for rule in _JOINED_RULES:
        for span in rule(view):
            yield Match(origin[span.start], origin[span.end - 1] + 1, span.kind)


def _joined(text: str) -> tuple[str, list[int]]:
    """`text` without what stands between digits, and where each of its characters came from."""
    kept: list[int] = []
    cursor = 0
    for gap in _NUMBER_PIECES.finditer(text):
        kept += range(cursor, gap.start())
        cursor = gap.end()
    kept += range(cursor, len(text))
    return "".join(text[index] for index in kept), kept


def _whole_words(text: str, match: Match) -> Match:
    """`match` with the rest of the words that it cuts: what is left of one would be another word, that nobody looked
    at ("Jane Roe" of "Jane Roemaria")."""
    start, end = match.start, match.end
    while start and text[start].isalnum() and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    return replace(match, start=start, end=end)


def _outside_labels(text: str, match: Match, labels: Iterable[re.Match[str]]) -> Iterable[Match]:
    """The parts of `match` outside the guard's own labels; nothing where only punctuation is left."""
    start = match.start
    for label in labels:
        if label.end() <= start or label.start() >= match.end:
            continue
        if any(map(str.isalnum, text[start : label.start()])):
            yield replace(match, start=start, end=label.start())
        start = max(start, label.end())
    if start < match.end and (start == match.start or any(map(str.isalnum, text[start : match.end]))):
        yield replace(match, start=start)


def _merged(text: str, matches: list[Match]) -> tuple[Edit, ...]:
    """Matches that overlap, or of one kind with only a space between them, as one edit; the longest gives the kind."""
    groups: list[list[Match]] = []
    end = 0
    for match in sorted(matches, key=lambda m: (m.start, -m.end)):
        if groups and (match.start < end or (groups[-1][-1].kind is match.kind and text[end : match.start] == " ")):
            groups[-1].append(match)
        else:
            groups.append([match])
        end = max(end, match.end) if len(groups[-1]) > 1 else match.end
    return tuple(_edit(text, group) for group in groups)


def _edit(text: str, group: list[Match]) -> Edit:
    start, end = group[0].start, max(match.end for match in group)
    longest = max(group, key=lambda match: match.end - match.start)
    candidates = [normalise_secret(text[start:end]), longest.secret, *(match.secret for match in group)]
    return Edit(start, end, longest.kind, tuple(dict.fromkeys(filter(None, candidates))))
