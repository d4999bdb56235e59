"""A read page: spans of its text and form rules, brought together and mapped back to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.region import Size
from guardedvlm.core.word import TextLine
from guardedvlm.guard.detect.personal.block import block_hits
from guardedvlm.guard.detect.personal.elsewhere import SURE_FAMILY, SURE_NAME, repeated_parts
from guardedvlm.guard.detect.personal.form import Hit, form_hits, signature_areas
from guardedvlm.guard.detect.personal.identity_document import identity_document_hits
from guardedvlm.guard.detect.personal.known import Known, name_spans
from guardedvlm.guard.detect.personal.layout import Layout
from guardedvlm.guard.detect.personal.place import Place
from guardedvlm.guard.detect.personal.resolve import precedence, resolve
from guardedvlm.guard.detect.personal.view import folded

SIGNATURE_SCORE = 0.6

TextSpans = Callable[[str], Iterable[Span]]


class Page:
    """The read lines of a picture of `width` x `height` pixels."""

    def __init__(self, lines: Sequence[TextLine], width: int, height: int) -> None:
        self.lines = lines
        self.size = Size(width, height)
        self.layout = Layout(lines, self.size)

    def findings(self, text_spans: TextSpans, known: Sequence[tuple[Kind, str]]) -> tuple[Finding, ...]:
        """Everything personal on the page, in reading order, signature areas last."""
        hits = [*self._text_hits(text_spans), *form_hits(self.layout), *self._known_hits(known)]
        hits += block_hits(self.layout, hits)
        hits += self._repeated_names(hits)
        hits += identity_document_hits(self.lines, hits)
        return (*self._placed(hits), *self._signatures())

    def _text_hits(self, text_spans: TextSpans) -> Iterator[Hit]:
        """Spans of the lines' text joined by line ends; one that runs over a line's end is one of each line."""
        joined = "\n".join(line.text.replace("\n", " ") for line in self.lines)
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line.text) + 1)
        for span in text_spans(joined):
            for index, line in enumerate(self.lines):
                start, end = max(span.start - starts[index], 0), min(span.end - starts[index], len(line.text))
                if start < end:
                    yield Hit(index, Span(start, end, span.kind, span.score, span.recognizer))

    def _known_hits(self, known: Sequence[tuple[Kind, str]]) -> Iterator[Hit]:
        wanted = Known(known)
        for index, line in enumerate(self.lines):
            for span in wanted.spans(line.text):
                yield Hit(index, span)

    def _repeated_names(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        """Other occurrences of names that a label, a title or the header vouches for."""
        names = (h for h in hits if h.span.kind is Kind.PERSON and h.span.score >= SURE_NAME)
        sure = [h for h in names if precedence(h.span) >= SURE_FAMILY]
        wanted = repeated_parts(self.lines[h.line].text[h.span.start : h.span.end] for h in sure)
        for index, line in enumerate(self.lines):
            if wanted and line.text:
                for span in name_spans(folded(line.text), wanted, "name/repeated"):
                    yield Hit(index, span)

    def _placed(self, hits: Sequence[Hit]) -> Iterator[Finding]:
        ordered = sorted(hits, key=lambda hit: hit.line)
        for index, group in groupby(ordered, key=lambda hit: hit.line):
            place = Place(self.lines[index], self.size)
            for span in resolve(hit.span for hit in group):
                yield place.finding(span)

    def _signatures(self) -> Iterator[Finding]:
        for rectangle in signature_areas(self.layout):
            box = self.layout.box(*rectangle)
            if box is not None:
                yield Finding(Kind.SIGNATURE, box, SIGNATURE_SCORE, "form/signature-area")
