"""The forms of a text in which hidden strings are looked for; made once, whatever number of deny sets looks at them."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardedvlm.guard.screen.encoded import encoded
from guardedvlm.guard.screen.nearly import Places
from guardedvlm.guard.screen.runs import Run


@dataclass(frozen=True, slots=True)
class Forms:
    """A normalised text: its letters and digits in a run, with digits for words, backwards, and what is encoded."""

    text: str = field(repr=False)
    runs: tuple[Run, ...] = field(repr=False)
    backwards: Run = field(repr=False)
    encoded: tuple[tuple[int, int, Forms], ...] = field(repr=False)
    near: Places = field(repr=False)

    @classmethod
    def of(cls, text: str, *, decoded: bool = False) -> Forms:
        """The forms of a normalised text; of one that was `decoded` no further encoding is undone."""
        run = Run.of(text)
        inside = () if decoded else tuple((at, end, cls.of(plain, decoded=True)) for at, end, plain in encoded(text))
        runs = tuple(filter(None, (run, Run.with_digits(text))))
        return cls(text, runs, run.reversed(), inside, Places.of(text))
