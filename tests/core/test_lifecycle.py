"""The life-cycle table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.lifecycle import FINAL, TRANSITIONS, LifeCycle, State


def test_the_table_names_every_state():
    assert set(TRANSITIONS) == set(State)
    assert frozenset({State.RELEASED, State.REFUSED}) == FINAL


def test_every_state_that_is_not_final_can_be_refused():
    assert all(State.REFUSED in following for state, following in TRANSITIONS.items() if state not in FINAL)


def test_nothing_is_released_that_was_not_cleared():
    """Every path from RECEIVED to RELEASED goes through CLEARED and RELEASE_OPEN."""
    for needed in (State.CLEARED, State.RELEASE_OPEN):
        reached, frontier = {State.RECEIVED}, [State.RECEIVED]
        while frontier:
            for state in TRANSITIONS[frontier.pop()] - {needed} - reached:
                reached.add(state)
                frontier.append(state)
        assert State.RELEASED not in reached


@given(st.lists(st.sampled_from(State), max_size=12))
def test_only_steps_of_the_table_are_taken(steps):
    cycle = LifeCycle()
    for step in steps:
        before = cycle.state
        if step in TRANSITIONS[before]:
            assert cycle.advance(step) is step
        else:
            with pytest.raises(ValueError, match="no step"):
                cycle.advance(step)
            assert cycle.state is before
        assert cycle.finished == (cycle.state in FINAL)
