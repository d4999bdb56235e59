"""How long the console's pages take on a ledger of a million records, over HTTP, in the process that serves them.

    python tests/bench/bench_console.py [--records 1000000] [--rounds 15] [--folder FOLDER]

The ledger is synthetic (`synthetic_ledger`, a real chain); with --folder it is kept there and used again. Pages are
asked for one after the other while nothing writes; verification of the ledger is not running. What is timed is the
whole response, with rendering. The issue asks for less than 300 ms for a search.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import httpx
from serve_console import running_console
from synthetic_ledger import KINDS, POLICIES, write_ledger

from guardedvlm.console.index import open_index, refresh

TENANT, POLICY = "b1b1b1b1", POLICIES[1][1][:8]


def searches(request: str, following: str, since: str) -> dict[str, dict[str, str]]:
    """Searches by name: none, each filter alone, some together, a rare one, deep pages."""
    return {
        "newest": {},
        "audit id": {"request": request[:8]},
        "tenant": {"tenant": TENANT * 4},
        "tenant, first digits": {"tenant": TENANT},
        "refused": {"outcome": "REFUSED"},
        "unfinished": {"outcome": "UNFINISHED"},
        "reason": {"reason": "RESIDUAL_FOUND"},
        "kind": {"kind": KINDS[0]},
        "kind, reason, tenant, policy": {
            "kind": KINDS[5],
            "reason": "ANSWER_REFUSED",
            "tenant": TENANT,
            "policy": POLICY,
        },
        "policy": {"policy": POLICY * 8},
        "policy, first digits": {"policy": POLICY},
        "method": {"method": "ExtractFields"},
        "time": {"from": since},
        "time, tenant, unfinished": {"from": since, "tenant": TENANT, "outcome": "UNFINISHED"},
        "nothing fits": {"tenant": TENANT, "reason": "POLICY_EXPIRED", "kind": KINDS[1]},
        "1,000 pages on": {"before": following},
    }


def timed(client: httpx.Client, path: str, rounds: int) -> list[float]:
    """Milliseconds of each of `rounds` whole responses."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        ledger, cache = folder / "ledger", folder / "cache"
        if not ledger.exists():
            began = time.perf_counter()
            count = write_ledger(ledger, arguments.records, end=datetime.now(UTC))
            print(f"ledger: {count:,} records written in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        read = refresh(ledger, cache)
        print(f"index: {read:,} records in {time.perf_counter() - began:.0f} s")
        measure(ledger, cache, arguments.rounds)


def measure(ledger: Path, cache: Path, rounds: int) -> None:
    """Time every page of a running console."""
    with open_index(cache) as database:
        requests = database.execute("SELECT COUNT(*) FROM requests").fetchone()[0]
        row = database.execute("SELECT * FROM requests ORDER BY began LIMIT 1 OFFSET ?", (requests // 2,)).fetchone()
        deep = database.execute(
            "SELECT began, id FROM requests ORDER BY began DESC, id DESC LIMIT 1 OFFSET ?", (min(50_000, requests - 1),)
        ).fetchone()
    size = (cache / "index.sqlite").stat().st_size / 2**20
    print(f"{requests:,} requests, index {size:.0f} MiB, {rounds} rounds, milliseconds")
    since = datetime.fromtimestamp(row["began"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
    pages = {
        f"search: {name}": f"/requests?{urlencode(query)}"
        for name, query in searches(row["request"], f"{deep['began']}.{deep['id']}", since).items()
    }
    pages |= {
        "overview, 30 days": "/?period=30d",
        "overview, all": "/?period=all",
        "one request": f"/requests/{row['request']}",
        "policies": "/policies",
    }
    with running_console(ledger, cache) as client:
        for name, path in pages.items():
            taken = timed(client, path, rounds)
            print(f"{name:40} median {statistics.median(taken):6.0f}  slowest {max(taken):6.0f}")


if __name__ == "__main__":
    main()
