"""The strict reader: what it refuses and at which line, and that no text makes it raise."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from guardedvlm.policy.yaml_tree import MAX_DEPTH, MAX_FAULTS, SHOWN_CHARS, Fault, Tree, quoted, read_tree


def faults(text: str) -> list[tuple[int, str]]:
    found = read_tree(text)
    assert isinstance(found, tuple)
    assert all(isinstance(fault, Fault) for fault in found)
    return [(fault.line, fault.explanation) for fault in found]


def tree(text: str) -> Tree:
    found = read_tree(text)
    assert isinstance(found, Tree), found
    return found


@pytest.mark.parametrize(
    ("text", "line", "explanation"),
    [
        ("", 1, "the file is empty"),
        ("# a comment\n", 1, "the file is empty"),
        ("---\n", 1, "the file is empty"),
        ("~\n", 1, "the file is empty"),
        ("\n- a\n", 2, "the file must be a mapping (key: value)"),
        ("word\n", 1, "the file must be a mapping (key: value)"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is already given in line 1"),
        ("x:\n  a: 1\n  a: 1\n", 3, "key 'a' is already given in line 2"),
        ("a: {b: 1, b: 2}\n", 1, "key 'b' is already given in line 1"),
        ("a: [x,\n  y,\n  x]\n", 3, "'x' is listed twice"),
        ("a: &anchor 1\n", 1, "anchors are not allowed; write the value out"),
        ("a: 1\nb: *a\n", 2, "aliases are not allowed; write the value out"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tags (!...) are not allowed"),
        ("a: !x y\n", 1, "tags (!...) are not allowed"),
        ("!k a: y\n", 1, "tags (!...) are not allowed"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins; a file holds one"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word"),
        ("a: 1\nb: [1, 2\n", 3, "is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2\n", 2, "is not valid YAML: found character '\\t' that cannot start any token"),
        ("a: 1\nb: \x07\n", 2, "is not valid YAML: a control character"),
        ('a: "\\UFFFFFFFF"\n', 1, "is not valid YAML: a number or an escape is out of range"),
        ("%YAML " + "9" * 5_000 + ".1\n---\na: 1\n", 1, "is not valid YAML: a number or an escape is out of range"),
    ],
)
def test_refused_with_line_and_reason(text: str, line: int, explanation: str) -> None:
    assert (line, explanation) in faults(text)


def test_all_faults_are_told_by_line() -> None:
    assert [line for line, _ in faults("a: 1\na: 2\nb: !t 3\nc: *d\na: 4\n")] == [2, 3, 4, 5]


def test_the_first_of_two_equal_keys_is_never_silently_replaced() -> None:
    # The hazard this reader exists for: PyYAML keeps the last one.
    text = "mode: strict\nmode: balanced\n"
    assert yaml.safe_load(text) == {"mode": "balanced"}
    assert faults(text) == [(2, "key 'mode' is already given in line 1")]


def test_plain_scalars_mean_what_yaml_1_2_says() -> None:
    text = "a: no\nb: 2026-11-23\nc: true\nd: 12\ne: 0.75\nf: '12'\ng: 0o17\nh: 017\ni:\nj: 1_000\nk: .inf\nl: True\n"
    assert tree(text).value == {
        "a": "no",
        "b": "2026-11-23",
        "c": True,
        "d": 12,
        "e": 0.75,
        "f": "12",
        "g": "0o17",
        "h": "017",
        "i": None,
        "j": "1_000",
        "k": ".inf",
        "l": "True",
    }


def test_numbers_too_long_for_a_machine_stay_text() -> None:
    digits = "9" * 10_000
    assert tree(f"a: {digits}\n").value == {"a": digits}


def test_lines_are_those_of_keys_and_items() -> None:
    found = tree("# head\na:\n  b:\n    - x\n    - y\n")
    assert found.line(("a",)) == 2
    assert found.line(("a", "b", 1)) == 5
    assert found.line(("a", "missing")) == 2
    assert found.line(("missing",)) == 2  # the mapping itself begins there
    assert found.line(()) == 2


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_ends_early(opening: str) -> None:
    begun = time.perf_counter()
    found = faults("a: " + opening * 100_000 if opening in "[{a: " else opening * 100_000)
    assert time.perf_counter() - begun < 5
    assert found


def test_depth_has_a_limit_that_is_reached_exactly() -> None:
    assert isinstance(read_tree("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)), Tree)
    assert faults("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH) == [(1, f"is nested more than {MAX_DEPTH} levels deep")]


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    begun = time.perf_counter()
    assert faults("l0: &l0 [x]\n" + levels)
    assert time.perf_counter() - begun < 1


def test_a_file_full_of_faults_is_given_up() -> None:
    assert len(faults("a: 1\n" * 10_000)) == MAX_FAULTS
    assert len(faults("a: [" + "x, " * 10_000 + "]")) == MAX_FAULTS


def test_quotations_are_short_and_on_one_line() -> None:
    assert quoted("a\nb\u202e\x1b[2J") == "'a\\nb\\u202e\\x1b[2J'"
    assert len(quoted("x" * 1000)) == SHOWN_CHARS + 5


yamlish = st.text(st.sampled_from("ab:-[]{}&*!|>'\"%@`#?~,. \n\t0123456789\\Uu\ufeff\u2028é"), max_size=60)


@given(st.text() | yamlish)
@example("\ud800")
@example("{? }")
@example("&a : *a")
@example("\ufeffa: 1")
@example("%TAG ! x\n---\na: 1")
def test_no_text_makes_it_raise(text: str) -> None:
    found = read_tree(text)
    if isinstance(found, Tree):
        assert isinstance(found.value, dict)
        return
    assert found
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    for fault in found:
        assert 1 <= fault.line <= lines
        assert "\n" not in fault.explanation


plain = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("abcdefgh XYZ", max_size=8)
values = st.recursive(plain, lambda inner: st.dictionaries(st.text("abcd", min_size=1, max_size=3), inner, max_size=4))


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), values, min_size=1, max_size=4))
def test_what_pyyaml_writes_is_read_back(value: dict[str, object]) -> None:
    assert tree(yaml.safe_dump(value)).value == value
