"""`guardedvlm console` as a process, and what its settings refuse."""

import os
import time
from pathlib import Path

import httpx
import pytest
from running import console_process
from written_ledger import request_id

from guardedvlm.config import load_console_settings
from guardedvlm.errors import ConfigurationError, Reason

LOGIN = "login: {issuer: 'https://idp.example', client_id: console}\n"
TLS = "tls: {certificate: a.pem, key: a.key}\n"


def test_it_prints_an_address_that_opens_it(ledger: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in ledger.iterdir()}
    with console_process(str(ledger), "--listen", "127.0.0.1:0", "--cache", str(tmp_path / "cache")) as address:
        with httpx.Client(follow_redirects=True, trust_env=False, timeout=30) as client:
            assert client.get(address).status_code in (200, 503)  # the index may still be on its way
            home = address.split("/login")[0]
            for _ in range(60):
                page = client.get(f"{home}/requests")
                if request_id(1) in page.text:
                    break
                time.sleep(0.5)  # a worker process starts first
            assert request_id(1) in page.text
        stranger = httpx.get(f"{home}/requests", trust_env=False)

    assert stranger.status_code == 303
    assert {path: path.read_bytes() for path in ledger.iterdir()} == before
    assert os.listdir(tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listen: 0.0.0.0:8450\n", "needs 'tls' and 'login'"),
        ("listen: 0.0.0.0:8450\n" + TLS, "needs 'tls' and 'login'"),
        ("listen: 0.0.0.0:8450\n" + LOGIN, "needs 'tls' and 'login'"),
        ("tls: {certificate: a.pem, key: a.key, client_ca: ca.pem}\n" + LOGIN, "not by certificates"),
        ("login: {issuer: 'http://idp.example', client_id: console}\n", "must be https"),
        ("tenants: tenants.yaml\n", "belong together"),
        ("checkpoints: elsewhere\n", "needs 'keys'"),
        ("audit_key: audit.key\n", "belong together"),
        ("review: {folder: pictures, keys: keys}\n", "needs 'audit_key'"),
        ("audit_key: audit.key\nreview: {folder: pictures}\n", "Field required"),
        ("audit_key: a\nreview: {folder: b, keys: c, checkpoints: d}\n", "need 'signer'"),
        ("token: abc\n", "Extra inputs"),
        ("listen: unix:/run/a.sock\n", "pattern"),
        ("url: https://console.example/path\n", "pattern"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "console.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        load_console_settings(path)

    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert words in caught.value.explanation


def test_the_desk_of_review_has_paths_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "console.yaml"
    path.write_text("audit_key: a.key\nreview: {folder: pictures, keys: keys/review, signer: 'unix:sign.sock'}\n")

    review = load_console_settings(path).review

    assert review is not None
    assert (review.folder, review.keys) == (tmp_path / "pictures", tmp_path / "keys" / "review")
    assert review.signer == f"unix:{tmp_path}/sign.sock"


def test_paths_count_from_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "console.yaml"
    path.write_text("listen: 0.0.0.0:8450\npolicies: [policies, /archive]\nkeys: [pub.json]\n" + TLS + LOGIN)

    settings = load_console_settings(path, listen="127.0.0.1:9000", cache=None)

    assert settings.listen == "127.0.0.1:9000"
    assert settings.policies == (tmp_path / "policies", Path("/archive"))
    assert settings.keys == (tmp_path / "pub.json",)
    assert settings.tls is not None
    assert settings.tls.certificate == tmp_path / "a.pem"
    assert settings.login is not None
    assert (settings.login.claim, settings.login.role) == ("roles", "reviewer")
