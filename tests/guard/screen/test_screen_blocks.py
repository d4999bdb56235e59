"""Blocks end at the first space behind their length, and white space without end costs one pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.guard.screen.blocks import BLOCK, Blocks

PLAIN = re.compile(rf"(?s:.{{{BLOCK},}}?)\s+(?=\S)")
"""What a block is, without a thought of what it costs."""


def plainly(text: str) -> Iterator[str]:
    while cut := PLAIN.match(text):
        yield cut[0]
        text = text[cut.end() :]


@given(st.text("ab. \n\u00a0", max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_blocks_are_the_plain_ones_however_the_text_arrives(text: str, cuts: list[int]) -> None:
    blocks, bounds = Blocks(), [0, *sorted(cuts), len(text)]
    done = [block for a, b in pairwise(bounds) for block in blocks.feed(text[a:b])]
    assert done == [*plainly(text)]
    assert "".join([*done, *blocks.flush()]) == text


@pytest.mark.timeout(20)
def test_white_space_without_end_costs_one_pass() -> None:
    """Each space tried as the first one of the cut, at each length, would not end within the time limit."""
    blocks = Blocks()
    assert blocks.feed("x" * (BLOCK + 1) + " " * 100_000) == []
    assert blocks.feed("y") == ["x" * (BLOCK + 1) + " " * 100_000]
