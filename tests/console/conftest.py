"""Shared by the console's tests: ledgers, an index, and a console without a server."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from synthetic_ledger import write_ledger
from written_ledger import OTHER_TENANT, POLICIES, USED, Writing, request_id

from guardedvlm.audit.record import LedgerEvent
from guardedvlm.console.app import Console, Site, build_console
from guardedvlm.console.index import refresh
from guardedvlm.core.lifecycle import State


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A small ledger with one of everything: released, refused, unfinished, tried by a candidate."""
    folder = tmp_path / "site" / "ledger"
    writing = Writing(folder)
    writing.event(LedgerEvent.POLICIES, policies=(USED,))
    writing.request(1)
    writing.request(2, until=State.DECODED, reason="DETECTOR_FAILED", tenant=OTHER_TENANT)
    writing.request(3, until=State.CLEARED)
    judged = {"verdict": "modify", "complete": True, "hidden": {"FACE": 1}}
    writing.event(
        LedgerEvent.SHADOWED,
        shadow={
            "of": request_id(1),
            "policy": USED,
            "candidate": {"name": "healthcare", "digest": "cc" * 32},
            "said": judged,
            "would_say": judged | {"verdict": "deny", "reason": "KIND_REFUSED"},
            "milliseconds": 5,
        },
    )
    writing.close()
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,600 records of 30 days in some 200 requests; with an index beside it. Nobody may change it."""
    folder = tmp_path_factory.mktemp("large")
    write_ledger(folder / "ledger", 1_600, end=datetime.now(UTC), days=30, segment_bytes=150_000)
    refresh(folder / "ledger", folder / "cache")
    return folder


@pytest.fixture
def open_console(tmp_path: Path) -> Callable[..., tuple[Console, TestClient]]:
    """A console of a ledger with its index, and a client that is logged in."""

    def build(ledger: Path, **site: Any) -> tuple[Console, TestClient]:
        refresh(ledger, tmp_path / "cache")
        host, port = "127.0.0.1", 8450
        console = build_console(Site(ledger, tmp_path / "cache", host, port, policies=(POLICIES,), **site))
        client = TestClient(console.application, base_url=f"http://{host}:{port}")
        assert console.token is not None
        client.get(console.token.url(""))
        return console, client

    return build
