"""What is generated from policies is what is checked in: the JSON Schema and the table of identifiers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.policy.coverage import DETECTORS, SECTIONS, coverage_table
from guardedvlm.policy.document import require
from guardedvlm.policy.effective import effective_values
from guardedvlm.policy.explain import dotted
from guardedvlm.policy.legal import SAFE_HARBOR
from guardedvlm.policy.load import examine_file
from guardedvlm.policy.schema import policy_schema
from guardedvlm.policy.store import PolicyStore

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "guardedvlm" / "guard"
_NAME = re.compile(r'"((?:pattern|check|name|form|entropy|known)/[a-z_-]+)"')


def test_the_schema_is_the_one_that_is_checked_in() -> None:
    assert policy_schema() + "\n" == (ROOT / "docs" / "policy.schema.json").read_text(), (
        "run: guardedvlm policy schema > docs/policy.schema.json"
    )


def test_the_schema_is_closed_everywhere() -> None:
    schema = json.loads(policy_schema())
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts if part["type"] == "object")
    assert not RESERVED_KINDS & set(schema["$defs"]["Kind"]["enum"])


def test_the_table_is_the_one_that_is_checked_in() -> None:
    store = PolicyStore(ROOT / "policies")
    made = coverage_table(store.policy_for(name) for name in store.names)
    assert made + "\n" == (ROOT / "docs" / "coverage.md").read_text(), (
        "run: guardedvlm policy coverage > docs/coverage.md"
    )


def test_every_identifier_is_covered_or_openly_not() -> None:
    items = [item for items in SECTIONS.values() for item in items]
    assert [item.reference for item in items[: len(SAFE_HARBOR)]] == [entry.paragraph for entry in SAFE_HARBOR]
    for item in items:
        assert item.kinds or item.open.startswith("not covered"), item.name
        assert all(DETECTORS[kind] for kind in item.kinds)
    assert set(DETECTORS) == set(Kind) - RESERVED_KINDS


def test_the_detectors_of_the_table_are_the_guards() -> None:
    source = "\n".join(path.read_text() for path in sorted(GUARD.rglob("*.py")))
    told = {name for names in DETECTORS.values() for name in names}
    plain = {name for name in told if name.startswith(("pattern/", "check/", "name/", "entropy/", "known/"))}
    block = {f"pattern/{name}" for name in re.findall(r'"((?:address|mrz|micr)-(?:line|block))"', source)}
    labelled = {f"form/{kind.value.lower()}" for kind in Kind}
    assert set(_NAME.findall(source)) <= told
    assert plain - {"check/{national number}"} <= set(_NAME.findall(source)) | block
    assert {name for name in told if name.startswith("form/")} <= labelled | set(_NAME.findall(source))
    for name in told - plain:
        if not name.startswith(("form/", "presidio/")):
            assert f'"{name}"' in source, name


@pytest.mark.parametrize("name", ["healthcare", "finance"])
def test_every_effective_value_stands_on_the_line_that_it_names(name: str) -> None:
    path = ROOT / "policies" / name / "policy.yaml"
    values = effective_values(require(examine_file(path)))
    for value in values:
        if value.place is not None:
            line = (ROOT / "policies" / value.place.file).read_text().splitlines()[value.place.line - 1]
            assert str(value.where[-1]) in line, dotted(value.where)
    from_base = {dotted(value.where) for value in values if value.place and value.place.file == "base/common.yaml"}
    assert "limits.max_pages" in from_base
    defaults = {dotted(value.where) for value in values if value.place is None}
    assert defaults <= {"change", "expert", "gdpr", "text.clear", "text.date_labels"}
