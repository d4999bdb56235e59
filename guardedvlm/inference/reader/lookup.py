"""Find the label that a question names, and its value, or that the value is hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from guardedvlm.core.region import Box, Raster
from guardedvlm.inference.reader.fields import BELOW, TRIMMED, Field, fields, is_label
from guardedvlm.inference.reader.hidden import fill_at, pseudonym
from guardedvlm.inference.reader.page import Cell, Page
from guardedvlm.inference.reader.question import Embedder, Expected, Question
from guardedvlm.inference.reader.values import amounts, dates, letters
from guardedvlm.inference.reader.vocabulary import DOCUMENT, GENERIC, LIGHT, SUBJECT
from guardedvlm.inference.reader.wording import akin, contains, spelled_out

ACCEPTED = 0.62
"""Score from which a label is taken for the one that was asked for; below it the reader cannot tell."""
NAMED = 0.75
"""Share of the topic that a label must have in words before embeddings are not asked."""
ALIKE_FROM, ALIKE_TO = 0.45, 0.8
"""Cosine of topic and label that counts as 0 and as 1: in this model's space unrelated labels reach 0.45."""
ASIDE = DOCUMENT | SUBJECT | LIGHT
"""Words of a question that its label need not have."""
MARGIN = 0.08
"""By meaning alone a label must lead by this much: the model takes "opening" and "closing" for alike."""
SECOND_BEST = 0.8
"""A value of the right kind of characters, but not plainly of the expected type: "9" for an amount."""
MAX_LABELS = 120
"""Labels of one page that are embedded, 5 ms each."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The label is on the page, its value is under a fill at `box`."""

    label: str = field(repr=False)
    cell: Cell = field(repr=False)
    box: Box


@dataclass(frozen=True, slots=True)
class Found:
    """The value of a label. `others` are values that are as likely and differ."""

    field: Field
    score: float
    others: tuple[Field, ...] = ()


def look_up(page: Page, raster: Raster, question: Question, embedder: Embedder) -> Found | Hidden | None:
    """The value of the label that `question` names; None when no label fits."""
    if not question.topic:
        return None
    named = {label: likeness(question.topic, label) for label in _label_texts(page)}
    if max(named.values(), default=0.0) < NAMED:
        named = _with_meaning(named, question, embedder)
    ranked = sorted(_ranked(page, question, named), key=lambda item: -item.score)
    best = ranked[0] if ranked and ranked[0].score >= ACCEPTED else None
    accepted = {label: score for label, score in named.items() if score >= ACCEPTED}
    covered = covered_value(page, raster, lambda text: accepted.get(text, 0.0))
    if best is None or (covered is not None and _outranks(covered, best.field, named)):
        return covered
    ties = [item.field for item in ranked[1:] if best.score - item.score < 0.01]
    others = {item.value.text: item for item in ties if item.value.text != best.field.value.text}
    return Found(best.field, best.score, tuple(others.values())[:3])


def _outranks(covered: Hidden, found: Field, named: dict[str, float]) -> bool:
    """True when the hidden value is what was asked for: its label fits better, or its fill stands before the value."""
    ours, theirs = named[covered.label], named[found.label]
    if ours != theirs:
        return ours > theirs
    return found.strength <= BELOW or (covered.cell == found.cell and covered.box.x0 < found.value.box.x0)


def covered_value(page: Page, raster: Raster, score: Callable[[str], float]) -> Hidden | None:
    """Of the labels with a fill in place of their value the one with the highest positive `score`, or None."""
    best: tuple[float, Hidden] | None = None
    for index, row in enumerate(page.rows):
        for cell in row.cells:
            text = cell.text.strip(TRIMMED)
            rank = score(text) if is_label(cell.text) else 0.0
            if rank <= 0 or (best is not None and rank <= best[0]):
                continue
            box = fill_at(raster, page, index, cell)
            if box is not None:
                best = (rank, Hidden(text, cell, box))
    return best[1] if best else None


def likeness(topic: Sequence[str], label: str) -> float:
    """How well a label's words fit the topic, 0..1: all words that were asked for, and few others."""
    have = spelled_out(label)
    squeezed = letters(label)
    weights = {word: _weight(word) for word in topic}
    matched = {word for word in weights if _is_in(word, have, squeezed)}
    missing = weights.keys() - matched
    if not matched:
        return 0.0
    if matched <= GENERIC | ASIDE and not missing <= ASIDE:
        return 0.0  # "account number" is not named by another number's label
    found = sum(weights[word] for word in matched)
    coverage = found / sum(weights.values())
    precision = min(1.0, found / (sum(_weight(word) for word in have) or 1.0))
    return coverage * (0.7 + 0.3 * precision)


def _is_in(word: str, have: Sequence[str], squeezed: str) -> bool:
    return any(akin(word, other) for other in have) or (len(word) > 3 and contains(squeezed, word))


def _weight(word: str) -> float:
    """What a word adds: names of things one, types of values less, words that labels leave out little."""
    return 0.15 if word in ASIDE else 0.6 if word in GENERIC else 1.0


def _label_texts(page: Page) -> Iterator[str]:
    for item in fields(page):
        yield item.label
    for cell in page.cells:
        if is_label(cell.text):
            yield cell.text.strip(TRIMMED)


def _with_meaning(named: dict[str, float], question: Question, embedder: Embedder) -> dict[str, float]:
    """The same labels, with the score of its meaning for the one label that leads by MARGIN, if one does."""
    texts = list(named)[:MAX_LABELS]
    if not texts:
        return named
    asked = embedder.vectors([" ".join(question.topic), question.phrase or question.text])
    cosines = (embedder.vectors([" ".join(spelled_out(text)) or text for text in texts]) @ asked.T).max(axis=1)
    ranked = sorted(zip(cosines.tolist(), texts, strict=True), reverse=True)
    lead, label = ranked[0]
    second = next((cosine for cosine, text in ranked if spelled_out(text) != spelled_out(label)), 0.0)
    if lead - second < MARGIN:
        return named
    alike = min(1.0, (lead - ALIKE_FROM) / (ALIKE_TO - ALIKE_FROM))
    return named | {label: max(named[label], alike)}


def _ranked(page: Page, question: Question, named: dict[str, float]) -> Iterator[Found]:
    for item in fields(page):
        score = named.get(item.label, 0.0)
        fitting = fit(question.expected, item.value.text)
        if score > 0 and fitting > 0:
            yield Found(item, score * fitting * (0.6 + 0.4 * item.strength))


def fit(expected: Expected, text: str) -> float:
    """How well a printed value fits the expected type: 1, SECOND_BEST or 0. The guard's labels fit every type."""
    if expected is Expected.ANY or pseudonym(text):
        return 1.0
    digits = any(char.isdigit() for char in text)
    if expected is Expected.AMOUNT:
        return 1.0 if amounts(text) else SECOND_BEST if digits and not dates(text) and len(text) <= 12 else 0.0
    if expected is Expected.DATE:
        return 1.0 if dates(text) else SECOND_BEST if digits else 0.0
    if expected is Expected.NUMBER:
        return (SECOND_BEST if amounts(text) else 1.0) if digits else 0.0
    return 1.0 if letters(text) else 0.0
