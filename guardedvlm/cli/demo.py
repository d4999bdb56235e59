"""`guardedvlm demo`: the whole path on made-up documents, with a real server and two tenants over gRPC."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from rich.markup import escape
from rich.table import Table

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.cli import sheets
from guardedvlm.cli.init import Site, make_site
from guardedvlm.cli.output import EVIDENCE, counted, err, out
from guardedvlm.cli.pictures import DemoPicture, demo_pictures
from guardedvlm.client import Client
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason, Unavailable
from guardedvlm.rpc.server import SERVICE
from guardedvlm.v1 import guard_pb2 as pb

START_SECONDS = 120.0
STOP_SECONDS = 30.0
CALLERS = 2
"""Calls at the same time: a laptop's two cores then work on two pictures."""
QUESTIONS = 3
"""Rounds: the first question about every picture, then the second, then the third."""
ASKING_SECONDS = 75.0
"""After this no later question is begun: on two cores the demo is to end within three minutes."""
STAGES = ("decode", "read", "personal", "faces", "codes", "redact", "verify", "infer", "screen", "ledger")


@dataclass(slots=True)
class Told:
    """What happened to one picture: its redaction, the questions with their answers or refusals, times by stage."""

    picture: DemoPicture
    content: bytes = field(repr=False)
    redaction: pb.Redaction | None = None
    refusal: str = ""
    answers: list[tuple[str, str, bool]] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)

    @property
    def hidden(self) -> str:
        """Regions by kind."""
        if self.redaction is None:
            return "-"
        return counted({item.kind: item.count for item in self.redaction.pages[0].counts})

    @property
    def verified(self) -> str:
        """How verification ended."""
        if self.redaction is None:
            return f"refused: {self.refusal}"
        passes = self.redaction.pages[0].verification.passes
        return "cleared" if passes == 1 else f"cleared, {passes} looks"


def demo(
    output: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for pictures and page; replaced if it is a demo's.")
    ] = Path("out"),
) -> None:
    """Run the guarded path on made-up documents: a real server, two tenants, answers, refusals, evidence.

    Writes before/after sheets and index.html, and ends with a verification of the audit ledger.

    Example:

        guardedvlm demo --out out
    """
    _prepare(output)
    site = make_site(output / "site", f"localhost:{_free_port()}", f"127.0.0.1:{_free_port()}")
    with _server(site) as target:
        pictures = demo_pictures()
        told = [Told(picture, _png(picture.image)) for picture in pictures]
        end = time.monotonic() + ASKING_SECONDS
        with ThreadPoolExecutor(CALLERS) as callers, err.status(f"asking about {len(pictures)} documents"):
            for number in range(QUESTIONS):
                list(callers.map(lambda item, number=number: _ask(site, target, item, number, end), told))
        refusals = _refusals(site, target, told[0])
    _write_sheets(output, told, refusals)
    _print(told, refusals)
    found = verify_logs(output / "site" / "ledger")
    reports = [log.report for log in found.logs if log.report is not None]
    state = "holds" if found.is_good else "is broken"
    records = sum(report.records for report in reports)
    unfinished = sum(len(report.unfinished) for report in reports)
    out.print(f"audit ledger: {records} records, the chain {state}, {unfinished} unfinished requests")
    out.print(
        f"look at [bold]{output / 'index.html'}[/]; "
        f"read the ledger with: guardedvlm audit show {output / 'site' / 'ledger'}, "
        f"in a browser: guardedvlm console {output / 'site' / 'ledger'}"
    )
    if not found.is_good:
        raise typer.Exit(EVIDENCE)


def _ask(site: Site, target: str, told: Told, number: int, end: float) -> None:
    """One question about a picture: the first brings the redacted picture along, later ones only while time is left."""
    if number >= len(told.picture.questions) or (number and time.monotonic() > end):
        return
    question = told.picture.questions[number]
    with _client(site, target, told.picture.tenant) as client:
        try:
            analysis = client.analyze(told.content, question, with_image=number == 0)
        except GuardedVLMError as error:
            told.answers.append((question, str(error), False))
            told.refusal = told.refusal or error.reason
            return
    told.answers.append((question, analysis.answer, True))
    if told.redaction is None and number == 0:
        told.redaction = analysis.redaction
        told.times = {item.stage: item.duration.ToMilliseconds() for item in analysis.stage_times}


def _refusals(site: Site, target: str, told: Told) -> list[tuple[str, str]]:
    """What the service says no to, each by a real call."""
    content, tenant = told.content, told.picture.tenant
    tries: list[tuple[str, str, bytes, str]] = [
        ("a forbidden question", tenant, content, "Who is this person?"),
        ("a truncated picture", tenant, content[: len(content) // 2], "What is this?"),
        ("a text file", tenant, b"Name: somebody\n" * 20, "What is this?"),
        ("a token that nobody has", "", content, "What is this?"),
    ]
    found = []
    for what, who, body, question in tries:
        with _client(site, target, who) as client, err.status(what):
            try:
                client.analyze(body, question)
            except GuardedVLMError as error:
                found.append((what, f"{error.code} {error}"))
            else:
                found.append((what, "was answered"))
    return found


def _client(site: Site, target: str, tenant: str) -> Client:
    token = site.tokens[tenant].read_text().strip() if tenant else "gvlm_nobody"
    return Client(target, token=token, ca=site.pki.ca)


@contextlib.contextmanager
def _server(site: Site) -> Iterator[str]:
    """The service in a process of its own, as an operator starts it; gives its address when health says SERVING."""
    listen, health = (line.split(": ", 1)[1] for line in site.config.read_text().splitlines()[:2])
    command = [sys.executable, "-m", "guardedvlm", "serve", "--config", str(site.config)]
    log = site.config.parent / "serve.log"
    with log.open("wb") as sink, err.status("starting the server"):
        process = subprocess.Popen(command, stdout=sink, stderr=sink)  # noqa: S603 - our own module
        try:
            _wait_until_serving(process, health, log)
        except BaseException:
            process.kill()
            process.wait()
            raise
    try:
        yield listen
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_serving(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(health, options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < end and process.poll() is None:
            try:
                if stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=2).status == 1:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.2)
    err.print(escape(log.read_text(errors="replace")[-2000:]), markup=False)
    raise Unavailable(Reason.SERVICE_UNAVAILABLE)


def _prepare(output: Path) -> None:
    """An empty folder; what an earlier demo left is removed, anything else is not touched."""
    try:
        if (output / "site" / "guardedvlm.yaml").is_file() and (output / "index.html").is_file():
            shutil.rmtree(output)
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output)) from None
    if any(output.iterdir()):
        explanation = "the folder holds something that is no demo's; name another with --out"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output), explanation=explanation)


def _write_sheets(output: Path, told: list[Told], refusals: list[tuple[str, str]]) -> None:
    entries = []
    for item in told:
        name = ""
        if item.redaction is not None:
            name = f"{item.picture.name}.png"
            after = Image.open(io.BytesIO(item.redaction.pages[0].content))
            sheets.before_after(item.picture.image, after, item.picture.title).save(output / name)
        facts = [
            ("tenant", f"{item.picture.tenant}", ""),
            ("hidden", item.hidden, ""),
            ("verification", item.verified, ""),
        ]
        facts += [(question, text, "released" if released else "refused") for question, text, released in item.answers]
        facts.append(
            ("time", ", ".join(f"{stage} {item.times[stage]:.0f} ms" for stage in STAGES if stage in item.times), "")
        )
        entries.append(sheets.Entry(item.picture.title, name, facts))
    entries.append(sheets.Entry("Refusals", "", [(what, text, "refused") for what, text in refusals]))
    lead = "Made-up documents, a real server, two tenants: what the caller sent, what the model saw, what came back."
    sheets.write_page(output, lead, entries)


def _print(told: list[Told], refusals: list[tuple[str, str]]) -> None:
    pictures = Table("picture", "tenant", "hidden", "verification", title="Redaction", title_justify="left")
    answers = Table("picture", "question", "answer", title="Answers", title_justify="left")
    for item in told:
        pictures.add_row(item.picture.name, item.picture.tenant, item.hidden, item.verified)
        for question, text, released in item.answers:
            answers.add_row(
                item.picture.name, escape(question), escape(text) if released else f"[red]{escape(text)}[/]"
            )
    # Stages down, pictures across: eleven columns of numbers do not fit into 80 characters.
    times = Table("ms", title="Milliseconds by stage (first question)", title_justify="left", padding=(0, 0))
    for item in told:
        times.add_column(item.picture.name.replace("-", "\n"), justify="right")
    for stage in (*STAGES, "total"):
        times.add_row(stage, *(f"{item.times.get(stage, 0):.0f}" for item in told))
    refused = Table("what was sent", "what the service said", title="Refusals", title_justify="left")
    for what, text in refusals:
        refused.add_row(what, escape(text))
    for table in (pictures, answers, times, refused):
        out.print(table)
        out.print()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
