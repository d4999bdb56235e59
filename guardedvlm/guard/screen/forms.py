"""The forms of a text in which hidden strings are looked for; made once, whatever number of deny sets looks at them."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardedvlm.guard.screen.encoded import encoded
from guardedvlm.guard.screen.nearly import Places
from guardedvlm.guard.screen.runs import Run


@dataclass(frozen=True, slots=True)
class Spelt:
    """A normalised text as it is read: its letters and digits in a run, and with digits for words. Of what was encoded
    nothing else is looked at, and no further encoding is undone."""

    text: str = field(repr=False)
    runs: tuple[Run, ...] = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Spelt:
        """The runs of a normalised text."""
        return cls(text, tuple(filter(None, (Run.of(text), Run.with_digits(text)))))


@dataclass(frozen=True, slots=True)
class Forms:
    """A normalised text: its letters and digits in a run, with digits for words, backwards, and what is encoded."""

    text: str = field(repr=False)
    runs: tuple[Run, ...] = field(repr=False)
    backwards: Run = field(repr=False)
    encoded: tuple[tuple[int, int, Spelt], ...] = field(repr=False)
    near: Places = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Forms:
        """The forms of a normalised text."""
        plain = Spelt.of(text)
        inside = tuple((at, end, Spelt.of(decoded)) for at, end, decoded in encoded(text))
        return cls(text, plain.runs, plain.runs[0].reversed(), inside, Places.of(text))
