"""`guardedvlm ask IMAGE QUESTION`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.markup import escape

from guardedvlm.app import running_guard
from guardedvlm.audit.facts import Method, Stage
from guardedvlm.cli import options
from guardedvlm.cli.files import receipt_writer, receipted, write_file
from guardedvlm.cli.local import find_policy, local_request, local_settings, read_document
from guardedvlm.cli.output import counted, err, out
from guardedvlm.cli.progress import asking
from guardedvlm.client import UPLOAD_ABOVE, Client, redacted_document
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import Internal, Reason
from guardedvlm.guard.outcome import Answer, Progress
from guardedvlm.guard.pipeline import Question
from guardedvlm.rpc import translate
from guardedvlm.v1 import guard_pb2 as pb


def ask(
    image: Annotated[Path, typer.Argument(help="Picture, DICOM file or PDF.", exists=True, dir_okay=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.")],
    policy: options.PolicyName = "healthcare",
    redacted: Annotated[
        Path | None,
        typer.Option(
            "--redacted", help="Also write the redacted document here: PNG, PDF, DICOM, or TIFF of other pages."
        ),
    ] = None,
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
        token = token_file.read_text().strip() if token_file else ""
        with Client(server, token=token, ca=ca, certificate=certificate, key=key) as client:
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
    settings = local_settings(config, ledger)
    policy = find_policy(policy_name, settings)
    raw = read_document(image, policy)
    with err.status("loading the detectors"):
        process = running_guard(settings)
        guard = await process.__aenter__()
    try:
        async with receipted(guard, raw, receipt) as made:
            with asking(image.name) as watcher:
                request = local_request(
                    raw,
                    policy,
                    Method.ANALYZE_IMAGE,
                    want_image=want_image,
                    seal_for=seal_for,
                    watcher=watcher,
                    closed=made.note,
                )
                sampling = Sampling(max_tokens=policy.say.max_tokens)
                async with aclosing(guard.pipeline.analyze(request, Question(question, sampling=sampling))) as events:
                    found = [event async for event in events]
            if not isinstance(found[-1], Answer):
                raise Internal(Reason.INTERNAL)
            analysis = translate.analysis(found[-1], policy)
            made.redacted = redacted_document(analysis.redaction).content
            return analysis
    finally:
        await process.__aexit__(None, None, None)


def _show(analysis: pb.Analysis, as_json: bool) -> None:
    if as_json:
        shown = MessageToDict(analysis, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        # The redacted document goes into a file, with --redacted.
        shown["redaction"].pop("document", None)
        for page in shown["redaction"]["pages"]:
            del page["content"]
        out.print_json(json.dumps(shown))
        return
    out.print(escape(analysis.answer))
    pages = analysis.redaction.pages
    hidden = counted(sum((Counter({item.kind: item.count for item in page.counts}) for page in pages), Counter()))
    most = max(page.verification.passes for page in pages)
    passes = f"{most} pass" + ("es" if most > 1 else "")
    err.print(
        f"[dim]hidden: {hidden}; verified in {passes}; model {escape(analysis.model)}; audit {analysis.audit_id}[/]"
    )
