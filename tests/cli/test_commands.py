"""The command line as a user meets it: help, one-line errors, exit codes."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from guardedvlm.cli import __doc__ as cli_doc
from guardedvlm.cli import app
from guardedvlm.cli.output import exit_code
from guardedvlm.errors import ConfigurationError, InvalidInput, NotIdentified, Reason, Refused, Unavailable
from guardedvlm.guard.roles import SPECS

COMMANDS = (
    [],
    ["demo"],
    ["console"],
    ["init"],
    ["serve"],
    ["serve-inference"],
    ["ask"],
    ["redact"],
    ["batch"],
    ["batch-status"],
    ["extract"],
    ["reidentify"],
    ["keys"],
    ["keys", "reidentify-init"],
    ["keys", "init"],
    ["keys", "rotate"],
    ["keys", "export-public"],
    ["keys", "list"],
    ["keys", "serve"],
    ["receipt"],
    ["receipt", "show"],
    ["receipt", "verify"],
    ["doctor"],
    ["playground"],
    ["openai"],
    ["model"],
    ["model", "check"],
    ["model", "pin"],
    ["model", "plan"],
    ["model", "init-tiny"],
    ["policy"],
    ["policy", "show"],
    ["policy", "check"],
    ["policy", "schema"],
    ["policy", "coverage"],
    ["policy", "test"],
    ["policy", "lint"],
    ["policy", "diff"],
    ["policy", "keygen"],
    ["policy", "sign"],
    ["policy", "verify"],
    ["policy", "replay"],
    ["policy", "shadow-report"],
    ["audit"],
    ["audit", "verify"],
    ["audit", "show"],
    ["audit", "export"],
    ["audit", "prove"],
    ["audit", "verify-proof"],
    ["audit", "prune"],
    ["audit", "tail"],
    ["audit", "telemetry"],
    ["audit", "report"],
    ["review"],
    ["review", "list"],
    ["review", "show"],
    ["review", "mark"],
    ["review", "risk"],
    ["review", "sweep"],
    ["eval"],
    ["eval", "text"],
    ["eval", "docs"],
    ["eval", "faces"],
    ["eval", "leak"],
)
GROUPS = ([], ["model"], ["policy"], ["audit"], ["keys"], ["receipt"], ["review"], ["eval"])
LEAVES = [command for command in COMMANDS if command not in GROUPS]


def run(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "guardedvlm", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command):
    """In this process: starting another takes seconds, and there are many commands."""
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "Usage" in done.output
    if command in LEAVES:
        assert "Example" in done.output


def test_help_of_a_process_is_the_same():
    assert "Usage" in run("eval", "--help").stdout


def test_version():
    assert run("--version").stdout.startswith("guardedvlm 0.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(Reason.RESIDUAL_FOUND), 1),
        (ConfigurationError(Reason.POLICY_INVALID), 2),
        (InvalidInput(Reason.IMAGE_CORRUPT), 3),
        (Unavailable(Reason.WORKER_DIED), 4),
        (ConfigurationError(Reason.LEDGER_BROKEN), 5),
        (NotIdentified(Reason.UNAUTHENTICATED), 6),
    ],
)
def test_exit_codes_are_the_documented_ones(error, code):
    assert exit_code(error) == code
    assert f"\n  {code}  " in cli_doc


@pytest.mark.parametrize("arguments", [["ask"], ["nonsense"], ["redact", "absent.png", "-o", "x"], ["serve"]])
def test_wrong_usage_is_code_2(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_policies_can_be_shown_and_checked(tmp_path):
    shown = run("policy", "show", "healthcare")
    assert shown.returncode == 0
    assert "MEDICAL_RECORD" in shown.stdout
    canonical = json.loads(run("policy", "show", "finance", "--json").stdout)
    assert canonical["name"] == "finance"
    assert run("policy", "check").returncode == 0
    broken = tmp_path / "policy.yaml"
    broken.write_text("name: x\nmodus: strict\n")
    checked = run("policy", "check", broken)
    assert checked.returncode == 2
    assert "policy.yaml:2" in checked.stderr
    assert run("policy", "show", "nobodys").returncode == 2


def test_init_makes_a_site_once(tmp_path):
    site = tmp_path / "site"
    assert run("init", site).returncode == 0
    assert (site / "clinic.token").stat().st_mode & 0o077 == 0
    assert (site / "keys").stat().st_mode & 0o077 == 0
    assert (site / "tenants.yaml").read_text().count("roles: [caller]\n") == 2  # a gateway reviews nothing
    again = run("init", site)
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_a_setting_with_a_typo_is_named(tmp_path):
    config = tmp_path / "guardedvlm.yaml"
    config.write_text("replikas: 2\n")
    done = run("serve", "--config", config)
    assert done.returncode == 2
    assert "replikas" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_folder_is_no_input(tmp_path):
    done = run("redact", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_folder_is_said_at_once(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    (tmp_path / "out").mkdir(mode=0o500)
    done = run("redact", picture, "--out", tmp_path / "out")
    assert (done.returncode, "OUTPUT_UNWRITABLE" in done.stderr) == (2, True)


def test_an_output_that_is_a_file_is_said_at_once(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    done = run("redact", picture, "--out", picture)
    assert (done.returncode, "OUTPUT_UNWRITABLE" in done.stderr) == (2, True)


def test_results_are_not_replaced_unasked(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    (tmp_path / "a.redacted.png").write_bytes(b"mine")
    done = run("redact", picture, "--out", tmp_path)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert (tmp_path / "a.redacted.png").read_bytes() == b"mine"


def test_a_ledger_that_is_not_there_or_broken(tmp_path):
    assert run("audit", "verify", tmp_path / "absent").returncode == 2
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "00000000000000000000.jsonl").write_text('{"not": "a record"}\n')
    assert run("audit", "verify", tmp_path / "ledger").returncode in (3, 5)


@pytest.mark.service
def test_doctor_sends_a_canary_through_every_part():
    done = run("doctor")
    assert done.returncode == 0, done.stderr
    assert "all that the guard needs works" in done.stdout
    for role in (*SPECS, "answers"):
        assert role in done.stdout
    assert "nothing" not in done.stdout
    assert "to reach the network" in done.stdout
    assert "possible" not in done.stdout
