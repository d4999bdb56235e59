"""Which values an attribute or a label of telemetry may have: each knows a closed form, and nothing else passes."""

from __future__ import annotations

import re
from collections.abc import Callable

from guardedvlm.audit.component import is_component_name

Scalar = str | bool | int
Value = Scalar | tuple[str, ...]
Check = Callable[[Value], bool]


def is_number(value: Value) -> bool:
    """A whole number; the record has no others."""
    return isinstance(value, int)


def is_flag(value: Value) -> bool:
    """True or False."""
    return isinstance(value, bool)


def one_of(*words: str) -> Check:
    """One of these words."""
    known = frozenset(words)
    return lambda value: isinstance(value, str) and value in known


def form(pattern: str) -> Check:
    """Text that is wholly of `pattern`."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def is_component(value: Value) -> bool:
    """A name of the closed vocabulary of engines and models."""
    return isinstance(value, str) and is_component_name(value)


def each(check: Check) -> Check:
    """Several values, each of which `check` allows."""
    return lambda value: isinstance(value, tuple) and all(check(item) for item in value)
