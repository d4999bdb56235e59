"""The cleared words of a page as something that claims can be looked up in; each finds the boxes that show it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.guard.screen.claims import Claim
from guardedvlm.guard.screen.moments import Written, moments, strikes, tells
from guardedvlm.guard.screen.normal import NormalText, visible
from guardedvlm.guard.screen.quantities import CURRENCIES, QUANTITY, UNITS, Quantity
from guardedvlm.guard.screen.runs import Run, is_part_of_a_number
from guardedvlm.guard.verify.verifiers import phrases

MOST_PLACES = 8
"""Boxes that are told of one claim: a quantity of 1.00 can stand in every line."""
MOST_WORDS = 60
"""Words of a value that are looked up in rows; an address in four lines has about twenty. A longer value is no field's,
and is not grounded."""
MOST_ROW = 12
"""Words of a row that are looked up together; a longer row is found in parts."""
LEAST_CODE = 5
"""Letters and digits from which on an identifier is compared without its marks and spaces."""
_LETTER_O = re.compile(r"(?<![A-Za-z])[Oo](?=\d)|(?<=\d)[Oo](?![A-Za-z])|(?<=\d[./-])[Oo](?=[\dOo])")
_CODE = re.compile(r"0\d+")
"""No count begins with a zero."""
_DIGIT = re.compile(r"\d")
_MARK = re.compile(r"\d[.,]\d")
_LOST_MARK = re.compile(r"(?<![\d/.:-])(\d\d)([-/.:]?)(\d\d)([-/.:]?)((?:19|20)\d\d)(?!\d|[-/.:]\d)")
_LOOSE = re.compile(r"\d{1,3}(?:,\d{3})*\.\d\d|\d{1,9} ?[.,] ?\d\d(?!\d)|\d{1,3}(?: \d{3})+(?:[.,]\d\d)?(?!\d)")
"""Amounts as OCR leaves them: glued together ("1.0012.50"), or with a space at the mark ("9 .00")."""


@dataclass(frozen=True, slots=True)
class _Line:
    """Words in a row: their text, where each begins in it, and their boxes."""

    text: str = field(repr=False)
    starts: tuple[int, ...]
    boxes: tuple[Box, ...]
    run: Run = field(repr=False)

    @classmethod
    def of(cls, words: Sequence[Word]) -> _Line:
        texts = [_plain(word.text) for word in words]
        starts = [sum(map(len, texts[:at])) + at for at in range(len(texts))]
        text = " ".join(texts)
        return cls(text, tuple(starts), tuple(word.box for word in words), Run.of(text))

    def place(self, start: int, end: int) -> Box:
        """The box of the words that characters [start, end) lie in."""
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, max(start, end - 1)) - 1
        box = self.boxes[first]
        for other in self.boxes[first + 1 : last + 1]:
            box = box.union(other)
        return box


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a claim stands; `exact` is False where its number does and its unit does not."""

    boxes: tuple[Box, ...]
    exact: bool = True


_Spot = tuple[_Line, int, int]
"""Characters [start, end) of a line."""


class ShownPage:
    """The words of one page. Holds cleared text; no repr shows it."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._lines = [_Line.of(line.words) for line in phrases(words)]
        self._numbers: dict[Decimal, list[tuple[Quantity, _Spot]]] = {}
        self._moments: list[tuple[Written, _Line]] = []
        self._begins: dict[str, list[tuple[_Line, int]]] = {}  # first character of a word -> where such words begin
        self._units = {unit for line in self._lines for unit in _units(line.text)}
        for line in self._lines:
            self._index(line)

    def __repr__(self) -> str:
        return f"ShownPage({len(self._lines)} lines)"

    def find(self, claim: Claim) -> Sight | None:
        """Where `claim` stands on the page, or None."""
        if claim.digits:
            return self._code(claim.digits)
        if claim.moment is not None:
            return self._moment(claim.moment) or (self._code(claim.text) if claim.moment.days else None)
        if claim.quantity is not None and (found := self._quantity(claim.quantity)):
            return found
        # An amount is compared as a number alone: of "136.00 0.00" the first digits are not 1,360.00.
        return None if claim.quantity is not None and _MARK.search(claim.text) else self._code(claim.text)

    def rows_of(self, text: str) -> tuple[Box, ...] | None:
        """Boxes of the longest rows of words that `text` is put together of, from its first word on; None where one of
        its words does not stand on the page, or they are more than MOST_WORDS. Words are letters or digits; marks are
        none."""
        words = [word for word in text.split() if any(map(str.isalnum, word))]
        if len(words) > MOST_WORDS:
            return None
        boxes: list[Box] = []
        while words:
            if (row := self._row(words[:MOST_ROW])) is None:
                return None
            size, (line, start, end) = row
            boxes.append(line.place(start, end))
            words = words[size:]
        return tuple(boxes)

    def _row(self, words: Sequence[str]) -> tuple[int, _Spot] | None:
        """How many of `words`, from the first on, stand side by side at most, and where; None where not even one does.

        Each word more is looked for only where the ones before it stand.
        """
        found: tuple[int, _Spot] | None = None
        places: Sequence[tuple[_Line, int]] | None = None
        for size in range(1, len(words) + 1):
            text = " ".join(words[:size])
            code = Run.of(_plain(text)).run
            places = self._begins.get(code[:1], ()) if places is None else places
            places = [(line, at) for line, at in places if line.run.run.startswith(code, at)]
            if not places:
                break
            if (spot := next(_whole(text, code, places), None)) is not None:
                found = size, spot
        return found

    def _index(self, line: _Line) -> None:
        for at in sorted(line.run.starts):
            if at < len(line.run.run):
                self._begins.setdefault(line.run.run[at], []).append((line, at))
        if not _DIGIT.search(line.text):
            return
        self._moments += [(written, line) for written in (*moments(line.text), *_lost_marks(line.text))]
        for quantity, start, end in _quantities(line.text):
            for value in quantity.values:
                self._numbers.setdefault(value, []).append((quantity, (line, start, end)))

    def _quantity(self, said: Quantity) -> Sight | None:
        places = [place for value in said.values for place in self._numbers.get(value, ())]
        found = [(shown.unit, spot) for shown, spot in places if _is_alike(said, shown)]
        if exact := [spot for unit, spot in found if self._is_unit(said.unit, unit)]:
            return _sight(exact)
        bare = [spot for unit, spot in found if not unit]
        return Sight(_sight(bare).boxes, exact=False) if bare else self._year(said)

    def _year(self, said: Quantity) -> Sight | None:
        """The dates of which a bare number is the year."""
        found = [
            (line, shown.start, shown.end)
            for shown, line in self._moments
            if not said.unit and any(day[0] in said.values for day in shown.days if day[0])
        ]
        return _sight(found) if found else None

    def _is_unit(self, said: str, shown: str) -> bool:
        """Whether a number with unit `shown` is one with unit `said`; a unit may stand in the head of a column."""
        if not said or said == shown:
            return True
        return not shown and (said in self._units)

    def _moment(self, said: Written) -> Sight | None:
        found = [
            (line, shown.start, shown.end)
            for shown, line in self._moments
            if any(tells(a, b) or self._completes(a, b) for a in said.days for b in shown.days)
            or any(strikes(a, b) for a in said.clocks for b in shown.clocks)
        ]
        return _sight(found) if found else None

    def _completes(self, said: tuple[int, int, int], shown: tuple[int, int, int]) -> bool:
        """A day without a year, and the year elsewhere on the page."""
        return shown[0] == 0 and said[1:] == shown[1:] and Decimal(said[0]) in self._numbers

    def _code(self, text: str) -> Sight | None:
        code = Run.of(_plain(text)).run
        whole = [*_whole(text, code, ((line, at) for line in self._lines for at in line.run.words(code)))]
        return _sight(whole) if whole else None


def _whole(text: str, code: str, places: Iterable[tuple[_Line, int]]) -> Iterator[_Spot]:
    """Those of `places`, where `code`, the run of `text`, begins, at which it ends a word and is all of a number."""
    said = _bare(text) if len(code) < LEAST_CODE else ""
    for line, at in places:
        if not code or at + len(code) not in line.run.ends:
            continue
        start, end = line.run.span(at, at + len(code))
        if said and _bare(line.text[start:end]) != said:
            continue
        if not (code.isdigit() and is_part_of_a_number(line.text, start, end)):
            yield line, start, end


def _sight(found: Sequence[_Spot]) -> Sight:
    return Sight(tuple(dict.fromkeys(line.place(start, end) for line, start, end in found))[:MOST_PLACES])


def _lost_marks(text: str) -> Iterator[Written]:
    """Days first or months first of which the recogniser lost a mark ("2703/2018"), or read it as a colon."""
    for match in _LOST_MARK.finditer(text):
        first, left, second, right, year = match.groups()
        if {left, right} & {"-", "/", "."} or match[0] == text.strip():
            days = ((int(year), int(a), int(b)) for a, b in ((first, second), (second, first)))
            yield Written(match.start(), match.end(), frozenset(day for day in days if day[1] <= 12 and day[2] <= 31))


def _is_alike(said: Quantity, shown: Quantity) -> bool:
    """Whether equal numbers are numbers of one sort: "8.00" is not the 8 of "8 pieces"; it is that of "RM 8"."""
    return shown.has_cents or not said.has_cents or shown.unit in CURRENCIES or (shown.unit == said.unit != "")


def _units(text: str) -> Iterator[str]:
    for word in re.findall(r"[^\W\d_]+\$?(?:/[A-Za-z]+)?|[%$€£¥₹]|°[CF]", text):
        if unit := UNITS.get(word.casefold()):
            yield unit.name


def _quantities(text: str) -> Iterator[tuple[Quantity, int, int]]:
    """Every number of a page's text, with amounts that OCR tore or glued read both ways."""
    for found in QUANTITY.finditer(text):
        if not _CODE.fullmatch(found["number"]):
            yield Quantity.of(found), found.start(), found.end()
    for torn in _LOOSE.finditer(text):
        if whole := QUANTITY.fullmatch(re.sub(r"\s", "", torn[0])):
            yield Quantity.of(whole), torn.start(), torn.end()


def _bare(text: str) -> str:
    return re.sub(r"\s", "", text).casefold()


def _plain(text: str) -> str:
    return _LETTER_O.sub("0", NormalText.of(visible(text)).text)
