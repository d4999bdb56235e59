"""Try cells of the chaos table on a new service and write down what comes of them.

    python tests/chaos/try_cells.py [DEPENDENCY ...]     # all without a name: some 15 minutes on a quiet machine

Cells that are not tried keep what stands in cells.json. One that leaks is not written down: that is a defect.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from cells import FILE, every_pair, record, recorded
from chaos_site import ChaosSite
from trial import tried


def main(wanted):
    cells = {(cell.dependency, cell.fault): cell for cell in (recorded() if FILE.exists() else ())}
    leaked = False
    with tempfile.TemporaryDirectory() as folder:
        site = ChaosSite(Path(folder))
        try:
            for dependency, fault in every_pair():
                if wanted and dependency not in wanted:
                    continue
                cell, leaks = tried(site, dependency, fault)
                sys.stdout.write(f"{cell.name}: {cell.outcome}; {cell.health}; {leaks or 'no leak'}\n")
                sys.stdout.flush()
                leaked |= bool(leaks)
                if not leaks:
                    cells[dependency, fault] = cell
                record([cells[pair] for pair in every_pair() if pair in cells])
        finally:
            site.close()
    return int(leaked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
