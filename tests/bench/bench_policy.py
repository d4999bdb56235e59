"""Milliseconds to load a shipped policy (read, extend, merge, check, digest), and to merge it alone.

python tests/bench/bench_policy.py [--rounds 200]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from guardedvlm.errors import Reason
from guardedvlm.policy.document import Source, read_source
from guardedvlm.policy.extend import BASES, extended
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.store import PolicyStore

POLICIES = Path(__file__).parents[2] / "policies"


def measured(name: str, work: Callable[[], object], rounds: int) -> None:
    """Print p50 and p95 of `rounds` runs."""
    work()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    cuts = statistics.quantiles(took, n=20)
    print(f"{name:<44} p50 {statistics.median(took):6.2f} ms   p95 {cuts[18]:6.2f} ms   n {rounds}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    path = POLICIES / "healthcare" / "policy.yaml"
    source = read_source(path.read_text(), "policy.yaml", Reason.POLICY_INVALID)
    assert isinstance(source, Source)
    measured("load, effective merge and digest: healthcare", lambda: load_policy(path).digest(), rounds)
    measured("effective merge alone: healthcare", lambda: extended(source, POLICIES / BASES), rounds)
    measured("a store of both shipped policies", lambda: PolicyStore(POLICIES), rounds)


if __name__ == "__main__":
    main()
