"""Charts show every number once, inside their frame."""

from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.grid import CELLS, hidden_grid
from guardedvlm.console.charts import HEIGHT, SLOTS, WIDTH, grid_runs, over_time, ranked
from guardedvlm.console.fold import DAY, HOUR
from guardedvlm.console.periods import PERIODS, choose_period
from guardedvlm.core.region import Box, Size

NAMES = list("abcdefghij")
COUNTS = st.lists(
    st.tuples(st.integers(0, 400).map(lambda hour: hour * HOUR), st.sampled_from(NAMES), st.integers(1, 10**6)),
    max_size=60,
)


@given(counts=COUNTS, days=st.integers(1, 20))
def test_every_number_is_in_one_bar_inside_the_frame(counts: list[tuple[int, str, int]], days: int) -> None:
    since, until = 2 * DAY, (2 + days) * DAY
    chart = over_time(counts, NAMES, since, until)

    inside = sum(number for at, _, number in counts if since <= at < until)
    assert sum(chart.totals) == inside == sum(sum(row) for _, row in chart.rows)
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH
        assert -0.2 <= bar.y <= bar.y + bar.height <= HEIGHT
    assert len(chart.series) == 7


def test_labels_tell_the_bin() -> None:
    chart = over_time([(3 * HOUR, "a", 5)], ["a"], 0, DAY)

    assert [bar.label for bar in chart.bars] == ["1970-01-01 03:00: a 5"]
    assert chart.rows == (("1970-01-01 03:00", (5,)),)


def test_without_anything_there_are_axes() -> None:
    chart = over_time([], [], 0, DAY)

    assert chart.bars == ()
    assert [tick.label for tick in chart.up] == ["0", "1", "2"]


boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    *(st.integers(0, 900), st.integers(0, 900), st.integers(1, 300), st.integers(1, 300)),
)


@given(st.lists(boxes, max_size=6))
def test_runs_are_the_grid(found: list[Box]) -> None:
    bits = hidden_grid(found, Size(1000, 1000))
    cells = 0
    for column, row, number in grid_runs(bits):
        assert 0 <= column < column + number <= CELLS
        for cell in range(column, column + number):
            cells |= 1 << (CELLS * CELLS - 1 - (row * CELLS + cell))

    assert f"{cells:0256x}" == bits


def test_ranked_by_number_then_name() -> None:
    assert ranked({"b": 1, "a": 1, "c": 4}) == [("c", 4, 100.0), ("a", 1, 25.0), ("b", 1, 25.0)]


def test_a_young_ledger_is_shown_by_hours_and_an_old_one_whole() -> None:
    now = 1000 * DAY + 5
    young = choose_period("", (now - 3 * HOUR, now - HOUR), now)
    busy = choose_period("", (now - 400 * DAY, now - HOUR), now)
    silent = choose_period("", (now - 400 * DAY, now - 90 * DAY), now)

    assert (young.name, busy.name, silent.name) == ("24h", "30d", "all")
    assert silent.since <= now - 400 * DAY
    assert choose_period("7d", None, now).until - choose_period("7d", None, now).since == PERIODS["7d"][1]


@given(years=st.integers(0, 90))
def test_no_span_has_more_bars_than_a_chart(years: int) -> None:
    until = 100 * 365 * DAY
    counts = [(until - years * 365 * DAY - week * 7 * DAY, "a", 1) for week in range(500)]
    chart = over_time(counts, ["a"], until - (years + 10) * 365 * DAY, until)

    assert len(chart.bars) <= SLOTS + 1
    assert sum(chart.totals) == 500
