"""`guardedvlm audit`: what an auditor sees, and the exit code of what does not hold."""

import asyncio
import csv
import json
import re
import shutil
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardedvlm.audit.checkpointer import Checkpointer
from guardedvlm.audit.export import COLUMNS
from guardedvlm.audit.facts import Method
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import FileSink
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli import app
from guardedvlm.config import load_settings
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason
from guardedvlm.evidence import evidence_signer, make_checkpointer, replica


class Site:
    """A site's folder with a ledger in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "guardedvlm.yaml"
        self.config.write_text("checkpoints: {sink: file, file: checkpoints}\n")
        self.settings = load_settings(self.config)
        self.ledger, self.checkpoints = folder / "ledger", folder / "checkpoints"
        self.requests = asyncio.run(self._write())
        self.keys = folder / "public.json"
        create_keys(self.settings.keys / "evidence").public.write(self.keys)

    async def _write(self) -> list[str]:
        settings = self.settings
        with ExitStack() as parts:
            checkpointer = make_checkpointer(settings, evidence_signer(settings, parts))
        logs = Logs(settings.ledger, replica(settings), checkpointer=checkpointer, segment_bytes=2_000)
        ledger, done = await logs.log_for(2_192), []
        for _ in range(8):
            log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
            await log.advance(State.REFUSED, reason=Reason.IMAGE_CORRUPT)
            done.append(log.request)
        await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
        await asyncio.to_thread(logs.close)
        return done

    def run(self, *arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200"})
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    def verify(self) -> tuple[int, dict[str, object]]:
        code, said = self.run("verify", self.ledger, "--checkpoints", self.checkpoints, "--keys", self.keys, "--json")
        return code, json.loads(said)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_verify_tells_integrity_and_completeness_apart(site: Site) -> None:
    code, told = site.verify()
    assert (code, told["integrity"], told["completeness"]) == (0, "holds", "shown by checkpoints")
    (_, log) = told["logs"]
    assert (log["log"], log["records"], log["covered_by_checkpoints"]) == ("years-6", 18, 18)
    assert len(log["unfinished"]) == 1
    code, said = site.run("verify", site.ledger)
    assert code == 0
    assert re.search(r"completeness +not shown: no checkpoints from elsewhere", said)


def test_verify_sees_a_cut_tail_and_a_change(site: Site) -> None:
    newest = list_segments(site.ledger / "years-6")[-1].path
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-1]))
    code, told = site.verify()
    assert (code, told["integrity"], told["completeness"]) == (5, "holds", "broken")
    first = list_segments(site.ledger / "years-6")[0].path
    first.write_bytes(first.read_bytes().replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS"))
    code, told = site.verify()
    assert (code, told["integrity"]) == (5, "broken")
    assert "tampered at record" in told["logs"][1]["chain"]


def test_verify_names_the_logs_of_other_ledgers(site: Site, tmp_path: Path) -> None:
    ring = create_keys(site.settings.keys / "evidence")
    checkpointer = Checkpointer(ring, ring.public.find, FileSink(site.checkpoints))
    Logs(tmp_path / "other", "b1" * 16, checkpointer=checkpointer).close()
    code, told = site.verify()
    assert (code, told["of_other_ledgers"]) == (0, [f"guardedvlm/{'b1' * 16}/service"])
    site.checkpoints.write_bytes(site.checkpoints.read_bytes()[:-9])
    code, told = site.verify()
    assert (code, told["completeness"]) == (5, "broken")


def test_a_report_says_whether_completeness_is_shown(site: Site, tmp_path: Path) -> None:
    day = datetime.now(UTC).date()
    command = ("report", "--config", site.config, "--from", day, "--to", day, "--out", tmp_path / "report.html")
    given = ("--checkpoints", site.checkpoints, "--keys", site.keys)
    code, said = site.run(*command, *given)
    assert (code, "Completeness is shown by checkpoints" in " ".join(said.split())) == (0, True)
    assert site.run(*command, *given[:2])[0] == 2  # anybody can write one that nobody signed
    (site.ledger / "years-6").rename(tmp_path / "away")
    assert (site.run(*command, *given)[0], site.run(*command)[0]) == (5, 0)


def test_checkpoints_without_keys_show_nothing(site: Site) -> None:
    assert site.run("verify", site.ledger, "--checkpoints", site.checkpoints)[0] == 2


def test_show_one_request_of_one_log(site: Site) -> None:
    code, said = site.run("show", site.ledger, "--request", site.requests[2], "--json")
    assert (code, [json.loads(line)["event"] for line in said.splitlines()]) == (0, ["RECEIVED", "REFUSED"])
    assert len(site.run("show", site.ledger, "--json")[1].splitlines()) == 19
    assert len(site.run("show", site.ledger, "--log", "service", "--json")[1].splitlines()) == 1
    assert site.run("show", site.ledger, "--request", site.requests[2])[1].count("IMAGE_CORRUPT") == 1


def test_export_has_every_record(site: Site) -> None:
    lines, table, columns = (site.folder / f"out.{form}" for form in ("jsonl", "csv", "parquet"))
    records = list(read_ledger(site.ledger))
    for path in (lines, table, columns):
        code, said = site.run("export", site.ledger, "--format", path.suffix[1:], "--out", path)
        assert (code, said) == (0, f"19 records in {path}\n")
    assert set(lines.read_bytes().splitlines()) == {record.encode() for record in records}
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == list(COLUMNS)
    assert sorted((row["log"], int(row["sequence"])) for row in rows)[1:] == [("years-6", n) for n in range(18)]
    assert {row["reason"] for row in rows} == {"", "IMAGE_CORRUPT"}
    parquet = pytest.importorskip("pyarrow.parquet").read_table(columns).to_pylist()
    as_csv = [{name: "" if value is None else str(value) for name, value in row.items()} for row in parquet]
    assert as_csv == rows
    assert isinstance(parquet[0]["torn_bytes"], int)


def test_parquet_without_pyarrow_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    done = CliRunner().invoke(app, ["audit", "export", str(site.ledger), "--format", "parquet", "--out", "x"])
    assert "pip install 'guardedvlm[export]'" in str(getattr(done.exception, "explanation", ""))


def test_a_proof_is_checked_without_the_ledger(site: Site) -> None:
    proof = site.folder / "proof.json"
    assert site.run("prove", site.requests[0], site.ledger, "--out", proof)[0] == 0
    shutil.rmtree(site.ledger)
    code, said = site.run("verify-proof", proof, "--keys", site.keys, "--checkpoints", site.checkpoints)
    assert code == 0
    assert f"holds: request {site.requests[0]} in guardedvlm/" in said
    assert "REFUSED" in said
    site.checkpoints.write_text("")
    assert site.run("verify-proof", proof, "--keys", site.keys, "--checkpoints", site.checkpoints)[0] == 5
    proof.write_text(proof.read_text().replace("IMAGE_CORRUPT", "POLICY_FORBIDS"))
    assert site.run("verify-proof", proof, "--keys", site.keys)[0] == 5


def test_prune_asks_and_leaves_what_verifies(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.run("prune", "--config", site.config) == (0, "nothing is old enough\n")
    later = datetime.now(UTC) + timedelta(days=6 * 366 + 1)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return later

    monkeypatch.setattr("guardedvlm.cli.audit.keep.datetime", Later)
    before = len(list_segments(site.ledger / "years-6"))
    code, said = site.run("prune", "--config", site.config, "--dry-run")
    assert (code, len(list_segments(site.ledger / "years-6"))) == (0, before)
    assert re.match(r"years-6: \d+ records in \d segments, the newest of 20", said)
    assert site.run("prune", "--config", site.config)[0] == 1  # nobody says yes
    assert len(list_segments(site.ledger / "years-6")) == before
    with monkeypatch.context() as patched:
        patched.setattr("guardedvlm.audit.writer.now", lambda: f"{later:%Y-%m-%dT%H:%M:%S}.999Z")
        code, said = site.run("prune", "--config", site.config, "--yes")
    assert code == 0
    assert "removed" in said
    assert len(list_segments(site.ledger / "years-6")) == 1
    code, told = site.verify()
    assert (code, told["integrity"], told["completeness"]) == (0, "holds", "shown by checkpoints")
    assert told["logs"][2]["pruned"] > 0
