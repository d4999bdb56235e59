"""One cell of the chaos table, tried on a service."""

import time

from cells import ANSWERED, Cell
from chaos_site import ANSWER
from otlp_collector import wait_until

TELLS_LATE = {"ledger", "checkpoint sink", "collector"}
"""What takes readiness away, and that only when a bound is passed."""
LATE_SECONDS = 15.0
MEND_SECONDS = 120.0
INFERENCE_SECONDS = 30.0
"""The caller's patience with a model that does not answer; a worker has its own limit."""


def tried(site, dependency, fault):
    """The cell as it is, and what was found outside."""
    site.forget()
    site.begin(dependency, fault)
    try:
        if dependency == "policy store":
            wait_until(lambda: not site.policies_in_force(), MEND_SECONDS)
        options = {"timeout": INFERENCE_SECONDS} if (dependency, fault) == ("inference", "hang") else {}
        code, told = site.ask(**options)
        health = _health(site, dependency)
        leaks = site.found()
    finally:
        site.end(dependency)
    wait_until(lambda: site.ready() and site.policies_in_force(), MEND_SECONDS)
    outcome = f"{code} {told}" if code != "OK" else ANSWERED if told == ANSWER else f"answered: {told}"
    return Cell(dependency, fault, outcome, health), leaks


def _health(site, dependency):
    end = time.monotonic() + (LATE_SECONDS if dependency in TELLS_LATE else 0)
    while site.ready() and time.monotonic() < end:
        time.sleep(0.3)
    if not site.ready():
        return "not ready"
    return "ready" if site.policies_in_force() else "ready; guardedvlm.policies not serving"
