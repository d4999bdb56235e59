"""The filters as the kernel would run them, for both machines: an interpreter of the few instructions that they use."""

import errno
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.sandbox.confinement import _decoder, _detector
from guardedvlm.sandbox.seccomp import ALLOW, KILL, LOW, X32, Argument, Rule, program, refusal
from guardedvlm.sandbox.syscalls import HARMLESS, HOSTILE, MACHINES, NEWEST, WRITING

REFUSED = refusal()
CLONE_THREAD, PROT_EXEC = 0x10000, 4
both = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def verdict(code, architecture, number, *arguments):
    """What a filter says of a call (struct seccomp_data, Linux's classic BPF)."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    held, at = 0, 0
    while True:
        operation, yes, no, value = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        if operation == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:
            held &= value
        elif operation == 0x15:
            at += yes if held == value else no
        elif operation == 0x35:
            at += yes if held >= value else no
        else:
            assert operation == 0x06
            return value


def of(machine, rules, otherwise, name, *arguments):
    return verdict(program(tuple(rules), otherwise, machine), machine.architecture, machine.numbers[name], *arguments)


def decoder(machine, name, *arguments, may_open=True):
    return of(machine, _decoder(may_open), REFUSED, name, *arguments)


def detector(machine, name, *arguments):
    return of(machine, _detector(), ALLOW, name, *arguments)


@both
def test_every_call_of_the_lists_gets_its_verdict(machine):
    for name in HOSTILE & machine.numbers.keys():
        assert (decoder(machine, name), detector(machine, name)) == (KILL, REFUSED), name
    for name in HARMLESS & machine.numbers.keys():
        assert (decoder(machine, name), detector(machine, name)) == (ALLOW, ALLOW), name
    for name in WRITING & machine.numbers.keys():
        assert (decoder(machine, name), detector(machine, name)) == (REFUSED, REFUSED), name
    assert not HOSTILE & HARMLESS
    assert not HOSTILE & WRITING
    assert not HARMLESS & WRITING


@both
def test_the_lists_name_calls_that_the_machine_has(machine):
    """A name that is misspelt would be left out in silence; AArch64 has none of the old ones."""
    absent = (HOSTILE | HARMLESS | WRITING) - machine.numbers.keys()
    assert len(set(machine.numbers.values())) == len(machine.numbers)
    if machine.x32:
        assert absent == set()
    else:
        assert {"socket", "connect", "execve", "ptrace", "kill", "unlinkat", "read", "recvmsg"}.isdisjoint(absent)
        assert absent <= MACHINES["x86_64"].numbers.keys()


@both
@pytest.mark.parametrize(
    ("flags", "to_read"),
    [
        (os.O_RDONLY | os.O_CLOEXEC, True), (os.O_RDONLY | os.O_DIRECTORY, True), (os.O_WRONLY, False),
        (os.O_RDWR, False), (os.O_CREAT, False), (os.O_TRUNC, False), (os.O_TMPFILE | os.O_RDWR, False),
        (os.O_WRONLY | os.O_CLOEXEC, False),
    ],
)  # fmt: skip
def test_files_open_to_read(machine, flags, to_read):
    expected = ALLOW if to_read else REFUSED
    assert decoder(machine, "openat", 0, 0, flags) == expected
    assert detector(machine, "openat", 0, 0, flags) == expected
    assert decoder(machine, "openat", 0, 0, flags, may_open=False) == REFUSED
    if "open" in machine.numbers:
        assert decoder(machine, "open", 0, flags) == detector(machine, "open", 0, flags) == expected


@both
def test_threads_and_no_processes(machine):
    assert decoder(machine, "clone", CLONE_THREAD | 0x100) == detector(machine, "clone", CLONE_THREAD) == ALLOW
    assert decoder(machine, "clone", 17) == KILL
    assert detector(machine, "clone", 17) == REFUSED
    assert decoder(machine, "clone3") == detector(machine, "clone3") == refusal(errno.ENOSYS)


@both
def test_no_code_of_its_own_for_a_decoder(machine):
    for name in ("mmap", "mprotect"):
        assert decoder(machine, name, 0, 4096, 3) == ALLOW
        assert decoder(machine, name, 0, 4096, 3 | PROT_EXEC) == REFUSED
        assert detector(machine, name, 0, 4096, 3 | PROT_EXEC) == ALLOW


@both
def test_its_own_time_and_nobody_elses(machine):
    assert decoder(machine, "prlimit64", 0, 0) == ALLOW
    assert decoder(machine, "prlimit64", os.getppid(), 0) == REFUSED
    assert decoder(machine, "prlimit64", 0, 7) == REFUSED
    assert detector(machine, "prlimit64", os.getppid(), 0) == REFUSED
    assert decoder(machine, "tgkill", os.getpid(), 1, 6) == ALLOW
    assert decoder(machine, "tgkill", os.getppid(), 1, 6) == REFUSED


@both
@pytest.mark.parametrize("name", ["tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"])
def test_a_detector_may_abort_and_signal_nobody_else(machine, name):
    assert detector(machine, name, os.getpid(), 1, 6) == ALLOW
    assert detector(machine, name, os.getppid(), 1, 6) == REFUSED


@both
def test_calls_newer_than_the_tables_do_not_exist(machine):
    """A detector's list is one of refusals: what nobody has looked at would be allowed."""
    for rules, otherwise in ((_decoder(True), REFUSED), (_detector(), ALLOW)):
        code = program(tuple(rules), otherwise, machine)
        for number in (NEWEST + 1, 512, X32 - 1):
            assert verdict(code, machine.architecture, number) == refusal(errno.ENOSYS)
    assert max(machine.numbers.values()) == NEWEST
    for name, number in (("fchmodat2", 452), ("setxattrat", 463), ("removexattrat", 466), ("file_setattr", 469)):
        assert machine.numbers[name] == number
        assert detector(machine, name) == REFUSED


@both
def test_another_convention_ends_the_process(machine):
    """A 32-bit call has other numbers; so has x32's."""
    code = program(tuple(_decoder(True)), REFUSED, machine)
    assert verdict(code, 0x40000003, machine.numbers["read"]) == KILL
    if machine.x32:
        assert verdict(code, machine.architecture, X32 | machine.numbers["read"]) == KILL


@both
@settings(max_examples=60)
@given(
    number=st.integers(0, 500), arguments=st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6), data=st.data()
)
def test_a_filter_says_what_its_rules_say(machine, number, arguments, data):
    named = st.sampled_from(sorted(machine.numbers))
    about = st.builds(
        Argument,
        st.integers(0, 5),
        st.lists(st.sampled_from([0, 1, 4, LOW, *(value & LOW for value in arguments)]), min_size=1, max_size=4).map(
            tuple
        ),
        st.sampled_from([LOW, 1, 0xFF]),
    )
    rules = data.draw(
        st.lists(
            st.builds(Rule, named, st.sampled_from([ALLOW, KILL, REFUSED]), st.lists(about, max_size=3).map(tuple)),
            max_size=8,
        )
    )
    if rules:
        number = data.draw(st.sampled_from([number, *(machine.numbers[rule.name] for rule in rules)]))

    def fits(rule):
        return machine.numbers[rule.name] == number and all(
            (arguments[one.index] & LOW & one.mask) in one.values for one in rule.arguments
        )

    expected = next((rule.verdict for rule in rules if fits(rule)), refusal(errno.ENOSYS))
    assert verdict(program(rules, refusal(errno.ENOSYS), machine), machine.architecture, number, *arguments) == expected
