"""The coarse map of what was hidden never shows less than what was."""

from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.facts import MAX_FOUND, Area
from guardedvlm.audit.grid import CELLS, area_of, area_permille, found_alike, hidden_grid
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.region import Box, Size

sizes = st.builds(Size, st.integers(1, 3_000), st.integers(1, 3_000))
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.integers(-50, 3_000),
    st.integers(-50, 3_000),
    st.integers(1, 3_000),
    st.integers(1, 3_000),
)


def _cell(grid: str, x: int, y: int) -> bool:
    """The bit of a cell, read the slow way."""
    return bin(int(grid, 16))[2:].zfill(CELLS * CELLS)[y * CELLS + x] == "1"


@given(sizes, st.lists(boxes, max_size=4))
def test_a_cell_is_set_exactly_where_a_box_touches_it(page: Size, some: list[Box]) -> None:
    grid = hidden_grid(some, page)
    assert len(grid) == 256
    inside = [box.clipped(page) for box in some]
    for x in range(CELLS):
        for y in range(CELLS):
            # Cell x covers [x, x + 1) * width / 32; compared in exact integers.
            touched = any(
                box is not None
                and box.x0 * CELLS < (x + 1) * page.width
                and box.x1 * CELLS > x * page.width
                and box.y0 * CELLS < (y + 1) * page.height
                and box.y1 * CELLS > y * page.height
                for box in inside
            )
            assert _cell(grid, x, y) == touched


def test_the_corners() -> None:
    page = Size(320, 320)
    assert hidden_grid([], page) == "0" * 256
    assert hidden_grid([page.box], page) == "f" * 256
    assert hidden_grid([Box(0, 0, 1, 1)], page) == "8" + "0" * 255
    assert hidden_grid([Box(319, 319, 320, 320)], page) == "0" * 255 + "1"


@given(sizes, st.lists(st.tuples(st.sampled_from(Kind), boxes), max_size=6))
def test_area_is_never_understated(page: Size, regions: list[tuple[Kind, Box]]) -> None:
    shares = area_permille([(page, regions)])
    assert set(shares) == {kind for kind, _ in regions}
    for kind, share in shares.items():
        largest = max((box.clipped(page).area if box.clipped(page) else 0) for one, box in regions if one is kind)  # type: ignore[union-attr]
        assert largest * 1000 / page.pixels <= share <= 1000


def test_area_is_of_all_pages_together() -> None:
    small, large, box = Size(10, 10), Size(30, 10), Box(0, 0, 10, 10)
    pages = [(small, [(Kind.FACE, box)]), (large, [(Kind.FACE, box), (Kind.PERSON, Box(0, 0, 1, 1))])]
    assert area_permille(pages) == {Kind.FACE: 500, Kind.PERSON: 3}


def test_findings_that_are_alike_are_one_line_and_say_no_place() -> None:
    page = Size(1000, 1000)
    found = [
        (Kind.PERSON, Action.LABEL, 0.85, Box(0, 0, 40, 20), page),
        (Kind.PERSON, Action.LABEL, 0.89, Box(500, 500, 530, 525), page),
        (Kind.PERSON, Action.KEEP, 0.85, Box(0, 0, 40, 20), page),
        (Kind.FACE, Action.FILL, 1.0, Box(0, 0, 400, 400), page),
        (Kind.FACE, Action.FILL, float("nan"), Box(2000, 0, 2400, 400), page),
    ]
    assert found_alike(found) == (
        {"kind": Kind.FACE, "action": Action.FILL, "tenths": 0, "area": Area.SPECK, "count": 1},
        {"kind": Kind.FACE, "action": Action.FILL, "tenths": 10, "area": Area.LARGE, "count": 1},
        {"kind": Kind.PERSON, "action": Action.KEEP, "tenths": 8, "area": Area.SPECK, "count": 1},
        {"kind": Kind.PERSON, "action": Action.LABEL, "tenths": 8, "area": Area.SPECK, "count": 2},
    )


def test_a_record_holds_every_way_in_which_findings_can_differ() -> None:
    assert len(Kind) * 11 * len(Area) * 3 <= MAX_FOUND


def test_an_area_is_a_power_of_ten() -> None:
    page = Size(100, 100)
    sizes = [(1, 1), (3, 3), (10, 10), (30, 30), (40, 40)]
    areas = [area_of(Box(0, 0, width, height), page) for width, height in sizes]
    assert areas == [Area.SPECK, Area.SPECK, Area.MEDIUM, Area.MEDIUM, Area.LARGE]
    assert area_of(Box(0, 0, 9, 9), page) is Area.SMALL
