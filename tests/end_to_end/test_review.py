"""Blind review and the evidence pack at a real service: from a released picture to an incident and the report of it."""

import io
import time

import numpy as np
import pytest
from PIL import Image
from running_service import free_port, start_service, stop_service
from typer.testing import CliRunner

from guardedvlm.audit.digest import Purpose, load_or_create_key
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.verify import read_ledger, verify_ledger
from guardedvlm.cli import app
from guardedvlm.cli.init import make_site
from guardedvlm.cli.pictures import demo_pictures
from guardedvlm.client import redacted_document

pytestmark = pytest.mark.slow


def run(site, *arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(site.config)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_leak_that_a_reviewer_saw_is_in_the_report(tmp_path):
    site = make_site(tmp_path / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    policy = tmp_path / "site" / "policies" / "healthcare" / "policy.yaml"
    policy.write_text(policy.read_text() + "review: {random: 1, days: 1}\nchange: {why: review}\n")
    form = next(picture for picture in demo_pictures() if "form" in picture.name)
    buffer = io.BytesIO()
    form.image.save(buffer, "PNG")
    ledger = tmp_path / "site" / "ledger"
    service = start_service(tmp_path, site=site)
    try:
        with service.client("clinic") as client:
            redacted = client.redact(buffer.getvalue())
        end = time.monotonic() + 30
        while not (kept := [one for one in read_ledger(ledger) if one.event is LedgerEvent.SAMPLED]):
            assert time.monotonic() < end
            time.sleep(0.2)
        (sample,) = [one.facts["sampled"]["sample"] for one in kept]
        while sample not in run(site, "review", "list"):  # its record comes first
            assert time.monotonic() < end
            time.sleep(0.2)
        run(site, "review", "show", sample, "--out", tmp_path / "look.png")
        shown = np.asarray(Image.open(tmp_path / "look.png").convert("RGB"))
        released = np.asarray(Image.open(io.BytesIO(redacted_document(redacted.redaction).content)).convert("RGB"))
        assert np.array_equal(shown, released)
        run(site, "review", "mark", sample, "leaked", "--kind", "PERSON", "--cell", "3,12")
    finally:
        stop_service(service)
    assert not list((tmp_path / "site" / "review").iterdir())
    assert not list((tmp_path / "site" / "keys" / "review").iterdir())
    assert verify_ledger(ledger / "review").chain_ok
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for name in ("report.html", "report.pdf"):
        run(site, "audit", "report", "--tenant", "clinic", "--from", day, "--to", day, "--out", tmp_path / name)
    page = (tmp_path / "report.html").read_text()
    assert "1 request by 1 caller: 1 released, 0 refused, 0 without an end." in page
    assert "Incidents opened by reviewers: 1." in page
    key = load_or_create_key(tmp_path / "site" / "keys" / "audit.key")
    assert key.pseudonym(Purpose.TENANT, "clinic") in page
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
