"""Sessions for many threads at once, and the end of what they hold."""

from concurrent.futures import ThreadPoolExecutor

from guardedvlm.web import access
from guardedvlm.web.access import Sessions


class Held:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_what_a_session_holds_ends_with_it() -> None:
    now = [0.0]
    sessions = Sessions(idle=10, clock=lambda: now[0])
    left, idle = Held(), Held()
    key = sessions.begin("a", left)
    sessions.begin("b", idle)
    sessions.begin("c", "an identity")
    sessions.end(key)
    sessions.end(key)
    assert (left.closed, idle.closed) == (1, 0)
    now[0] = 11.0
    sessions.drop_ended()
    assert (left.closed, idle.closed) == (1, 1)


def test_many_begin_at_once(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Each thread that found the table full would take a session out of it, and the last one from under another."""
    monkeypatch.setattr(access, "MAX_SESSIONS", 3)
    ticks = iter(range(10**6))
    sessions = Sessions(life=10**9, idle=10**9, clock=lambda: float(next(ticks)))
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda number: sessions.begin(str(number)), range(2_000)))
    assert len(set(keys)) == 2_000
    assert sum(sessions.find(key) is not None for key in keys) == 3
