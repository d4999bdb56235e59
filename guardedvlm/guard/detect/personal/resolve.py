"""One span for one thing: the most specific of spans that lie within each other."""

from __future__ import annotations

from collections.abc import Iterable

from guardedvlm.core.finding import Kind, Span

PRECEDENCE = ("presidio", "entropy", "name", "pattern", "form", "check", "known")
"""Families of recognisers, the first part of a recogniser's name, from the vaguest to the surest."""
YIELDING = frozenset({Kind.AMOUNT, Kind.ORGANIZATION, Kind.URL, Kind.AGE, Kind.DATE})
"""Kinds that policies keep most often: they never take the place of a kind that may be hidden."""
NUMBERS_IN_DATES = frozenset({Kind.PHONE, Kind.OTHER_ID, Kind.ADDRESS, Kind.AMOUNT, Kind.ROUTING, Kind.IP_ADDRESS})
"""What the digits of a complete date are taken for by rules without a label or check digit."""


FIRM = "pattern/firm"
"""The recogniser of names that are a firm's and nobody's."""
GUESSED = frozenset({"presidio/PERSON", "name/census", "name/given"})
"""Recognisers of persons by looks and lists alone, which give way to it: `organizations.is_firm` looked at the lists
more closely."""


def precedence(span: Span) -> int:
    """Rank of the span's recogniser family."""
    return PRECEDENCE.index(span.recognizer.partition("/")[0])


def resolve(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans sorted by start, without those that a surer span of equal or greater extent explains.

    Every character that a span covered stays covered by a span whose kind is at least as likely to be hidden.
    """
    ordered = sorted(set(spans), key=lambda s: (-precedence(s), s.start - s.end, s.start, -s.score, s.kind))
    kept: list[Span] = []
    for span in ordered:
        if not any(_explains(other, span) for other in kept):
            kept = [other for other in kept if not _explains(span, other)]
            kept.append(span)
    return tuple(sorted(kept, key=lambda s: (s.start, s.end, s.kind)))


def _explains(other: Span, span: Span) -> bool:
    """Whether `other` covers `span` and says all that `span` says."""
    if not (other.start <= span.start and span.end <= other.end):
        return False
    if span.recognizer == FIRM and other.kind is Kind.ORGANIZATION:
        return other.recognizer == FIRM  # else what gives way to a firm would not
    if other.kind == span.kind:
        return True
    surer = precedence(other) > precedence(span) or (
        precedence(other) == precedence(span) and other.score >= span.score
    )
    if other.kind is Kind.ORGANIZATION and other.recognizer.startswith("form/"):
        # Its label says whose number it is; only what guesses by looks gives way to it.
        return span.recognizer.startswith("entropy/")
    if other.recognizer == FIRM and span.kind is Kind.PERSON:
        # The model takes capitals for names, and the census has syllables among its rarest; a title, a comma, a label
        # or another page say more than a trade does.
        return span.recognizer in GUESSED
    if other.kind in YIELDING:
        # Nothing is lost where the covering kind is kept less often than the covered one.
        return surer and (span.kind is Kind.AMOUNT or (other.kind is Kind.DATE and span.kind in NUMBERS_IN_DATES))
    return surer or span.kind in YIELDING
