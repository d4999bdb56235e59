"""The pictures of the shipped policies' cases: drawn by code that lies beside this test, and what comes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardedvlm.cli.policy.bench import guard_bench
from guardedvlm.policy.cases import cases_of
from guardedvlm.policy.exercise import run_cases
from guardedvlm.policy.load import load_policy

POLICIES = Path(__file__).parents[2] / "policies"
LARGEST = 40_000
"""Bytes: they are in every wheel."""

spec = importlib.util.spec_from_file_location("case_pictures", Path(__file__).with_name("case_pictures.py"))
case_pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(case_pictures)


@pytest.mark.parametrize("name", sorted(case_pictures.PICTURES))
def test_a_picture_is_what_the_code_draws(name: str) -> None:
    stored = Image.open(POLICIES / name)
    assert (POLICIES / name).stat().st_size <= LARGEST
    assert np.array_equal(np.asarray(stored.convert("RGB")), np.asarray(case_pictures.drawn(name).convert("RGB")))


@pytest.mark.parametrize("tenant", ["healthcare", "finance"])
def test_every_picture_has_a_case_and_every_policy_two(tenant: str) -> None:
    cases = [located.case for located in cases_of(POLICIES / tenant / "policy.yaml")[0]]
    named = sorted(case.picture for case in cases if case.picture is not None)
    assert named == sorted(path.name for path in (POLICIES / tenant / "cases").glob("*.png"))
    assert len(named) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("tenant", ["healthcare", "finance"])
async def test_the_pictures_of_the_shipped_policies_go_the_whole_way(tenant: str) -> None:
    path = POLICIES / tenant / "policy.yaml"
    cases = [located for located in cases_of(path)[0] if located.case.picture is not None]
    async with guard_bench() as bench:
        report = await run_cases(load_policy(path), cases, bench)
    assert [(one.located.case.name, one.failures) for one in report.results] == [(c.case.name, ()) for c in cases]
