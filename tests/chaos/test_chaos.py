"""Every cell of the chaos table: the documented code, and nothing outside that should not be there."""

import os
import signal
import sys

import httpx
import numpy as np
import pytest
from canaries import ALL, places_in, planted, strings_in
from cells import DOCUMENT, LAST, QUICK, document, every_pair, recorded, table
from chaos_site import ChaosSite
from otlp_collector import wait_until
from running import console_process
from trial import tried

from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.verify import verify_ledger

CELLS = {(cell.dependency, cell.fault): cell for cell in recorded()}
MOST_PAGES = 40


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One service for all cells: in each it must have recovered from the one before."""
    site = ChaosSite(tmp_path_factory.mktemp("chaos"))
    yield site
    site.close()


def check(site, pair):
    found, leaks = tried(site, *pair)
    assert not leaks, leaks
    assert found == CELLS[pair]
    return found


@pytest.mark.service
@pytest.mark.parametrize("pair", [pair for pair in QUICK if pair in CELLS], ids="-".join)
def test_a_cell_that_ends_early(site, pair):
    check(site, pair)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_every_cell(site):
    """And the table of what was found, printed."""
    found = [check(site, pair) for pair in every_pair() if pair in CELLS and pair != LAST]
    sys.stdout.write("\n" + table(found))
    assert site.ask()[0] == "OK"
    assert not site.found()
    assert not canaries_in_the_console(site)
    if LAST in CELLS:
        check(site, LAST)
        assert not all(verify_ledger(log).chain_ok for log in list_logs(site.folder / "site" / "ledger"))


def canaries_in_the_console(site):
    """What the reviewer's pages show of the requests of all cells."""
    seen, hits, waiting = set(), set(), [""]
    ledger = site.folder / "site" / "ledger"
    cache = site.folder / "index"
    with console_process(str(ledger), "--cache", str(cache)) as address, httpx.Client(follow_redirects=True) as client:
        base = str(client.get(address).url.copy_with(query=None, fragment=None))
        while waiting and len(seen) < MOST_PAGES:
            page = client.get(httpx.URL(base).join(waiting.pop(0)))
            seen.add(page.url.path)
            hits.update(strings_in(page.content))
            links = [part.split('"')[0] for part in page.text.split('href="/')[1:]]
            waiting += [f"/{link}" for link in links if f"/{link}".split("?")[0] not in seen]
    assert len(seen) > 3
    return hits


def test_the_document_is_the_table_that_was_recorded():
    """python tests/chaos/cells.py --write"""
    assert DOCUMENT.read_text("utf-8") == document(recorded())


def test_the_scan_finds_what_is_there():
    """In plain, in UTF-16, in base64 wherever it begins, in hex; and pixels, also inverted and faint."""
    import base64

    original = planted()
    assert strings_in(original.content) == [canary for canary in ALL if canary in ("BROUGHSHANE", "Ballymarlow")]
    for canary in ALL:
        for before in range(4):
            content = b"." * before + canary.encode() + b".."
            assert canary in strings_in(base64.b64encode(content))
        assert canary in strings_in(canary.upper().encode("utf-16-le"))
        assert canary in strings_in(b"00" + canary.encode().hex().encode())
    assert strings_in(b"nothing of the kind") == []
    assert set(places_in(original.pixels, original)) == set(original.places)
    assert set(places_in(255 - original.pixels // 4, original)) == set(original.places)
    assert places_in(np.full_like(original.pixels, 255), original) == []
    half = original.pixels[::2, ::2]
    assert set(places_in(half, original)) == set(original.places)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_blind_detector_takes_readiness_away_and_the_second_signal_ends_the_service_at_once(tmp_path):
    """The canary picture, as a running service sees it; and how that service ends."""
    site = ChaosSite(tmp_path, canary_seconds=1)
    try:
        site.faults.begin("face_verifier", "empty")
        wait_until(lambda: not site.ready(), 240)
        assert not site.ready("guardedvlm.canary")
        assert site.ask() == ("UNAVAILABLE", "CANARY_MISSED")
        site.faults.end("face_verifier")
        site.wait_ready()
        assert site.ask()[0] == "OK"
        site.faults.begin("inference", "hang")
        held = ask_in_background(site)
        wait_until(lambda: site.inference.received, 240)
        site.service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not site.ready(), 30)
        assert site.ask() == ("UNAVAILABLE", "SHUTTING_DOWN")
        site.service.process.send_signal(signal.SIGTERM)
        assert site.service.process.wait(10) == 128 + signal.SIGTERM
        held.join()
        assert "ended at once" in site.service.log.read_text()
        assert not any(path.is_file() for path in site.service.scratch.rglob("*"))
        assert not site.found()
    finally:
        site.faults.end("inference")
        site.close()
    assert os.path.exists(site.service.log)


def ask_in_background(site):
    import threading

    asking = threading.Thread(target=site.ask)
    asking.start()
    return asking
