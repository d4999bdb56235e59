"""Digits that are written as words: "four one double one" -> 4111. English, German, French, Spanish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_DIGITS = (
    "zero oh null nought null zéro cero",
    "one eins un une uno",
    "two zwei zwo deux dos",
    "three drei trois tres",
    "four vier quatre cuatro",
    "five fünf fuenf cinq cinco",
    "six sechs seis",
    "seven sieben sept siete",
    "eight acht huit ocho",
    "nine neun neuf nueve",
)
_PAIRS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
DIGITS = {word: str(digit) for digit, words in enumerate(_DIGITS) for word in words.split()}
_PAIR = {word: str(number) for number, word in enumerate(_PAIRS.split(), 10)}
_TEN = {word: str(number) for number, word in enumerate(_TENS.split(), 2)}
_REPEATED = {"double": 2, "triple": 3}
_WORD = rf"(?:{'|'.join(sorted({*DIGITS, *_PAIR, *_TEN, *_REPEATED}, key=len, reverse=True))})"
_RUN = re.compile(
    rf"(?<![^\W_])(?:{_WORD}|\d{{1,4}})(?:[\s,.;:/–-]{{1,3}}(?:and )?(?:{_WORD}|\d{{1,4}}))+(?![^\W_])", re.IGNORECASE
)
_TOKEN = re.compile(r"[^\W_]+")
LEAST_WORDS = 2
"""Number words in a row; one alone ("one of them") spells nothing."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """Characters [start, end) spell `digits`; digit i comes from the word that begins at `origin[i]`."""

    start: int
    end: int
    digits: str = field(repr=False)
    origin: tuple[tuple[int, int], ...] = field(repr=False)


def spelled(text: str) -> Iterator[Spelled]:
    """Runs of digits of a normalised text of which at least two are words, "." and "," between them allowed."""
    for run in _RUN.finditer(text):
        digits: list[str] = []
        origin: list[tuple[int, int]] = []
        words, repeat, tens = 0, 1, ""
        for token in _TOKEN.finditer(run[0]):
            word = token[0].casefold()
            words += not word.isdigit()
            if word in _REPEATED:
                repeat = _REPEATED[word]
                continue
            piece, tens = _piece(word, tens)
            if piece.startswith("\b"):  # the unit of "twenty-one" takes the place of the ten's zero
                digits[-1], origin[-1] = piece[1:], (origin[-1][0], run.start() + token.end())
                continue
            digits += piece * repeat
            origin += [(run.start() + token.start(), run.start() + token.end())] * (len(piece) * repeat)
            repeat = 1
        if words >= LEAST_WORDS and digits:
            yield Spelled(run.start(), run.end(), "".join(digits), tuple(origin))


def _piece(word: str, tens: str) -> tuple[str, str]:
    """The digits of a word, and whether it is a ten that the next word may complete."""
    if word in _TEN:
        return f"{_TEN[word]}0", word
    digit = DIGITS.get(word) or _PAIR.get(word) or (word if word.isdigit() else "")
    if tens and len(digit) == 1 and digit != "0":
        return f"\b{digit}", ""
    return digit, ""
