"""Identity documents: what is no label on a card or a passport page is personal, whether its label was read or not.

Elsewhere most text is harmless and the rules look for what is not. Here it is the other way round: such a page has next
to no text but labels and their values, its labels are small, coloured, in many languages and often misread ("X3X"), and
a value without its label looks like any other word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from guardedvlm.core.finding import Kind, Span
from guardedvlm.core.word import TextLine
from guardedvlm.guard.detect.personal.form import FORM_SCORE, Hit
from guardedvlm.guard.detect.personal.labels import find_labels, whole_label

MOST_LINES = 60
"""More lines are a form or a letter that shows a card among other things; 13 sides of cards have 6 to 39."""
NEEDED = (Kind.PERSON, Kind.DATE_OF_BIRTH, Kind.ATTRIBUTE, Kind.DATE)
"""Kinds of which an identity document has at least one label each (ICAO 9303-3, visual inspection zone)."""
LEAST_LABELS = 5
SURE_ZONE = 0.9
"""Score of a machine-readable line with fillers or right check digits."""
LEAST_ZONE = 24
"""Characters of a machine-readable line that is told from a row of marks; the shortest has 30."""
VAGUE = frozenset({Kind.ORGANIZATION, Kind.URL, Kind.AMOUNT, Kind.AGE})
"""Kinds that mean nothing here, and that a policy may keep: names and signatures are taken for companies."""
RECOGNIZER = "form/identity-document"


def identity_document_hits(lines: Sequence[TextLine], hits: Sequence[Hit]) -> Iterator[Hit]:
    """On an identity document: every text between labels that no hit explains, and every date without a label.

    `hits` are those of all other rules. Nothing on other pages.
    """
    if not is_identity_document(lines, hits):
        return
    for index, line in enumerate(lines):
        own = [hit.span for hit in hits if hit.line == index]
        labelled = [span for span in own if span.kind is Kind.DATE and span.recognizer.startswith("form/")]
        for span in own:
            if span.kind is Kind.DATE and not any(span.start < one.end and one.start < span.end for one in labelled):
                yield Hit(index, Span(span.start, span.end, Kind.DATE_OF_BIRTH, FORM_SCORE, RECOGNIZER))
        taken = [(span.start, span.end) for span in own if span.kind not in VAGUE]
        label = whole_label(line.text)
        if label is None:
            taken += [(label.start, label.end) for label in find_labels(line.text)]
            for start, end in _rest(line.text, taken):
                yield Hit(index, Span(start, end, Kind.ATTRIBUTE, FORM_SCORE, RECOGNIZER))
        elif index and label.kind not in NEEDED and _names_a_person(lines[index - 1].text):
            # "Surname" and below it "Page", "Ward" or "Price": names that are words of labels too.
            yield Hit(index, Span(0, len(line.text), Kind.PERSON, FORM_SCORE, RECOGNIZER))


def _names_a_person(text: str) -> bool:
    label = whole_label(text)
    return label is not None and label.kind is Kind.PERSON


def is_identity_document(lines: Sequence[TextLine], hits: Sequence[Hit]) -> bool:
    """Whether a page is (a side of) an identity document: by its machine-readable zone, or by its labels."""
    if sum(bool(line.text) for line in lines) > MOST_LINES:
        return False
    if any(_is_zone(hit.span) for hit in hits):
        return True
    kinds = Counter(label.kind for line in lines if (label := whole_label(line.text)) is not None)
    if kinds[Kind.AMOUNT]:
        return False
    return all(kinds[kind] for kind in NEEDED) and sum(kinds[kind] for kind in NEEDED) >= LEAST_LABELS


def _is_zone(span: Span) -> bool:
    return span.kind is Kind.MRZ and span.score >= SURE_ZONE and span.end - span.start >= LEAST_ZONE


def _rest(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """[start, end) of every run of `text` outside `taken`, without the marks around it."""
    position = 0
    for start, end in [*sorted(taken), (len(text), len(text))]:
        if position < start and (word := re.search(r"\w(?:.*\w)?", text[position:start])):
            yield position + word.start(), position + word.end()
        position = max(position, end)
