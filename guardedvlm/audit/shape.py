"""A fast way to know that a line is a record: regular expressions that are made from the schema itself.

The expression takes only what `Record.decode` takes, letter for letter: keys in their one order, numbers in their one
spelling, the facts that the event demands and none that it may not state. What it does not take may still be a record
(a date on 29 February, a count of a million), and `Record.decode`, the slow oracle, decides. Names that only code can
judge (of components and policies) are taken once the oracle has taken them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, NotRequired, get_args, get_origin

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints, is_typeddict

from guardedvlm.audit.facts import Facts
from guardedvlm.audit.random_id import REFUSED, random_digits
from guardedvlm.audit.record import MAX_LINE, OF_LEDGER, REQUIRED, LedgerEvent, Record
from guardedvlm.core.lifecycle import State

MAX_NAMES = 500
"""Names that the expression knows at most; a site has some dozens."""
MAX_USUAL = 8
"""Sets of facts of one event that have an expression of their own."""
_EVENT = len(b'{"event":"')
_TIME = (
    r"20[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
_NUMBER = r"0|[1-9][0-9]{0,14}"
_HEX_128, _HEX_256 = r"[0-9a-f]{32}", r"[0-9a-f]{64}"


class Shapes:
    """The expressions, and the names that they know. Not thread-safe."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._compile()

    def match(self, line: bytes) -> re.Match[bytes] | None:
        """A match when the line is certainly a record, with the groups previous, request (None for an event of the
        ledger), sequence and time."""
        if len(line) > MAX_LINE:
            return None
        if self._is_stale:
            self._compile()
        event = line[_EVENT : line.find(b'"', _EVENT)]
        for pattern in self._usual.get(event, ()):
            if (match := pattern.fullmatch(line)) is not None:
                return match
        match = self._of_request.fullmatch(line)
        if match is not None and _is_complete(match):
            self._make_usual(event, tuple(json.loads(line)["facts"]))
            return match
        of_event = self._of_ledger.get(event)
        return of_event.fullmatch(line) if of_event is not None else None

    def learn(self, record: Record) -> None:
        """Take the names in a record that the oracle has taken."""
        fresh = set(_names(record.facts)) - self._names
        if fresh and len(self._names) + len(fresh) <= MAX_NAMES:
            self._names |= fresh
            self._is_stale = True

    def _compile(self) -> None:
        names = tuple(sorted(self._names))
        self._of_request = _of_request(names)
        self._of_ledger = {event.value.encode(): _of_ledger(event, names) for event in LedgerEvent}
        self._usual: dict[bytes, list[re.Pattern[bytes]]] = {}
        self._is_stale = False

    def _make_usual(self, event: bytes, facts: tuple[str, ...]) -> None:
        """From now on try first an expression for just these facts: it need not look for thirty others."""
        patterns = self._usual.setdefault(event, [])
        if len(patterns) < MAX_USUAL:
            patterns.append(_of_request(tuple(sorted(self._names)), event.decode(), facts))


_TOLD = tuple(sorted(frozenset().union(*(REQUIRED.get(state, frozenset()) for state in State))))
"""Facts that some state must tell: the expression says of each whether it is there."""
_REQUIRED = {state.value.encode(): REQUIRED.get(state, frozenset()) for state in State}


def _is_complete(match: re.Match[bytes]) -> bool:
    """`Entry._fits_event` for a request's record: it tells what it must, and a reason only where it was refused."""
    event = match["event"]
    if (match["reason"] is not None) != (event == b"REFUSED"):
        return False
    return all(match[name] is not None for name in _REQUIRED[event])


def _of_request(names: tuple[str, ...], event: str = "", told: tuple[str, ...] | None = None) -> re.Pattern[bytes]:
    """Of any event and any facts of a request, or of that event with exactly those facts."""
    hints = get_type_hints(Facts, include_extras=True)
    allowed = hints.keys() - frozenset().union(*OF_LEDGER.values()) if told is None else frozenset(told)
    facts = _object(
        {name: (_value(hints[name], names), told is not None) for name in allowed}, _TOLD if not event else ()
    )
    return _record(event or "|".join(State), facts, rf',"request":"(?P<request>{_HEX_128})"')


def _of_ledger(event: LedgerEvent, names: tuple[str, ...]) -> re.Pattern[bytes]:
    hints = get_type_hints(Facts, include_extras=True)
    required = REQUIRED.get(event, frozenset())
    facts = _object({name: (_value(hints[name], names), name in required) for name in OF_LEDGER[event]})
    return _record(event, facts, "(?P<request>(?!))?+")


def _record(event: str, facts: str, request: str) -> re.Pattern[bytes]:
    whole = (
        rf'\{{"event":"(?P<event>{event})","facts":{facts},"origin":"{_HEX_128}"'
        rf',"previous":"(?P<previous>{_HEX_256})"{request},"salt":"{_HEX_128}","sequence":(?P<sequence>{_NUMBER})'
        rf',"time":"(?P<time>{_TIME})","version":1\}}'
    )
    return re.compile(whole.encode("ascii"))


def _object(items: Mapping[str, tuple[str, bool]], told: Collection[str] = ()) -> str:
    """Members in the order of their names, each with a comma behind it unless it is the last one; of those in `told` a
    group of that name says that they are there."""
    if not told and all(is_required for _, is_required in items.values()):
        members = (f'"{re.escape(name)}":(?:{value})' for name, (value, _) in sorted(items.items()))
        return rf"\{{{','.join(members)}\}}"
    parts = [
        rf'(?>"{f"(?P<{name}>)" if name in told else ""}{re.escape(name)}":(?:{value})(?:,(?=")|(?=\}})))'
        + ("" if is_required else "?+")
        for name, (value, is_required) in sorted(items.items())
    ]
    return rf"\{{{''.join(parts)}\}}"


def _value(kind: Any, names: tuple[str, ...]) -> str:
    """The JSON of a value of this type, in a record's spelling."""
    if get_origin(kind) is NotRequired:
        return _value(get_args(kind)[0], names)
    if get_origin(kind) is Annotated:
        return _annotated(get_args(kind), names)
    if kind is bool:
        return "true|false"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f'"(?:{"|".join(re.escape(one.value) for one in kind)})"'
    if is_typeddict(kind):
        return _object(
            {
                name: (_value(hint, names), not _is_optional(hint))
                for name, hint in get_type_hints(kind, include_extras=True).items()
            }
        )
    return _container(kind, names, None)


def _is_optional(hint: Any) -> bool:
    """Whether a key may be absent. A TypedDict's own word for it is wrong where annotations are strings."""
    return get_origin(hint) is NotRequired


def _container(kind: Any, names: tuple[str, ...], most: int | None) -> str:
    made, inside = get_origin(kind), get_args(kind)
    if made is dict:
        value = _value(inside[1], names)
        return _object({key.value: (value, False) for key in inside[0]})
    if made is tuple and inside[1:] == (...,):
        limit = f"{{0,{most}}}+" if most is not None else "*+"
        return rf"\[(?>(?:{_value(inside[0], names)})(?:,(?!\])|(?=\]))){limit}\]"
    raise TypeError(f"no expression for {kind}")


def _annotated(arguments: tuple[Any, ...], names: tuple[str, ...]) -> str:
    kind, marks = arguments[0], arguments[1:]
    limits = {name: getattr(part, name) for mark in marks for part in _parts(mark) for name in _LIMITS
              if getattr(part, name, None) is not None}  # fmt: skip
    if AfterValidator(random_digits) in marks:
        return f'"(?!{REFUSED}){limits["pattern"].removeprefix("^").removesuffix("$")}"'
    if any(isinstance(mark, AfterValidator) for mark in marks):
        taken: TypeAdapter[Any] = TypeAdapter(Annotated[*arguments])  # type: ignore[arg-type]  # made at run time
        return f'"(?:{"|".join(re.escape(name) for name in names if _is_taken(taken, name)) or "(?!)"})"'
    if kind is int:
        return _integer(limits["ge"], limits["le"] if "le" in limits else limits["lt"] - 1)
    if kind is str:
        return f'"{limits["pattern"].removeprefix("^").removesuffix("$")}"'
    return _container(kind, names, limits.get("max_length"))


def _is_taken(kind: TypeAdapter[Any], name: str) -> bool:
    """A component's name may be no policy's name, and the other way round."""
    try:
        kind.validate_python(name)
    except ValidationError:
        return False
    return True


_LIMITS = ("ge", "le", "lt", "max_length", "pattern")


def _parts(mark: Any) -> Iterator[Any]:
    """A mark's own limits: pydantic keeps those of a Field in a list."""
    if isinstance(mark, FieldInfo):
        yield from mark.metadata
    elif isinstance(mark, StringConstraints):
        yield mark


def _integer(least: int, most: int) -> str:
    """Numbers with fewer digits than `most`, and `most` itself: never one that is out of bounds."""
    if least not in (0, 1):
        raise TypeError(f"no expression for numbers from {least}")
    digits = len(str(most)) - 1
    small = rf"[1-9][0-9]{{0,{digits - 1}}}" if digits else "(?!)"
    return rf"(?:{most}|{small}{'|0' if least == 0 and most else ''})(?![0-9])"


def _names(value: Any) -> Iterator[str]:
    """Every string under the key `name`, and those of policies that were kept."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _NAMED and isinstance(item, str):
                yield item
            elif key in _NAMED:
                yield from (one for one in item if isinstance(one, str))
            if not isinstance(item, str):
                yield from _names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names(item)


_NAMED = frozenset({"name", "engine", "policies_kept"})


@functools.cache
def shapes() -> Shapes:
    """Those of this process."""
    return Shapes()
