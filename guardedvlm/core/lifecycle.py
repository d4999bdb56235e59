"""The life of a request, as one table. The pipeline, the audit record and the docs are made from it.

    RECEIVED -> ADMITTED -> DECODED -> REDACTED -> CLEARED -> GENERATING -> RELEASE_OPEN -> RELEASED
                                                      `-> RELEASE_OPEN (RedactImage: no inference)
    every state before RELEASED -> REFUSED

RELEASE_OPEN is durable before the first character or pixel leaves; RELEASED tells what left. A request whose last
record is neither RELEASED nor REFUSED is *unfinished*: the process died while it ran.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """States of a request."""

    RECEIVED = "RECEIVED"
    ADMITTED = "ADMITTED"
    DECODED = "DECODED"
    REDACTED = "REDACTED"
    CLEARED = "CLEARED"
    GENERATING = "GENERATING"
    RELEASE_OPEN = "RELEASE_OPEN"
    RELEASED = "RELEASED"
    REFUSED = "REFUSED"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.ADMITTED, State.REFUSED}),
    State.ADMITTED: frozenset({State.DECODED, State.REFUSED}),
    State.DECODED: frozenset({State.REDACTED, State.REFUSED}),
    State.REDACTED: frozenset({State.CLEARED, State.REFUSED}),
    State.CLEARED: frozenset({State.GENERATING, State.RELEASE_OPEN, State.REFUSED}),
    State.GENERATING: frozenset({State.RELEASE_OPEN, State.REFUSED}),
    State.RELEASE_OPEN: frozenset({State.RELEASED, State.REFUSED}),
    State.RELEASED: frozenset(),
    State.REFUSED: frozenset(),
}

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)


class LifeCycle:
    """Where one request stands. Raises ValueError on a step that the table does not have."""

    def __init__(self) -> None:
        self.state = State.RECEIVED

    def advance(self, state: State) -> State:
        """Go to `state` and return it."""
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"no step from {self.state} to {state}")
        self.state = state
        return state

    @property
    def finished(self) -> bool:
        """True in RELEASED and REFUSED."""
        return self.state in FINAL
