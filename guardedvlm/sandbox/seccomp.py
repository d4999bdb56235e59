"""Which system calls a process may make: a seccomp filter, made here and checked by the kernel at every call.

A filter is a list of rules over the number and the arguments; the first that fits decides. It is installed for every
thread of the process, is inherited, and cannot be taken off.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guardedvlm.sandbox.syscalls import MACHINES, NEWEST, Machine

ALLOW, KILL = 0x7FFF0000, 0x80000000
"""What the kernel does: let the call be, or end the process with SIGSYS."""
X32 = 0x40000000
LOW = 0xFFFFFFFF

_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_Instruction = tuple[int, int, int, int]


def refusal(number: int = errno.EPERM) -> int:
    """What makes a call fail with this error."""
    return 0x00050000 | number


@dataclass(frozen=True, slots=True)
class Argument:
    """That the low half of argument `index`, masked, is one of `values`."""

    index: int
    values: tuple[int, ...]
    mask: int = LOW


@dataclass(frozen=True, slots=True)
class Rule:
    """`verdict` for the call `name`, where all that is said of its `arguments` holds."""

    name: str
    verdict: int
    arguments: tuple[Argument, ...] = ()


def program(rules: Sequence[Rule], otherwise: int, machine: Machine) -> bytes:
    """The filter in the kernel's form (struct sock_filter[]); rules for calls that the machine lacks are left out.

    A call that is newer than the tables is said not to exist, whatever `otherwise` is: nobody knows what it can do.
    """
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.x32:
        code += [(_AT_LEAST, 0, 1, X32), (_RETURN, 0, 0, KILL)]
    code += [(_AT_LEAST, 0, 1, NEWEST + 1), (_RETURN, 0, 0, refusal(errno.ENOSYS))]
    for rule in rules:
        if rule.name in machine.numbers:
            code += _compiled(rule, machine.numbers[rule.name])
    code.append((_RETURN, 0, 0, otherwise))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _compiled(rule: Rule, number: int) -> Iterator[_Instruction]:
    """The call's number is in the accumulator before and, where the rule does not fit, behind."""
    checks = [check for argument in rule.arguments for check in _check(argument)]
    if not checks:
        yield from ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, rule.verdict))
        return
    yield _EQUAL, 0, len(checks) + 2, number
    for place, (code, fits, fails, value) in enumerate(checks):
        yield code, fits, len(checks) - place if fails else 0, value
    yield _RETURN, 0, 0, rule.verdict
    yield _LOAD, 0, 0, _NUMBER_AT


def _check(argument: Argument) -> Iterator[_Instruction]:
    """Load, mask, compare; the last comparison's third part says that failing leaves the rule."""
    yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument.index  # the low half: both machines are little-endian
    yield _AND, 0, 0, argument.mask
    count = len(argument.values)
    for place, value in enumerate(argument.values, 1):
        yield _EQUAL, count - place, place == count, value


def install(rules: Sequence[Rule], otherwise: int) -> bool:
    """Put the filter on every thread of this process. False where the kernel or the machine has none."""
    machine = MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        return False
    code = program(rules, otherwise, machine)
    held = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, padding, a pointer
    filter_program = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(machine.numbers["seccomp"], _SET_MODE_FILTER, _ALL_THREADS, filter_program) == 0)
