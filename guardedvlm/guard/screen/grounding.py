"""Grounding: every number, date, amount, unit and identifier of an answer is looked up in the picture that was sent.

What is not there is either the model's own invention, or print so faint that no detector saw it: the one way in which a
hidden string can reach an answer that no deny set knows. Such a claim is ungrounded. It is taken out (`say.grounding:
mask`), refuses the answer (`refuse`) or is told of only (`flag`). Whatever the policy says, these are only told of:
counts of one or two digits ("3 items"); what the question says; sums and differences of grounded numbers beside them;
numbers whose digits stand in the picture without any unit, where the answer gives them one.

Each page's claims are looked up in that page's words alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations

from guardedvlm.core.grounding import Ground, Place
from guardedvlm.core.word import Word
from guardedvlm.guard.screen.claims import SLIGHT_DIGITS, Claim, claims
from guardedvlm.guard.screen.normal import NormalText, visible
from guardedvlm.guard.screen.shown import MOST_PLACES, MOST_WORDS, ShownPage, Sight

LEAST_PIECES = 5
"""Digits of neighbouring numbers, none of them in the picture, from which on they are one number in pieces."""
MOST_TERMS = 12
"""Grounded numbers beside each other of which sums are tried."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Characters [start, end) of a text make a claim. `firm`: an ungrounded one that the policy's rule is for."""

    start: int
    end: int
    ground: Ground
    places: tuple[Place, ...] = ()
    firm: bool = False

    def moved(self, offset: int) -> Judged:
        """The same in a text that starts `offset` characters earlier."""
        return replace(self, start=self.start + offset, end=self.end + offset)


Pages = Callable[[int], Sequence[int]]
"""Position in a text -> the pages that it speaks of."""


class Grounding:
    """Looks claims up in the cleared words of one request's pages. `asked`: the cleared texts of the prompt."""

    def __init__(self, words: Mapping[int, Sequence[Word]], asked: Iterable[str] = ()) -> None:
        self._words = words
        self._pages: dict[int, ShownPage] = {}
        self._asked = _Asked(asked)

    def __repr__(self) -> str:
        return f"Grounding({len(self._words)} pages)"

    def judge(self, text: str, pages: Pages, dealt: Collection[str] = ()) -> tuple[Judged, ...]:
        """The claims of a normalised text, in order; `dealt`: this request's labels, which claim nothing."""
        found = [item for claim in claims(text, dealt) for item in self._looked_up(claim, pages(claim.start))]
        known = [_value(claim) for claim, sight, _ in found if sight and claim.quantity is not None]
        derived = _derived([value for value in known if value is not None])
        return tuple(_judged(claim, sight, places, self._asked, derived) for claim, sight, places in found)

    def shows(self, text: str, pages: Sequence[int]) -> tuple[Place, ...]:
        """Where all of `text` stands on `pages`, of one picture: what it claims by value, its other words in rows as
        they are written. () where a part of it does not stand there, or it has more words than a page is looked through
        for."""
        if len(text.split()) > MOST_WORDS:
            return ()
        places: list[Place] = []
        for line in NormalText.of(visible(text)).text.splitlines():
            found = self._shows_line(line, pages)
            if found is None:
                return ()
            places += found
        return tuple(dict.fromkeys(places))[:MOST_PLACES]

    def _shows_line(self, line: str, pages: Sequence[int]) -> list[Place] | None:
        judged = self.judge(line, lambda _: pages)
        if any(item.ground is not Ground.GROUNDED for item in judged):
            return None
        places = [place for item in judged for place in item.places]
        for item in judged:
            line = f"{line[: item.start]}{' ' * (item.end - item.start)}{line[item.end :]}"
        boxes = self._page(pages[0]).rows_of(line) if pages else None
        return None if boxes is None else [*places, *(Place(page, box) for page in pages for box in boxes)]

    def _looked_up(self, claim: Claim, pages: Sequence[int]) -> Iterator[tuple[Claim, Sight | None, tuple[Place, ...]]]:
        sight, places = self._find(claim, pages)
        if sight is not None or not claim.parts:
            yield claim, sight, places
            return
        parts = [(part, *self._find(part, pages)) for part in claim.parts]
        missing = [part for part, sight, _ in parts if sight is None]
        if len(missing) < len(parts) and not re.search(r"\s", claim.text):
            # "120/90" where the picture has 120/80: a part of something that is there is no count.
            parts = [(replace(part, bound=True), sight, places) for part, sight, places in parts]
        if missing and (claim.quantity is not None or _is_in_pieces(claim.parts, missing)):
            yield claim, None, ()
        else:
            yield from parts

    def _find(self, claim: Claim, pages: Sequence[int]) -> tuple[Sight | None, tuple[Place, ...]]:
        """Where the claim stands on the first of `pages`; those of one picture show the same."""
        if not pages or (sight := self._page(pages[0]).find(claim)) is None:
            return None, ()
        return sight, tuple(Place(page, box) for page in pages for box in sight.boxes)

    def _page(self, page: int) -> ShownPage:
        if page not in self._pages:
            self._pages[page] = ShownPage(self._words.get(page, ()))
        return self._pages[page]


def _is_in_pieces(parts: Sequence[Claim], missing: Sequence[Claim]) -> bool:
    """Whether neighbouring numbers, some of them not in the picture, are one number: most of it is missing, or it is
    told digit by digit."""
    short = all(len(part.text) <= SLIGHT_DIGITS for part in parts) and len(parts) > SLIGHT_DIGITS
    digits = sum(len(part.text) for part in (parts if short else missing))
    return digits >= LEAST_PIECES and (short or len(missing) > 1)


class _Asked:
    """What the question itself says."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._claims: tuple[Claim, ...] | None = None

    def says(self, claim: Claim) -> bool:
        if self._claims is None:
            self._claims = tuple(claim for text in self._texts for claim in claims(text))
        return any(_same(claim, other) for other in self._claims)


def _same(claim: Claim, other: Claim) -> bool:
    if claim.quantity is not None and other.quantity is not None:
        return bool(claim.quantity.values & other.quantity.values)
    if claim.moment is not None and other.moment is not None:
        return bool(claim.moment.days & other.moment.days or claim.moment.clocks & other.moment.clocks)
    return claim.text.casefold() == other.text.casefold()


def _judged(
    claim: Claim, sight: Sight | None, places: tuple[Place, ...], asked: _Asked, derived: frozenset[Decimal]
) -> Judged:
    if sight is not None and sight.exact:
        return Judged(claim.start, claim.end, Ground.GROUNDED, places)
    told = sight is not None or claim.slight or asked.says(claim) or _value(claim) in derived
    return Judged(claim.start, claim.end, Ground.UNGROUNDED, firm=not told)


def _value(claim: Claim) -> Decimal | None:
    """The one value of a number; None where it is none, or may be two."""
    values = claim.quantity.values if claim.quantity is not None else frozenset()
    return next(iter(values)) if len(values) == 1 else None


def _derived(known: Sequence[Decimal]) -> frozenset[Decimal]:
    """What grounded numbers beside each other give: their sum, and the sum and difference of each two."""
    few = known[:MOST_TERMS]
    pairs = [value for a, b in combinations(few, 2) for value in (a + b, abs(a - b))]
    return frozenset({*pairs, sum(few, Decimal(0))} if len(few) > 1 else ())
