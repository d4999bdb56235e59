"""`guardedvlm ask IMAGE QUESTION`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from guardedvlm.audit.facts import Method, Stage
from guardedvlm.cli import options
from guardedvlm.cli.files import receipt_writer, write_file
from guardedvlm.cli.local import connected, local_document
from guardedvlm.cli.output import err, out, print_facts, print_response
from guardedvlm.cli.progress import asking
from guardedvlm.client import UPLOAD_ABOVE, Client, redacted_document
from guardedvlm.errors import Internal, Reason
from guardedvlm.guard.outcome import Answer, Progress
from guardedvlm.guard.pipeline import Question
from guardedvlm.rpc import translate
from guardedvlm.v1 import guard_pb2 as pb


def ask(
    image: Annotated[Path, typer.Argument(help="Picture, DICOM file or PDF.", exists=True, dir_okay=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.")],
    policy: options.PolicyName = "healthcare",
    redacted: options.Redacted = None,
    receipt: options.ReceiptFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole response as JSON.")] = False,
    reidentify: Annotated[
        bool,
        typer.Option("--reidentify", help="With --server and --json: bring what the labels stand for, sealed."),
    ] = False,
    seal_for: options.SealFor = None,
    server: options.Server = None,
    token_file: options.TokenFile = None,
    ca: options.Authority = None,
    certificate: options.Certificate = None,
    key: options.CertificateKey = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Ask a question about a document; only what the policy clears reaches the model. Pages are asked one by one.

    Examples:

        guardedvlm ask statement.png "What is the closing balance?" --policy finance

        guardedvlm ask scan.dcm "Which findings are listed?" --server guard.example:8443 --token-file token --ca ca.pem
    """
    _check_wishes(as_json, server, reidentify, seal_for)
    if server:
        with connected(server, token_file, ca, certificate, key) as client:
            analysis = _ask_server(client, image, question, redacted is not None, reidentify, receipt)
    else:
        analysis = asyncio.run(
            _ask_here(image, question, policy, redacted is not None, seal_for, config, ledger, receipt)
        )
    if redacted is not None:
        write_file(redacted, redacted_document(analysis.redaction).content)
    _show(analysis, as_json)


def _check_wishes(as_json: bool, server: str | None, reidentify: bool, seal_for: Path | None) -> None:
    """The key is the tenant's where a service is asked, and one's own where none is."""
    if (reidentify or seal_for) and not as_json:
        raise typer.BadParameter("what the labels stand for is a part of the response; add --json")
    if reidentify and not server:
        raise typer.BadParameter("--reidentify needs --server; without one, name a key with --reidentify-key")
    if seal_for and server:
        raise typer.BadParameter("--server seals for the key of its tenants file; use --reidentify")


def _ask_server(
    client: Client, image: Path, question: str, want_image: bool, reidentify: bool, receipt: Path | None
) -> pb.Analysis:
    """The service's answer; what fits into one message is streamed where somebody looks on."""
    content, got = image.read_bytes(), receipt_writer(receipt)
    if not err.is_terminal or len(content) > UPLOAD_ABOVE:
        return client.analyze(content, question, with_image=want_image, reidentify=reidentify, on_receipt=got)
    done: pb.Analysis | None = None
    with asking(image.name) as watcher:
        for event in client.stream(
            content, question, with_image=want_image, reidentify=reidentify, with_progress=True, on_receipt=got
        ):
            if event.HasField("progress"):
                told = event.progress
                watcher(Progress(Stage(told.stage), told.page, told.pages))
            if event.HasField("done"):
                done = event.done  # the receipt comes after it
    if done is None:
        raise Internal(Reason.INTERNAL)  # a stream ends with `done` or an error
    return done


async def _ask_here(
    image: Path,
    question: str,
    policy_name: str,
    want_image: bool,
    seal_for: Path | None,
    config: Path | None,
    ledger: Path | None,
    receipt: Path | None,
) -> pb.Analysis:
    async with local_document(image, policy_name, config, ledger, receipt) as document:
        request = document.request(Method.ANALYZE_IMAGE, want_image=want_image, seal_for=seal_for)
        asked = Question(question, sampling=document.sampling)
        async with aclosing(document.pipeline.analyze(request, asked)) as events:
            found = [event async for event in events]
        if not isinstance(found[-1], Answer):
            raise Internal(Reason.INTERNAL)
        analysis = translate.analysis(found[-1], document.policy)
        document.receipt.redacted = redacted_document(analysis.redaction).content
    return analysis


def _show(analysis: pb.Analysis, as_json: bool) -> None:
    if as_json:
        print_response(analysis)
    else:
        out.print(escape(analysis.answer))
        print_facts(analysis)
