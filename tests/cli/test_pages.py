"""docs/operator.md and docs/compliance.md: every command is one of the command line; backup, restore, rotation and an
auditor's check are run as they stand, by a shell, on a real ledger."""

import asyncio
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import typer
from written_ledger import LIFE

from guardedvlm.audit.record import Entry
from guardedvlm.cli import app
from guardedvlm.cli.init import make_site
from guardedvlm.config import load_settings
from guardedvlm.evidence import evidence_signer, open_logs, replica

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text("utf-8") for name in ("operator.md", "compliance.md")}
COMMANDS = typer.main.get_command(app)


def blocks(page):
    """Indented blocks of commands; a line that ends in a backslash goes on."""
    text = re.sub(r"\\\n\s*", "", PAGES[page])
    found, block = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("    ") and line.strip():
            block.append(line.strip())
        elif block:
            found.append(block)
            block = []
    return found


def commands(page):
    """Every command line of ours, in blocks and in running text."""
    inside = re.findall(r"`(guardedvlm [^`]+)`", PAGES[page].replace("\n", " "))
    lines = [line for block in blocks(page) for line in block if line.startswith("guardedvlm ")]
    return sorted({line.split("#")[0].split("&&")[0].strip() for line in (*lines, *inside)})


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands(page)}))
def test_every_command_is_one_of_the_command_line(line):
    """Options and sub-commands; what it would be run on need not be there."""
    words, command = shlex.split(line)[1:], COMMANDS
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known | {"--help"}, line


def test_the_pages_have_commands():
    assert len(commands("operator.md")) > 8
    assert len(commands("compliance.md")) > 3


@pytest.fixture
def site(tmp_path):
    """A site with a ledger of two requests, and a shell in which `guardedvlm` is this checkout's."""
    shim = tmp_path / "bin" / "guardedvlm"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m guardedvlm "$@"\n')
    shim.chmod(0o755)
    made = make_site(tmp_path / "site")
    _requests(made.config, 2)
    (tmp_path / "backup").mkdir()
    return tmp_path


def _requests(config, number):
    """Requests in the ledger of a site, which is opened and closed as a service does."""

    async def live():
        settings = load_settings(config)
        async with AsyncExitStack() as parts:
            logs = open_logs(settings, replica(settings), evidence_signer(settings, parts), parts)
            log = await logs.log_for(365)
            for _ in range(number):
                request = secrets.token_hex(16)
                for state, facts in LIFE.items():
                    told = {"event": state, "request": request, "facts": facts}
                    await log.append(Entry.model_validate_json(json.dumps(told)))

    asyncio.run(live())


def run(folder, *lines):
    """Lines of a page, by a shell that stops at the first that fails."""
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "set -eu\n" + "\n".join(lines)
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def block_with(page, words):
    (found,) = [block for block in blocks(page) if any(words in line for line in block)]
    return found


@pytest.mark.slow
def test_backup_rotation_and_restore_as_they_stand(site):
    done = run(site, *block_with("operator.md", "cp -a site/ledger backup/ledger"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"integrity +holds", done.stdout)
    assert re.search(r"completeness +shown by checkpoints", done.stdout)
    rotated = run(site, *block_with("operator.md", "guardedvlm keys rotate site/keys/evidence"))
    assert rotated.returncode == 0, rotated.stderr
    assert "is retired, 1 in all" in rotated.stdout
    # All is lost; what was backed up comes back, and holds under the old key and the new one.
    run(site, "rm -r site/ledger", "mv site/keys site/keys.lost")
    lines = block_with("operator.md", "cp -a backup/ledger site/ledger")
    restored = run(site, *lines)
    assert restored.returncode == 0, restored.stderr + restored.stdout
    assert re.search(r"completeness +shown by checkpoints", restored.stdout)
    _requests(site / "site" / "guardedvlm.yaml", 1)  # and it is gone on with


@pytest.mark.slow
def test_a_restore_that_is_older_than_the_checkpoints_says_so(site):
    run(site, *block_with("operator.md", "cp -a site/ledger backup/ledger"))
    _requests(site / "site" / "guardedvlm.yaml", 1)
    export = "guardedvlm keys export-public evidence-keys.json site/keys/evidence"
    lines = block_with("operator.md", "cp -a backup/ledger site/ledger")
    restored = run(site, export, "rm -r site/ledger site/keys", *lines)
    assert restored.returncode == 5
    assert "cut" in restored.stdout


def test_another_ring_is_refused_with_the_words_of_the_page(site):
    run(site, "mv site/keys/evidence elsewhere")
    with pytest.raises(Exception) as failed:  # noqa: PT011  # the command line's own error, below
        _requests(site / "site" / "guardedvlm.yaml", 1)
    assert "by other evidence keys: is the folder of the keys mounted?" in failed.value.for_operator()
    assert "by other evidence keys: is the folder of the keys mounted?" in " ".join(PAGES["operator.md"].split())


@pytest.mark.slow
def test_an_auditor_verifies_alone_as_the_page_says(site):
    """With the ledger's copy, the checkpoints and the public keys; nothing of the service."""
    run(site, "guardedvlm keys export-public evidence-keys.json site/keys/evidence", "cp -a site/ledger ledger")
    run(site, "cp site/checkpoints checkpoints", "rm -r site")
    lines = [line for line in block_with("compliance.md", "guardedvlm audit verify ledger") if "audit verify " in line]
    done = run(site, *lines)
    assert done.returncode == 0, done.stderr
    assert re.search(r"completeness +shown by checkpoints", done.stdout)
