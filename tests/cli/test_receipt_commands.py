"""`guardedvlm receipt` and `guardedvlm keys`: what they print, and how they exit."""

import asyncio
import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from guardedvlm.audit.facts import Method, VerifyVerdict
from guardedvlm.audit.keys import RING, create_keys, load_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.receipt import Closed, Receipts
from guardedvlm.audit.request import RequestLog
from guardedvlm.cli import app
from guardedvlm.cli.output import exit_code
from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason
from guardedvlm.guard.files.raster import redacted_png, redacted_tiff

FACTS = {
    State.ADMITTED: {"tenant": "b1" * 16, "caller": "c2" * 16, "policy": {"name": "finance", "digest": "e4" * 32}},
    State.DECODED: {},
    State.REDACTED: {
        "regions": {Kind.FACE: 2},
        "area_permille": {Kind.FACE: 41},
        "detectors": ({"name": "centerface", "digest": "06" * 32},),
    },
    State.CLEARED: {"verification": {"verdict": VerifyVerdict.CLEARED, "passes": 1, "residual": {}}},
    State.RELEASE_OPEN: {},
    State.RELEASED: {},
}


def run(*arguments, **environment):
    """In this process, as `main` exits."""
    done = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200", **environment})
    if isinstance(done.exception, GuardedVLMError):
        return exit_code(done.exception), str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


async def closed(folder, pages):
    ledger = Ledger(folder, "a0" * 16)
    try:
        log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
        for state, facts in FACTS.items():
            await log.advance(state, **facts)
        return Closed.of(log.records, log.log, pages)
    finally:
        ledger.close()


@pytest.fixture(params=["png", "tiff", "pdf"])
def site(request, tmp_path):
    """A receipt, its files, its keys and its ledger."""
    rasters = [np.random.default_rng(page).integers(0, 256, (20, 30, 3), np.uint8) for page in range(2)]
    if request.param == "png":
        rasters = rasters[:1]
    file = {"png": lambda r: redacted_png(r[0]), "tiff": redacted_tiff, "pdf": lambda _: b"%PDF-"}[request.param](
        rasters
    )
    over = asyncio.run(closed(tmp_path / "ledger", [raster_digest(raster) for raster in rasters]))
    (tmp_path / "image").write_bytes(b"the document")
    (tmp_path / "redacted").write_bytes(file)
    receipt = Receipts(create_keys(tmp_path / "keys")).issue(over, b"the document", file)
    (tmp_path / "receipt.json").write_bytes(receipt.encode())
    assert run("keys", "export-public", tmp_path / "keys.json", tmp_path / "keys")[0] == 0
    return tmp_path


def verify(site, *more, **environment):
    return run("receipt", "verify", site / "receipt.json", "--keys", site / "keys.json", *more, **environment)


def whole(site):
    return "--image", site / "image", "--redacted", site / "redacted", "--ledger", site / "ledger"


def test_everything_that_is_given_is_checked(site):
    code, told = verify(site, *whole(site))
    pixels = "holds" if (site / "redacted").read_bytes()[:4] != b"%PDF" else "not checked"
    findings = re.findall(r"^\d\. .*: (holds|BROKEN|not checked)  ", told, re.M)
    assert findings == ["holds"] * 5 + [pixels] + ["holds"] * 3
    assert code == 0
    assert "the receipt holds" in told


def test_what_could_not_be_checked_is_said(site):
    code, told = verify(site)
    assert code == 0
    assert "6 of 9 steps were not checked" in told
    assert "no picture was given (--image)" in told


def test_another_picture_is_code_5(site):
    (site / "image").write_bytes(b"another document")
    code, told = verify(site, *whole(site))
    assert code == 5
    assert "4. the picture is what came in: BROKEN" in told
    assert "the receipt does not hold" in told


@pytest.mark.parametrize("site", ["png", "tiff"], indirect=True)
def test_pixels_that_were_changed_are_found_beside_the_file(site):
    with Image.open(site / "redacted") as found:
        pixels = np.asarray(found).copy()
    pixels[3, 4] ^= 1
    (site / "redacted").write_bytes(redacted_png(pixels))
    code, told = verify(site, *whole(site))
    assert code == 5
    assert re.findall(r"^(\d)\. .*BROKEN", told, re.M) == ["5", "6"]


def test_as_json(site):
    code, told = verify(site, *whole(site), "--json")
    proof = json.loads(told)
    assert code == 0
    assert proof["holds"] is True
    assert [step["number"] for step in proof["steps"]] == list(range(1, 10))
    assert proof["key"] == load_keys(site / "keys").active.id
    shown = json.loads(run("receipt", "show", site / "receipt.json", "--json")[1])
    assert shown["regions"] == {"FACE": 2}


def test_without_keys_it_is_code_5(site):
    code, told = run("receipt", "verify", site / "receipt.json", XDG_STATE_HOME=str(site / "nobody"))
    assert code == 5
    assert "no public keys were given" in told


def test_keys_of_local_use_are_the_default(site, tmp_path):
    create_keys(tmp_path / "state" / "guardedvlm" / "keys" / "evidence")
    code, told = run("receipt", "verify", site / "receipt.json", XDG_STATE_HOME=str(tmp_path / "state"))
    assert code == 5
    assert "not among those given" in told


def test_several_files_of_keys_are_together(site, tmp_path):
    create_keys(tmp_path / "other").public.write(tmp_path / "other.json")
    assert verify(site, "--keys", tmp_path / "other.json")[0] == 0
    assert run("receipt", "verify", site / "receipt.json", "--keys", tmp_path / "other.json")[0] == 5
    assert run("receipt", "verify", site / "receipt.json", "--keys", site / "image")[0] == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"\x89PNG", b"x" * 100_000])
def test_what_is_no_receipt_is_code_5(site, content):
    (site / "receipt.json").write_bytes(content)
    assert verify(site)[0] == 5
    assert run("receipt", "show", site / "receipt.json") == (5, str(ConfigurationError(Reason.RECEIPT_BROKEN)))


def test_a_changed_receipt_is_code_5(site):
    content = (site / "receipt.json").read_bytes()
    (site / "receipt.json").write_bytes(content.replace(b"eyJ", b"eyK", 1))
    assert verify(site, *whole(site))[0] == 5


def test_show_says_that_nothing_was_checked(site):
    code, told = run("receipt", "show", site / "receipt.json")
    assert code == 0
    assert "nothing of it was checked" in told
    assert "FACE 2 (4.1 % of the area)" in told
    nonce = json.loads(run("receipt", "show", site / "receipt.json", "--json")[1])["nonce"]
    assert nonce not in told


def test_keys_from_the_first_to_the_third(tmp_path):
    folder = tmp_path / "evidence"
    code, told = run("keys", "init", folder)
    first = load_keys(folder).active.id
    assert (code, first in told, "made" in told) == (0, True, True)
    assert "is there already" in run("keys", "init", folder)[1]
    assert load_keys(folder).active.id == first
    for count in (1, 2):
        code, told = run("keys", "rotate", folder)
        assert code == 0
        assert f"{count} in all" in told
    code, told = run("keys", "list", folder)
    assert told.count("active") == 1
    assert first in told
    assert json.loads((folder / RING).read_text())["active"]["private"] not in told


@pytest.mark.parametrize("command", [("rotate",), ("list",), ("export-public", "x.json")])
def test_where_there_are_no_keys_it_is_said(tmp_path, command):
    code, told = run("keys", *command, tmp_path / "absent")
    assert code == 2
    assert "SETTINGS_INVALID" in told
