"""Text as the recognisers see it, with a way back to the characters that were written.

Normalised text has no invisible characters, no compatibility forms and ASCII digits only, so that neither a zero-width
joint nor a full-width or circled digit hides a value. Every character of it knows which characters of the original it
stands for, so that an edit decided here can be made there.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

LINE_BREAKS = frozenset("\n\x0b\x0c\x85\u2028\u2029")
LAST_EUROPEAN_LETTER = 0x017F
"""End of Latin Extended-A. With Latin Extended Additional it holds the letters of the languages that a policy can name
and of most European names; the phonetic and small-capital Latin beyond it serves to imitate ASCII."""
EXTENDED_ADDITIONAL = range(0x1E00, 0x1F00)
SYMBOL_LETTERS = re.compile(
    # Greek letters as symbols: alone ("the β blocker"), or as a prefix or name of a unit ("5 μg", "10 kΩ").
    r"(?<![^\W\d_])(?:[α-ωΑ-Ω](?![^\W\d_])|μ(?:g|l|L|m|s|A|V|F|W|mol|Sv|Gy)(?![^\W\d_])|[kM]Ω(?![^\W\d_]))"
)
_ESCAPE = re.compile(
    r"(?:\\u[0-9A-Fa-f]{4})+|\\u\{[0-9A-Fa-f]{1,6}\}|\\x[0-9A-Fa-f]{2}|&#(?:\d{1,7}|[xX][0-9A-Fa-f]{1,6});"
)
"""Characters by their numbers, as JSON, programs and HTML write them: whoever decodes an answer has them back."""
FRACTIONS = frozenset("⁄⅟")
"""What is left of "½" once it is normalised ("1⁄2"); the sign of a fraction is no number by itself."""
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ħ": "h"})


def is_invisible(character: str) -> bool:
    """Whether `character` is a control, format, private-use or unassigned code point, or selects a glyph variant."""
    if character in "\n\t":
        return False
    return unicodedata.category(character)[0] == "C" or 0xFE00 <= ord(character) <= 0xFE0F or character == "\u034f"


def visible(text: str) -> str:
    """`text` without invisible characters (zero-width, bidi, tags); every line break becomes a line feed.

    Looks at one character at a time: the pieces of a text give the pieces of its result.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("\n" if c in LINE_BREAKS else c for c in text if c in LINE_BREAKS or not is_invisible(c))


@dataclass(frozen=True, slots=True)
class NormalText:
    """Normalised `text`; character i stands for original characters [starts[i], ends[i])."""

    text: str = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    ends: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, original: str) -> NormalText:
        """Normalise visible text (see `visible`). Characters that are written as escapes are those characters."""
        if _ESCAPE.search(original):
            return cls._unescaped(original)
        return cls._plainly(original)

    @classmethod
    def _plainly(cls, original: str) -> NormalText:
        if original.isascii():
            count = len(original)
            return cls(original, tuple(range(count)), tuple(range(1, count + 1)))
        out: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for start, end in _clusters(original):
            piece = _normal_cluster(original[start:end])
            out.append(piece)
            starts += [start] * len(piece)
            ends += [end] * len(piece)
        return cls("".join(out), tuple(starts), tuple(ends))

    @classmethod
    def _unescaped(cls, original: str) -> NormalText:
        """Of text with escapes: each of their characters stands for the whole escape."""
        written: list[str] = []
        bounds: list[tuple[int, int]] = []
        cursor = 0
        for found in _ESCAPE.finditer(original):
            bounds += [(at, at + 1) for at in range(cursor, found.start())]
            plain = visible(_plain_escape(found[0]))
            written += [original[cursor : found.start()], plain]
            bounds += [found.span()] * len(plain)
            cursor = found.end()
        bounds += [(at, at + 1) for at in range(cursor, len(original))]
        # Once is enough: what an escape of an escape means, no reader undoes by itself.
        inside = cls._plainly("".join([*written, original[cursor:]]))
        starts = tuple(bounds[start][0] for start in inside.starts)
        return cls(inside.text, starts, tuple(bounds[end - 1][1] for end in inside.ends))

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original that normalised [start, end), not empty, stands for."""
        return self.starts[start], self.ends[end - 1]


def _plain_escape(escape: str) -> str:
    """The characters that an escape writes; "\ufffd" for what is none."""
    if escape.startswith("\\u") and "{" not in escape:
        return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")
    digits = re.sub(r"[^0-9A-Fa-f]", "", escape[2:])
    number = int(digits, 10 if escape[:2] == "&#" and escape[2] not in "xX" else 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def normalise(text: str) -> str:
    """NFKC of `text` without invisible characters, decimal digits of every script as ASCII."""
    shown = visible(text)
    return shown if shown.isascii() else "".join(_normal_cluster(shown[start:end]) for start, end in _clusters(shown))


def fold(text: str) -> str:
    """`text` casefolded and without diacritics; for comparing, never for showing."""
    if text.isascii():
        return text.casefold()
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if not unicodedata.combining(c)).translate(_PLAIN)


def is_latin(text: str) -> bool:
    """Whether every letter of normalised `text` is Latin as European languages write it.

    The recognisers cannot examine anything else. Greek letters pass as symbols only; pictures of letters do not pass
    (regional indicators, Braille, negative squared capitals).
    """
    if text.isascii():
        return True
    return all(c.isascii() or _is_examinable(c) for c in SYMBOL_LETTERS.sub("", text))


def _is_examinable(character: str) -> bool:
    category = unicodedata.category(character)
    if category[0] == "L" or category == "Nl":
        code = ord(character)
        return code <= LAST_EUROPEAN_LETTER or code in EXTENDED_ADDITIONAL
    if category == "Nd" or category[0] == "M":
        return False  # folded or composed already where it belongs to Latin
    if category == "No":
        return character in FRACTIONS  # number signs of other scripts and in circles: they spell any number
    name = unicodedata.name(character, "")
    return category != "So" or not re.search(r"LETTER [A-Z]\b|CAPITAL [A-Z]\b|BRAILLE|DIE FACE|DOMINO TILE", name)


def _clusters(text: str) -> list[tuple[int, int]]:
    """Each character with the combining marks that follow it."""
    bounds = [i for i, c in enumerate(text) if i == 0 or c.isascii() or not unicodedata.category(c).startswith("M")]
    return list(zip(bounds, [*bounds[1:], len(text)], strict=True))


def _normal_cluster(cluster: str) -> str:
    if cluster.isascii():
        return cluster
    composed = unicodedata.normalize("NFKC", cluster)
    if len(composed) > 1:
        # Marks that compose with nothing are decoration on Latin letters ("s̷m̷i̷t̷h̷") and never carry a value.
        composed = "".join(c for c in composed if unicodedata.category(c) not in ("Mn", "Me")) or " "
    return "".join(_ascii_digit(c) for c in composed)


def _ascii_digit(character: str) -> str:
    if character.isascii() or not character.isnumeric():
        return character
    value = unicodedata.digit(character, None)
    return character if value is None else str(value)
