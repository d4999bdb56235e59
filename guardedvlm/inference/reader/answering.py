"""From a page and a question to an answer: one method an intent. What is not read from the page is not said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guardedvlm.core.clearance import Turn
from guardedvlm.core.ports import Evidence, FinishReason
from guardedvlm.core.region import Raster
from guardedvlm.core.word import TextLine
from guardedvlm.inference.reader.answer import NO_TEXT, VISUAL, Answer, told, unknown
from guardedvlm.inference.reader.fields import COLON, COLON_MARKS, fields, is_label
from guardedvlm.inference.reader.hidden import pseudonym
from guardedvlm.inference.reader.issued import best_date
from guardedvlm.inference.reader.issuer import is_hidden_name, issuer_of, may_be_name
from guardedvlm.inference.reader.kinds import kind_of
from guardedvlm.inference.reader.lookup import ASIDE, Found, Hidden, covered_value, likeness, look_up
from guardedvlm.inference.reader.page import Excerpt, Page, Row, excerpt
from guardedvlm.inference.reader.postal import address_of
from guardedvlm.inference.reader.question import Embedder, Expected, Intent, Question, Understanding
from guardedvlm.inference.reader.table import TableLine, is_heading, section, table_lines
from guardedvlm.inference.reader.totals import PLAIN, best_total, entries, label_score
from guardedvlm.inference.reader.values import amounts, letters, whole_numbers
from guardedvlm.inference.reader.vocabulary import COUNT_LABELS, DOCUMENT, ITEM_WORDS
from guardedvlm.inference.reader.wording import akin, mentions, spelled_out

LISTED = 20
"""Items or lines that one answer lists; it says how many there are."""
CLOSEST = 0.6
"""Cosine of question and line from which the reader quotes the line as the closest one."""
HEADING = 0.7
"""Likeness from which a heading is the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """A page, its pixels and what is asked about it."""

    page: Page
    raster: Raster
    question: Question


class Answering:
    """Answers questions about a page. Holds the embedding model; keeps nothing of a page."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._understanding = Understanding(embedder)

    def answer(self, lines: Sequence[TextLine], raster: Raster, question: str, history: Sequence[Turn] = ()) -> Answer:
        """The answer to `question` from the text lines of `raster`."""
        page = Page.of(lines)
        if not page.rows:
            return unknown(NO_TEXT)
        asked = self._understanding.of(question)
        if not asked.topic and asked.intent in (Intent.FIELD, Intent.MENTION) and history:
            # "Are you sure?", "And?": about what was asked before.
            asked = self._understanding.of(history[-1].question)
        return self._by_intent(asked.intent)(Case(page, raster, asked))

    def listed(self, lines: Sequence[TextLine], question: str) -> tuple[TableLine, ...]:
        """The entries of the list that `question` names: the lines of the page's table, or of the text under a heading,
        which have no amounts. () where there is no such list."""
        page, topic = Page.of(lines), self._understanding.of(question).topic
        if ITEM_WORDS & set(topic) and (found := table_lines(page)):
            return found
        heading = _heading(page, topic)
        if heading is None:
            return ()
        return tuple(TableLine(item.text, "", (item,)) for item in section(page, heading))

    def _by_intent(self, intent: Intent) -> Callable[[Case], Answer]:
        ways: dict[Intent, Callable[[Case], Answer]] = {
            Intent.TOTAL: self._total,
            Intent.ISSUED: self._issued,
            Intent.ISSUER: self._issuer,
            Intent.KIND: _kind,
            Intent.SUMMARY: _summary,
            Intent.TRANSCRIPT: _transcript,
            Intent.ITEMS: self._items,
            Intent.COUNT: self._count,
            Intent.SECTION: self._section,
            Intent.ADDRESS: self._address,
            Intent.MENTION: _mention,
            Intent.VISUAL: self._visual,
            Intent.FIELD: self._field,
        }
        return ways[intent]

    def _total(self, case: Case) -> Answer:
        best = best_total(case.page)
        if best is None or label_score(best.label) < PLAIN:
            covered = covered_value(case.page, case.raster, lambda text: max(0.0, label_score(text) - PLAIN + 1))
            if covered is not None:
                return _hidden(covered)
        if best is not None:
            return told(f"The total is {best.amount.printed}.", best.value, value=best.amount.printed)
        found = look_up(case.page, case.raster, case.question, self._embedder)
        if found is not None:
            return _looked_up(found, case.question)
        every = entries(case.page)
        if len({entry.amount.value for entry in every}) != 1:
            return unknown()
        printed = every[0].amount.printed
        return told(f"The only amount on the page is {printed}.", every[0].value, score=0.7, value=printed)

    def _issued(self, case: Case) -> Answer:
        best = best_date(case.page)
        if best is not None:
            return told(f"The date is {best.date.printed}.", best.value, value=best.date.printed)
        covered = covered_value(case.page, case.raster, lambda text: float(mentions(text, "date", "datum", "fecha")))
        if covered is not None:
            return _hidden(covered)
        return self._field(case)

    def _issuer(self, case: Case) -> Answer:
        found = look_up(case.page, case.raster, case.question, self._embedder)
        if isinstance(found, Found) and may_be_name(found.field.value.text):
            return _looked_up(found, case.question)
        issuer = issuer_of(case.page)
        # Beside "Company" often stands its number: that this is hidden says nothing of a name at the top.
        if found is not None and (issuer is None or is_hidden_name(issuer.text)) and _hides_name(found):
            return _looked_up(found, case.question)
        if issuer is None:
            return unknown()
        return told(f"The name at the top of the page is {issuer.text}.", issuer, score=0.8, value=issuer.text)

    def _items(self, case: Case) -> Answer:
        lines = table_lines(case.page)
        if not lines:
            return self._section(case)
        shown = "; ".join(f"{line.name} {line.amount}".strip() for line in lines[:LISTED])
        more = f" (the first {LISTED} of {len(lines)})" if len(lines) > LISTED else ""
        sources = [source for line in lines[:LISTED] for source in line.sources]
        return told(f"The page lists{more}: {shown}.", *sources, score=0.8)

    def _count(self, case: Case) -> Answer:
        things = [word for word in case.question.topic if word not in COUNT_LABELS | DOCUMENT]
        for item in fields(case.page):
            label = set(spelled_out(item.label))
            counts = whole_numbers(item.value.text)
            named = label & set(things) and (label & COUNT_LABELS or item.strength == COLON)
            if counts and not amounts(item.value.text) and (named or _counts_goods(item.label, things)):
                return told(f"The page says {item.label}: {counts[0]}.", item.value, value=str(counts[0]))
        lines = table_lines(case.page)
        if lines and ITEM_WORDS & set(things):
            sources = [source for line in lines for source in line.sources[-1:]]
            counted = f"I count {len(lines)} lines with an amount in the table."
            return told(counted, *sources, score=0.7, value=str(len(lines)))
        heading = _heading(case.page, things)
        if heading is None:
            return self._field(case)
        listed = section(case.page, heading)
        counted = f"I count {len(listed)} lines under “{case.page.rows[heading].text}”."
        return told(counted, *listed, score=0.7, value=str(len(listed)))

    def _section(self, case: Case) -> Answer:
        heading = _heading(case.page, case.question.topic)
        if heading is None:
            return self._field(case)
        own = [item.value for item in fields(case.page) if item.row == heading and item.strength == COLON]
        shown = [*own, *section(case.page, heading)][:LISTED]
        title = case.page.rows[heading].cells[0].text.partition(":")[0].strip()
        return told(f"{title}: " + "; ".join(item.text.strip(" .;") for item in shown) + ".", *shown)

    def _address(self, case: Case) -> Answer:
        lines = address_of(case.page)
        if not lines:
            return self._field(case)
        # Where the guard drew a label, the label alone: beside it may stand a word that it did not cover.
        told_of = dict.fromkeys(pseudonym(line.text) or line.text for line in lines)
        return told(f"The address is {', '.join(told_of)}.", *lines, score=0.8, value="\n".join(told_of))

    def _visual(self, case: Case) -> Answer:
        found = look_up(case.page, case.raster, case.question, self._embedder)
        return _looked_up(found, case.question) if isinstance(found, Found) and found.score > 0.9 else unknown(VISUAL)

    def _field(self, case: Case) -> Answer:
        found = look_up(case.page, case.raster, case.question, self._embedder)
        return _looked_up(found, case.question) if found is not None else self._closest(case)

    def _closest(self, case: Case) -> Answer:
        """Quote the line that is most like the question, or say that the reader cannot tell."""
        rows = [row for row in case.page.rows if len(letters(row.text)) >= 8 and not is_label(row.text)]
        if not case.question.topic or not rows or case.question.expected is not Expected.ANY:
            return unknown()
        likes = self._embedder.vectors([row.text for row in rows]) @ self._embedder.vectors([case.question.text])[0]
        best = int(likes.argmax())
        if likes[best] < CLOSEST:
            return unknown()
        sources = [excerpt(cell) for cell in rows[best].cells]
        return told(f"The closest line on the page says: “{rows[best].text}”.", *sources, score=float(likes[best]))


def _hides_name(found: Found | Hidden) -> bool:
    """Whether a fill, or the guard's label for a name, stands where the value belongs."""
    return isinstance(found, Hidden) or is_hidden_name(found.field.value.text)


def _counts_goods(label: str, things: Sequence[str]) -> bool:
    """True when a label prints the number of items ("Total Qty") and items were asked for."""
    goods = {"item", "product", "article", "good"} & set(things)
    return bool(goods) and mentions(label, "totalqty", "totalquantity", "itemcount")


def _heading(page: Page, topic: Sequence[str]) -> int | None:
    """The row whose heading names the topic best and has lines under it; the first of equals."""
    best: tuple[float, int] | None = None
    for index, row in enumerate(page.rows):
        score = likeness(topic, row.cells[0].text.partition(":")[0]) if is_heading(row) else 0.0
        if score >= HEADING and (best is None or score > best[0]) and section(page, index):
            best = (score, index)
    return best[1] if best else None


def _looked_up(found: Found | Hidden, question: Question) -> Answer:
    if isinstance(found, Hidden):
        return _hidden(found)
    value = found.field.value
    label = pseudonym(value.text)
    name = question.phrase or found.field.label
    name = name[0].upper() + name[1:]
    if label is not None:
        said = f"{name} is hidden by policy; the page shows {label} in its place."
        return told(said, value, score=found.score, value=label)
    if found.others:
        every = (found.field, *found.others)
        shown = "; ".join(f"{item.label}: {item.value.text}" for item in every)
        return told(f"More than one value fits: {shown}.", *(item.value for item in every), score=found.score)
    shown = _fitting(value.text, question.expected).rstrip(". ")
    said = f"{name} is {shown}." if question.phrase else f"{name}: {shown}."
    return told(said, value, score=found.score, value=shown)


def _fitting(text: str, expected: Expected) -> str:
    """The amount alone where an amount was asked for and one is printed; else the whole value."""
    if expected is Expected.AMOUNT and len(amounts(text)) == 1:
        return amounts(text)[0].printed
    return text


def _hidden(found: Hidden) -> Answer:
    score = round(found.cell.line.confidence, 3)
    places = (Evidence(found.cell.line.box, score), Evidence(found.box, score))
    return Answer(f"The value of “{found.label}” is hidden by policy.", places, FinishReason.CANNOT_TELL)


def _kind(case: Case) -> Answer:
    found = kind_of(case.page)
    if found is None:
        return unknown()
    name, source = found
    return told(f"This looks like {name}; it says “{source.text}”.", source, score=0.8)


def _summary(case: Case) -> Answer:
    """Kind, date and total where they are printed, then the first pairs of label and value, then the first lines."""
    sentences: list[str] = []
    sources: list[Excerpt] = []
    kind, dated, total = kind_of(case.page), best_date(case.page), best_total(case.page)
    if kind is not None:
        sentences.append(f"This looks like {kind[0]}.")
        sources.append(kind[1])
    if dated is not None:
        sentences.append(f"The date is {dated.date.printed}.")
        sources.append(dated.value)
    if total is not None:
        sentences.append(f"The total is {total.amount.printed}.")
        sources.append(total.value)
    pairs = [item for item in fields(case.page) if item.strength == COLON][:5]
    shown = [excerpt(cell) for cell in case.page.cells if _is_line(cell.text)][: 3 if pairs else 8]
    sentences.append("It begins with: " + "; ".join(item.text.strip(" .") for item in shown) + ".")
    if pairs:
        stated = "; ".join(f"{item.label}: {item.value.text.strip(' .')}" for item in pairs)
        sentences.append(f"It states: {stated}.")
    return told(" ".join(sentences), *sources, *shown, *(item.value for item in pairs), score=0.8)


def _is_line(text: str) -> bool:
    return len(letters(text)) >= 4 and not text.rstrip().endswith(COLON_MARKS)


def _transcript(case: Case) -> Answer:
    return told("\n".join(row.text for row in case.page.rows), *(excerpt(cell) for cell in case.page.cells))


def _mention(case: Case) -> Answer:
    """Quote the rows that have every word of a yes-or-no question: a quotation keeps the page's own "no"."""
    topic = [word for word in case.question.topic if word not in ASIDE] or list(case.question.topic)
    rows = [row for row in case.page.rows if topic and all(_has(row, word) for word in topic)]
    if not rows:
        return unknown()
    quoted = "; ".join(f"“{row.text}”" for row in rows[:3])
    return told(f"The page says: {quoted}.", *(excerpt(cell) for row in rows[:3] for cell in row.cells))


def _has(row: Row, word: str) -> bool:
    return any(akin(word, other) for other in spelled_out(row.text))
