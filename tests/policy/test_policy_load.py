"""A policy file is refused with the line and the reason of each fault, and never for another exception."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.document import MAX_BYTES, examine
from guardedvlm.policy.explain import dotted, known_keys
from guardedvlm.policy.load import load_policy, parse_policy, policy_problems
from guardedvlm.policy.model import Clear, Mode, Policy

HIDDEN = [kind.value for kind in Kind if kind not in RESERVED_KINDS]
HEAD = """\
name: clinic
version: "2026-11-23"
description: A policy for tests.
"""
HIDE = "hide:\n" + "".join(f"  {kind}: fill\n" for kind in HIDDEN)
VALID = HEAD + HIDE


def problems(text: str) -> list[str]:
    found = examine(text, "policy.yaml", Policy, Reason.POLICY_INVALID)
    assert isinstance(found, tuple), "the policy was taken"
    assert {error.reason for error in found} == {Reason.POLICY_INVALID}
    return [f"{error.place}: {error.explanation}" for error in found]


def test_a_complete_policy_is_taken() -> None:
    policy = parse_policy(VALID + "text: {mode: balanced, clear: [labels]}\n")
    assert policy.name == "clinic"
    assert policy.text.mode is Mode.BALANCED
    assert policy.text.clear == frozenset({Clear.LABELS})


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("txt: {}\n", "policy.yaml:33: unknown key 'txt'; did you mean 'text'?"),
        ("text:\n  Mode: strict\n", "policy.yaml:34: unknown key 'Mode' in text; did you mean 'mode'?"),
        ("text:\n  mode: lax\n", "policy.yaml:34: text.mode: 'lax' is not known; known: strict, balanced"),
        ("text:\n  mode: 3\n", "policy.yaml:34: text.mode must be one of: strict, balanced"),
        ("text:\n  languages: [no]\n", "policy.yaml:34: text.languages[0]: 'no' is not known; known: en, de, fr, es"),
        ("text:\n  languages: []\n", "policy.yaml:34: text.languages must have at least 1 entries"),
        ("text:\n  languages: en\n", "policy.yaml:34: text.languages must be a list"),
        ("text:\n  clear: labels\n", "policy.yaml:34: text.clear must be a list"),
        ("text:\n  min_confidence: 0.2\n", "policy.yaml:34: text.min_confidence must be at least 0.5"),
        ("text:\n  min_confidence: high\n", "policy.yaml:34: text.min_confidence must be a number"),
        ("text:\n", "policy.yaml:33: text must be a mapping (key: value)"),
        ("limits:\n  max_pages: true\n", "policy.yaml:34: limits.max_pages must be a whole number"),
        ("limits:\n  max_pages: 501\n", "policy.yaml:34: limits.max_pages must be at most 500"),
        ("limits:\n  max_seconds: 0\n", "policy.yaml:34: limits.max_seconds must be more than 0.0"),
        ("say:\n  boxes: yes\n", "policy.yaml:34: say.boxes must be true or false"),
        (
            "ask:\n  forbid: [identify]\n",
            "policy.yaml:34: ask.forbid[0]: 'identify' is not known; did you mean 'identify_person'?",
        ),
        ("audit:\n  retention_days: 30\n", "policy.yaml:34: audit.retention_days must be at least 180"),
        (
            "audit:\n  retention_class: HIPAA!\n",
            "policy.yaml:34: audit.retention_class must have the form ^[a-z][a-z0-9-]{0,31}$",
        ),
        ("keep: [DATE]\n", "policy.yaml:10: DATE is under both 'hide' and 'keep'"),
        (
            "keep: [UNREADABLE]\n",
            "policy.yaml:33: UNREADABLE is the guard's own kind and always hidden; it cannot be kept",
        ),
        ("text:\n  clear: [dates]\n", "policy.yaml:34: text.clear names dates, but DATE is hidden"),
        ("text:\n  clear: [amounts]\n", "policy.yaml:34: text.clear names amounts, but AMOUNT is hidden"),
        ("unguarded: true\n", "policy.yaml:33: unknown key 'unguarded'"),
        ("detectors: []\n", "policy.yaml:33: unknown key 'detectors'"),
    ],
)
def test_a_fault_is_told_with_its_line(extra: str, problem: str) -> None:
    assert problems(VALID + extra) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            VALID.replace("  FACE: fill", "  FACE: paint"),
            "policy.yaml:5: hide.FACE: 'paint' is not known; known: fill, label, refuse",
        ),
        (
            VALID.replace("  FACE: fill", "  FACES: fill"),
            "policy.yaml:5: unknown key 'FACES' in hide; did you mean 'FACE'?",
        ),
        (
            VALID.replace("  PERSON: ", "  person: "),
            "policy.yaml:8: unknown key 'person' in hide; did you mean 'PERSON'?",
        ),
        (VALID.replace("  FACE: fill\n", ""), "policy.yaml:4: say 'hide' or 'keep' for: FACE"),
        (VALID.replace("name: clinic\n", ""), "policy.yaml:1: name is missing"),
        (VALID.replace("clinic", "Clinic 1"), "policy.yaml:1: name must have the form ^[a-z][a-z0-9-]{0,63}$"),
        (VALID.replace('"2026-11-23"', "1"), "policy.yaml:2: version must be text; put it in quotes"),
        (VALID.replace("A policy for tests.", "''"), "policy.yaml:3: description must have at least 1 characters"),
        (HEAD + "hide: {}\n", "policy.yaml:4: the policy hides nothing; name at least FACE and one kind of text"),
        (HEAD + "hide:\n", "policy.yaml:4: hide must be a mapping (key: value)"),
        (HEAD, "policy.yaml:1: hide is missing"),
        (
            VALID + "  UNCLEARED: fill\n",
            "policy.yaml:33: UNCLEARED is the guard's own kind and always hidden; remove it",
        ),
        ("", "policy.yaml:1: the file is empty"),
        ("- clinic\n", "policy.yaml:1: the file must be a mapping (key: value)"),
    ],
)
def test_a_broken_file_is_told_with_its_line(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("hidden", "explanation"),
    [
        ({"FACE", "CODE", "SIGNATURE"}, "the policy hides no kind of text"),
        ({"PERSON", "SSN"}, "the policy hides no kind of thing in the picture (FACE, CODE, SIGNATURE)"),
    ],
)
def test_a_policy_that_looks_at_one_half_only_is_refused(hidden: set[str], explanation: str) -> None:
    hide = "hide:\n" + "".join(f"  {kind}: fill\n" for kind in sorted(hidden))
    keep = f"keep: [{', '.join(kind for kind in HIDDEN if kind not in hidden)}]\n"
    assert problems(HEAD + hide + keep) == [f"policy.yaml:4: {explanation}"]


def test_every_fault_is_listed_by_line() -> None:
    text = VALID.replace("clinic", "Clinic") + "text:\n  mode: lax\n  languages: [xx]\nlimit: {}\n"
    assert [line.split(":")[1] for line in problems(text)] == ["1", "34", "35", "36"]


def test_contradictions_are_listed_together() -> None:
    assert len(problems(VALID + "keep: [DATE, AMOUNT]\ntext: {clear: [dates, amounts]}\n")) == 4


def test_the_first_fault_is_raised() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(VALID + "txt: {}\nsay: {boxes: 1}\n", "clinic/policy.yaml")
    assert caught.value.reason is Reason.POLICY_INVALID
    assert (
        caught.value.for_operator() == "POLICY_INVALID: clinic/policy.yaml:33: unknown key 'txt'; did you mean 'text'?"
    )
    assert "txt" not in str(caught.value)  # what a caller or a log may see says neither place nor key


def test_size_is_limited_before_parsing() -> None:
    assert problems("#" * (MAX_BYTES + 1)) == ["policy.yaml: is larger than 256 KiB"]
    assert parse_policy(VALID + "#" * (MAX_BYTES - len(VALID))).name == "clinic"


class TestFile:
    def test_a_file_is_loaded_and_named_with_its_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "clinic" / "policy.yaml"
        path.parent.mkdir()
        path.write_text(VALID)
        assert load_policy(path) == parse_policy(VALID)
        assert policy_problems(path) == ()
        path.write_text(VALID + "x: 1\ny: 1\n")
        assert [error.place for error in policy_problems(path)] == ["clinic/policy.yaml:33", "clinic/policy.yaml:34"]

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load_policy(tmp_path / "policy.yaml")
        assert caught.value.reason is Reason.POLICY_MISSING
        assert caught.value.explanation == "does not exist"

    def test_a_folder_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load_policy(tmp_path)
        assert (caught.value.reason, caught.value.explanation) == (Reason.POLICY_INVALID, "cannot be read")

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "policy.yaml"
        path.write_bytes(b"name: clinic\ndescription: \xff\n")
        with pytest.raises(ConfigurationError) as caught:
            load_policy(path)
        assert caught.value.place == f"{tmp_path.name}/policy.yaml:2"
        assert caught.value.explanation == "is not UTF-8 text"

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "policy.yaml"
        with path.open("wb") as file:
            os.ftruncate(file.fileno(), 2**40)  # sparse
        with pytest.raises(ConfigurationError) as caught:
            load_policy(path)
        assert caught.value.explanation == "is larger than 256 KiB"


lines = st.sampled_from(
    [*VALID.splitlines(), "text:", "  mode: strict", "  x: [1", "keep: [DATE]", "- a", "a: &b c", "..."]
)


@given(st.text() | st.lists(lines, max_size=12).map("\n".join))
def test_arbitrary_text_raises_configuration_errors_only(text: str) -> None:
    found = examine(text, "policy.yaml", Policy, Reason.POLICY_INVALID)
    if not isinstance(found, tuple):
        assert found.value == parse_policy(text)
        return
    assert all(error.place.startswith("policy.yaml:") and error.explanation for error in found)
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(text)
    assert caught.value.reason is Reason.POLICY_INVALID
    assert caught.value.for_operator() == found[0].for_operator()


@given(st.data())
def test_any_single_edit_of_a_line_is_refused_or_still_a_whole_policy(data: st.DataObject) -> None:
    rows = VALID.splitlines()
    rows[data.draw(st.integers(0, len(rows) - 1))] = data.draw(st.text("abF:-[]{} '\"#", max_size=12))
    try:
        policy = parse_policy("\n".join(rows))
    except ConfigurationError:
        return
    assert set(policy.hide) | policy.keep >= set(Kind) - RESERVED_KINDS


def test_names_of_places() -> None:
    assert dotted(()) == "the file"
    assert dotted(("callers", 0, "san", 1)) == "callers[0].san[1]"
    assert dotted(("a b", "c")) == "'a b'.c"
    assert known_keys(Policy, ("text",))[:2] == ("mode", "languages")
    assert known_keys(Policy, ("hide",)) == ()
    assert known_keys(Policy, ("gdpr",)) == ("special_categories", "impact_assessment")
    assert known_keys(Policy, ("nothing", "there")) == ()
