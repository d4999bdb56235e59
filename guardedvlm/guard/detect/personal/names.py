"""Rules for names of persons: titles, capitals, "DOE, JANE", joined words; and what keeps plain words from it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.core.firm import has_legal_form
from guardedvlm.guard.detect.personal.labels import find_labels
from guardedvlm.guard.detect.personal.lexicon import (
    fold,
    is_common_word,
    is_frequent_surname,
    is_given_name,
    is_place,
    is_surname,
    is_word,
)
from guardedvlm.guard.detect.personal.view import View

_CAPITALISED = r"[A-ZÀ-ÞŠŽŁ][\w'’-]{0,40}\.?"
_PARTICLE = r"(?:(?:de|da|dos|del|der|den|van|von|zu|la|le|bin|binti|bte|al|el|ibn|y|d'|O') )*"
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Dame|Lord|Lady|Rev|Hon|Capt|Sgt|Nurse|Herr|Frau|Mme|Mlle|"
    r"Monsieur|Madame|Señor|Señora|Sr(?=\.)|Sra|Srta|Don|Doña|Dato|Datuk|Encik|Puan|MR|MRS|MS|MISS|DR|PROF|HERR|FRAU|MME|SR(?=\.)|SRA)"
)
_TITLED = re.compile(rf"\b{_TITLE}\b\.? ?({_PARTICLE}{_CAPITALISED}(?: {_PARTICLE}{_CAPITALISED}){{0,3}})")
_COMMA = re.compile(
    r"(?<![\w,])([A-ZÀ-Þ][A-Za-zÀ-ž'-]{1,40}(?: [A-ZÀ-Þ][A-Za-zÀ-ž'-]{1,40})?) ?, ?([A-ZÀ-Þ][A-Za-zÀ-ž'-]{1,40})"
    r"((?: [A-ZÀ-Þ]\b\.?)?)(?!\w)"
)
_CARET = re.compile(r"(?<!\w)[A-Za-zÀ-ž'-]{2,}\^[A-Za-zÀ-ž'. -]{2,}(?:\^[A-Za-zÀ-ž'. -]*){0,3}")
_RUN = re.compile(
    rf"(?<![\w.@/]){_CAPITALISED}(?: (?:bin|binti|bte|de|da|del|van|von|der|la|al|el)\b| {_CAPITALISED}){{1,4}}"
)
_CREDENTIALS = re.compile(
    rf"(?<!\w)({_CAPITALISED}(?: {_CAPITALISED}){{1,3}}),? "
    r"(?:M\.?D|D\.?O|R\.?N|Ph\.?D|N\.?P|D\.?D\.?S|Esq|CPA|MBBS|FACR|PA-C|Jr|III?)\b"
)
_INITIAL = re.compile(r"(?<![\w.])([A-ZÀ-ÞŠŽŁ][\w'’-]{2,}) [A-Z]\b\.? ([A-ZÀ-ÞŠŽŁ][\w'’-]{2,})")
_SMALL = re.compile(r"(?<![\w@./-])([a-zà-ž]{4,}) (?:[a-z]\.? )?([a-zà-ž'-]{3,})(?![\w@/]|\.\w)")
_SINGLE = re.compile(r"(?<![\w.@/-])[A-ZÀ-Þ][a-zà-ž]{2,}(?![\w@/]|\.\w)")
_JOINED = re.compile(r"(?<![\w@./])[A-ZÀ-Þ][A-Za-zÀ-ž]{6,29}(?![\w@])")
LEAST_JOINED_PART = 3
"""Letters of each part of a joined name: shorter ones are found in many words."""


def names(view: View) -> Iterator[Span]:
    """Names that their form or the census lists give away."""
    for match in _TITLED.finditer(view.text):
        if _is_abbreviated_firm(view.text, match):
            continue
        if not any(c.isdigit() for c in match[1]) and not find_labels(match[1].split()[0]):
            yield view.span(*match.span(), Kind.PERSON, 0.85, "name/title")
    for match in _COMMA.finditer(view.text):
        if _is_comma_name(match[1], match[2]):
            yield view.span(*match.span(), Kind.PERSON, 0.75, "name/comma")
    for match in _CARET.finditer(view.text):
        yield view.span(*match.span(), Kind.PERSON, 0.9, "name/caret")
    for match in _CREDENTIALS.finditer(view.text):
        if not is_plain(match[1]):
            yield view.span(*match.span(1), Kind.PERSON, 0.8, "name/credentials")
    yield from _census_names(view)
    yield from _single_names(view)
    for match in _SMALL.finditer(view.text):
        if _is_small_name(match[1], match[2]):
            yield view.span(*match.span(), Kind.PERSON, 0.6, "name/small")
    for match in _INITIAL.finditer(view.text):
        if not any(is_common_word(w) or find_labels(w) for w in (match[1], match[2])):
            yield view.span(*match.span(), Kind.PERSON, 0.7, "name/initial")
    for match in _JOINED.finditer(view.text):
        if is_joined_name(match[0]):
            yield view.span(*match.span(), Kind.PERSON, 0.7, "name/joined")


def _is_abbreviated_firm(text: str, match: re.Match[str]) -> bool:
    """Whether the title is a firm's ("MR. D.I.Y. (KUCHAI) SDN BHD"): letters alone before a legal form name nobody."""
    return _INITIALS.match(text, match.start(1)) is not None and has_legal_form(text[match.end() :].split("\n", 1)[0])


_INITIALS = re.compile(r"(?:[A-Z]\.? ?){2,6}(?!\w)")


def _is_comma_name(surname: str, given: str) -> bool:
    if is_place(surname) or is_place(given) or find_labels(surname) or find_labels(given):
        return False
    given_known = is_given_name(given) and not is_common_word(given)
    return given_known and not is_plain(surname)


def _census_names(view: View) -> Iterator[Span]:
    """A given name of the census, then initials and a word that is not plain ("JOHN A DOE", "Maria Lopez")."""
    for match in _RUN.finditer(view.text):
        pieces = [(m.start() + match.start(), m[0]) for m in re.finditer(r"\S+", match[0])]
        first = 0
        while first < len(pieces) - 1:
            last = _name_end(pieces, first)
            if last is None:
                first += 1
                continue
            start, end = pieces[first][0], pieces[last][0] + len(pieces[last][1].rstrip(".,"))
            yield view.span(start, end, Kind.PERSON, 0.7, "name/census")
            first = last + 1


def _is_small_name(given: str, surname: str) -> bool:
    """A name typed in small letters: a given name and a word that is none of the language, or a surname rather."""
    if not is_frequent_given_name(given) or is_place(given) or is_place(surname):
        return False
    return not is_common_word(surname) and (is_surname(surname) or not is_word(surname))


def _single_names(view: View) -> Iterator[Span]:
    """Given names alone, written with a capital and small letters: in capitals, products bear them as well."""
    for match in _SINGLE.finditer(view.text):
        word = match[0]
        if is_frequent_given_name(word) and not is_place(word) and fold(word) not in _CALENDAR:
            yield view.span(*match.span(), Kind.PERSON, 0.5, "name/given")


_CALENDAR = frozenset({"april", "june", "august", "summer", "autumn", "easter", "sunday", "tuesday", "christmas"})
"""Given names that are dates more often."""
_CONNECTORS = frozenset({"bin", "binti", "bte", "de", "da", "del", "van", "von", "der", "la", "al", "el"})


def _name_end(pieces: list[tuple[int, str]], first: int) -> int | None:
    """Index of the last word of the name that starts at `first`, or None."""
    word = pieces[first][1]
    if not is_given_name(word) or is_common_word(word) or is_place(word):
        return None
    last = first
    for index in range(first + 1, len(pieces)):
        piece = pieces[index][1]
        initial = len(fold(piece)) == 1
        if initial or fold(piece) in _CONNECTORS:
            continue
        if not _goes_on(piece):
            break
        last = index
    return last if last > first else None


def _goes_on(word: str) -> bool:
    """Whether `word` may stand after a given name as a part of the name."""
    if not fold(word).replace("-", "").replace("'", "").isalpha() or is_place(word) or find_labels(word):
        return False
    return not is_common_word(word) or is_frequent_surname(word)


def is_plain(text: str) -> bool:
    """Whether every word of `text` is a common word, a form label or no word at all."""
    words = re.findall(r"[^\W\d_][\w'-]*", text)
    return all(len(word) == 1 or is_common_word(word) for word in words)


def is_joined_name(word: str) -> bool:
    """Whether `word` is a given name and a surname without the space: "JohnSmith", "JOHNSMITH"."""
    if is_common_word(word) or is_given_name(word) or is_surname(word) or is_place(word):
        return False
    camel = re.findall(r"[A-ZÀ-Þ][a-zà-ž'-]+", word)
    if len(camel) >= 2 and "".join(camel) == word:
        return is_given_name(camel[0]) and not is_common_word(camel[0]) and not is_common_word(camel[-1])
    if not word.isupper():
        return False
    cuts = range(LEAST_JOINED_PART, len(word) - LEAST_JOINED_PART + 1)
    return any(_is_pair(word[:cut], word[cut:]) for cut in cuts)


def _is_pair(given: str, surname: str) -> bool:
    return is_frequent_given_name(given) and is_surname(surname) and not is_common_word(surname) and len(surname) > 3


def is_frequent_given_name(word: str) -> bool:
    """A given name that is no common word; at least four letters, so that it is not found within other words."""
    return len(word) > 3 and is_given_name(word) and not is_common_word(word)


_EDGE = re.compile(r"^[\W_]+|[\W_]+$")


def trim_person(text: str, start: int, end: int) -> tuple[int, int] | None:
    """[start, end) without labels, small words and digits at its edges, or None when nothing of a name is left.

    What statistical recognisers return often has a label ("Patient John Doe") or a line's rest in it.
    """
    words = [(m.start() + start, m.end() + start) for m in re.finditer(r"[^\s,;:/()]+", text[start:end])]
    while words and _is_edge(text[slice(*words[0])]):
        words.pop(0)
    while words and _is_edge(text[slice(*words[-1])]):
        words.pop()
    solid = [_EDGE.sub("", text[slice(*word)]) for word in words]
    if not any(len(word) > 1 for word in solid) or all(len(word) == 1 or is_common_word(word) for word in solid):
        return None
    return words[0][0], words[-1][1]


def _is_edge(word: str) -> bool:
    plain = _EDGE.sub("", word)
    if not any(c.isalpha() for c in plain) or any(c.isdigit() for c in plain) or plain.islower():
        return True
    return not is_given_name(plain) and bool(find_labels(plain))


def is_capital_name(words: list[str]) -> bool:
    """Whether words of a line of one case, which the model was shown in title case, may be a name after all.

    Goods and headings look like names to it: one word must be a given name; of several one must be known
    as a name, or none be an English word. Connectors ("bin", "de") decide nothing.
    """
    words = [word for word in words if word.casefold() not in _CONNECTORS]
    if len(words) == 1:
        return is_given_name(words[0]) and not is_common_word(words[0])
    long = [word for word in words if len(word) > 1]
    known = any((is_given_name(word) or is_surname(word)) and not is_common_word(word) for word in long)
    plain = any(is_common_word(word) and not is_frequent_surname(word) for word in long)
    return (known and not plain) or not any(map(is_word, words))
