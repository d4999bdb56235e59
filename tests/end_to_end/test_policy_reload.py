"""A real service with signed policies: an unsigned one stops the start, and on reload leaves the old one in force."""

import io
import shutil
import subprocess
import sys
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image, ImageDraw, ImageFont
from running_service import free_port, start_service, stop_service
from typer.testing import CliRunner

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli import app
from guardedvlm.cli.init import make_site
from guardedvlm.rpc.server import POLICIES

pytestmark = pytest.mark.slow


def policy(*arguments):
    done = CliRunner().invoke(app, ["policy", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def status(service, name):
    with grpc.insecure_channel(service.health) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_signed_site(tmp_path):
    site = make_site(tmp_path / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    folder, office = tmp_path / "site" / "policies", tmp_path / "office"
    policy("keygen", office)
    command = [sys.executable, "-m", "guardedvlm", "serve", "--config", str(site.config)]
    command += ["--policy-key", str(office / "policy.pub")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (refused.returncode, "POLICY_UNSIGNED" in refused.stderr) == (2, True)

    policy("sign", folder, "--key", office / "policy.key")
    service = start_service(tmp_path, ["--policy-key", str(office / "policy.pub")], site=site)
    try:
        with service.client("bank") as client:
            before = client.policy().digest
            path = folder / "finance" / "policy.yaml"
            path.write_text(path.read_text().replace("PERSON: label", "PERSON: fill"))  # and no signature of it
            wait_for(lambda: status(service, POLICIES) == health_pb2.HealthCheckResponse.NOT_SERVING)
            assert (client.policy().digest, service.serving()) == (before, 1)
            policy("sign", folder, "--key", office / "policy.key")
            wait_for(lambda: status(service, POLICIES) == health_pb2.HealthCheckResponse.SERVING)
            assert client.policy().digest != before
            other = path.with_name("candidate.yaml")
            text = path.read_text().replace("keep: [AMOUNT, DATE, ORGANIZATION]", "keep: [AMOUNT, DATE]")
            other.write_text(text.replace("hide:\n", "hide:\n  ORGANIZATION: label\n", 1))
            policy("sign", folder / "finance", "--candidate", "--key", office / "policy.key")
            wait_for(lambda: len(records(tmp_path, LedgerEvent.POLICIES)) == 3)
            time.sleep(3)  # a candidate changes nothing that is told
            found = client.redact(picture())
            assert [item.kind for item in found.redaction.pages[0].counts if item.kind == "ORGANIZATION"] == []
            wait_for(lambda: records(tmp_path, LedgerEvent.SHADOWED))
            shutil.rmtree(folder / "healthcare")
            wait_for(lambda: len(told(tmp_path)[-1]["policies"]) == 1)
        with service.client("clinic") as client, pytest.raises(Exception, match="no policy"):
            client.policy()
    finally:
        stop_service(service)
    facts = told(tmp_path)
    assert [one["policies_kept"] for one in facts if one["policies_kept"]] == [("finance",)]
    assert len(facts[0]["policies"]) == 2
    (shadow,) = records(tmp_path, LedgerEvent.SHADOWED)
    assert "failure" not in shadow["shadow"]
    assert shadow["shadow"]["would_say"]["hidden"]["ORGANIZATION"] == 1
    assert "ORGANIZATION" not in shadow["shadow"]["said"]["hidden"]
    assert verify_logs(tmp_path / "site" / "ledger").is_good
    report = policy("shadow-report", tmp_path / "site" / "ledger")
    assert "ORGANIZATION +1 hidden" in report
    replayed = policy("replay", folder / "finance", "--ledger", tmp_path / "site" / "ledger", "--old", folder)
    assert "1 requests: 1 unchanged" in replayed


def records(tmp_path, event):
    return [one.facts for one in read_ledger(tmp_path / "site" / "ledger") if one.event is event]


def told(tmp_path):
    return records(tmp_path, LedgerEvent.POLICIES)


def picture():
    page = Image.new("RGB", (900, 300), "white")
    font = ImageFont.load_default(size=36)
    ImageDraw.Draw(page).text((40, 40), "Northwind Traders Ltd", "black", font)
    ImageDraw.Draw(page).text((40, 140), "Total 12.50 USD", "black", font)
    page.save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()
