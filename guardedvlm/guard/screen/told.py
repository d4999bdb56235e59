"""What an answer claims, from its places in the draft to its places in the text that is released."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from guardedvlm.core.grounding import Ground, GroundedSpan
from guardedvlm.guard.screen.edits import UNGROUNDED_MASK
from guardedvlm.guard.screen.grounding import Judged
from guardedvlm.guard.screen.leads import Segment


class Told:
    """Collects judgements while a draft is examined, and the spans that they become when it leaves."""

    def __init__(self) -> None:
        self.spans: list[GroundedSpan] = []
        self._claims: dict[int, Judged] = {}  # by their start in the draft
        self._starts: list[int] = []  # in the draft, of what speaks of other pages than before
        self._pages: list[Sequence[int]] = []
        self._released = 0

    def __repr__(self) -> str:
        return f"Told({len(self.spans)} spans)"

    @property
    def counts(self) -> Counter[Ground]:
        """Number of released claims by how they stand to the picture."""
        return Counter(span.ground for span in self.spans)

    def speaks_of(self, pages: Sequence[int], at: int) -> None:
        """From character `at` of the draft on, it speaks of `pages`."""
        if not self._pages or tuple(self._pages[-1]) != tuple(pages):
            self._starts.append(at)
            self._pages.append(pages)

    def pages(self, at: int) -> Sequence[int]:
        """The pages that character `at` of the draft speaks of."""
        found = bisect_right(self._starts, at) - 1
        return self._pages[found] if found >= 0 else ()

    def claims(self, judged: Iterable[Judged]) -> None:
        """Take judgements, in characters of the draft; of two about one place the later one knows more around it."""
        for item in judged:
            self._claims[item.start] = item

    def released(self, segment: Segment) -> None:
        """`segment` leaves now."""
        if segment.start is not None:
            end = segment.start + len(segment.text)
            for claim in self._take(segment.start, end):
                if claim.end <= end:
                    at = self._released + claim.start - segment.start
                    span = GroundedSpan(at, at + claim.end - claim.start, claim.ground, claim.places)
                    self.spans.append(span)
        elif segment.passage is not None:
            for _ in self._take(segment.passage.start, segment.passage.end):
                pass  # what was replaced claims nothing any more
            if segment.text == UNGROUNDED_MASK:
                end = self._released + len(segment.text)
                self.spans.append(GroundedSpan(self._released, end, Ground.MASKED))
        self._released += len(segment.text)

    def _take(self, start: int, end: int) -> list[Judged]:
        """The claims that begin in characters [start, end) of the draft, in order."""
        taken = sorted(at for at in self._claims if start <= at < end)
        return [self._claims.pop(at) for at in taken]
