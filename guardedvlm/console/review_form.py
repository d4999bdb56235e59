"""What a reviewer says of a sample, as a form brings it: a verdict, kinds and cells of the grid."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import FormData

from guardedvlm.audit.grid import CELLS
from guardedvlm.audit.reviewed import ReviewVerdict
from guardedvlm.core.finding import Kind

MAX_FIELDS = 64
"""A verdict, the kinds, one text of cells."""
FORM_BYTES = 32_768
"""All cells, encoded for a form, are some 12,000 characters."""
_CELL = re.compile(r"(\d{1,2})[,.](\d{1,2})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Said:
    """A mark, or what is wrong with it; then it holds what was understood, to be shown again."""

    verdict: ReviewVerdict | None = None
    kinds: tuple[Kind, ...] = ()
    cells: tuple[tuple[int, int], ...] = ()
    problem: str = ""

    @property
    def written(self) -> str:
        """The cells as the form has them."""
        return " ".join(f"{row},{column}" for row, column in self.cells)


NOTHING = Said()


def read_said(form: FormData) -> Said:
    """Read a form. Cells are `ROW,COLUMN` from 0, as on the command line, with blanks between them."""
    verdict = next((one for one in ReviewVerdict if one.value == form.get("verdict")), None)
    named = [str(value) for value in form.getlist("kind")]
    kinds = tuple(kind for kind in Kind if kind.value in named)
    cells = [_cell(word) for word in str(form.get("cells", "")).split()]
    found = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    problem = _problem(verdict, kinds, found)
    if None in cells or set(named) - {kind.value for kind in kinds}:
        problem = f"Cells are ROW,COLUMN from 0 to {CELLS - 1}, with blanks between them; kinds are those of the list."
    return Said(verdict, kinds, found, problem)


def _problem(verdict: ReviewVerdict | None, kinds: tuple[Kind, ...], cells: tuple[tuple[int, int], ...]) -> str:
    if verdict is None:
        return "Say what the picture shows: leaked, clean or over-redacted."
    if verdict is ReviewVerdict.CLEAN:
        return "A clean picture has neither kinds nor cells: clear them, or choose another verdict." * bool(
            kinds or cells
        )
    return "" if kinds else "Say of which kind it is: choose at least one."


def _cell(word: str) -> tuple[int, int] | None:
    found = _CELL.match(word)
    cell = (int(found[1]), int(found[2])) if found else None
    return cell if cell and all(0 <= part < CELLS for part in cell) else None
