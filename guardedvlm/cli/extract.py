"""`guardedvlm extract FILE --schema SCHEMA.json`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.markup import escape
from rich.table import Table

from guardedvlm.app import running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.cli import options
from guardedvlm.cli.files import receipt_writer, receipted, write_file
from guardedvlm.cli.local import find_policy, local_request, local_settings, read_document
from guardedvlm.cli.output import counted, err, out
from guardedvlm.cli.progress import asking
from guardedvlm.client import Client, redacted_document
from guardedvlm.core.field_schema import MAX_CHARS, Record, parse_fields, pointer
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.rpc import translate
from guardedvlm.v1 import guard_pb2 as pb


def extract(
    file: Annotated[Path, typer.Argument(help="Picture, DICOM file or PDF.", exists=True, dir_okay=False)],
    schema: Annotated[
        Path, typer.Option("--schema", "-s", help="JSON Schema of the wanted object.", exists=True, dir_okay=False)
    ],
    policy: options.PolicyName = "healthcare",
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the object here, as JSON.")] = None,
    redacted: Annotated[
        Path | None,
        typer.Option(
            "--redacted", help="Also write the redacted document here: PNG, PDF, DICOM, or TIFF of other pages."
        ),
    ] = None,
    receipt: options.ReceiptFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole response as JSON: boxes, confidences, what was hidden.")
    ] = False,
    server: options.Server = None,
    token_file: options.TokenFile = None,
    ca: options.Authority = None,
    certificate: options.Certificate = None,
    key: options.CertificateKey = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Read the fields of a document that a JSON Schema names; what is printed is valid against it.

    A terminal gets a table, a pipe the object. What the policy hides is a label, a mask or null; a required field that
    cannot be told is an error, never an invented value.

    Examples:

        guardedvlm extract receipt.png --schema receipt.json --policy finance

        guardedvlm extract receipt.png --schema receipt.json --server guard.example:8443 --token-file token --ca ca.pem
    """
    text = _schema_text(schema)
    fields = parse_fields(text)  # told before any detector is loaded
    if server:
        token = token_file.read_text().strip() if token_file else ""
        with Client(server, token=token, ca=ca, certificate=certificate, key=key) as client:
            got = receipt_writer(receipt)
            found = client.extract(file.read_bytes(), text, with_image=redacted is not None, on_receipt=got)
    else:
        found = asyncio.run(_extract_here(file, fields, policy, redacted is not None, config, ledger, receipt))
    if redacted is not None:
        write_file(redacted, redacted_document(found.redaction).content)
    if to is not None:
        write_file(to, f"{json.dumps(json.loads(found.json), ensure_ascii=False, indent=2)}\n".encode())
    _show(found, as_json)


def _schema_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


async def _extract_here(
    file: Path,
    fields: Record,
    policy_name: str,
    want_image: bool,
    config: Path | None,
    ledger: Path | None,
    receipt: Path | None,
) -> pb.ExtractFieldsResponse:
    settings = local_settings(config, ledger)
    policy = find_policy(policy_name, settings)
    raw = read_document(file, policy)
    with err.status("loading the detectors"):
        process = running_guard(settings)
        guard = await process.__aenter__()
    try:
        async with receipted(guard, raw, receipt) as made:
            with asking(file.name) as watcher:
                request = local_request(
                    raw, policy, Method.EXTRACT_FIELDS, want_image=want_image, watcher=watcher, closed=made.note
                )
                found = await guard.pipeline.extract(request, fields, Sampling(max_tokens=policy.say.max_tokens))
            extraction = translate.extraction(found, policy)
            made.redacted = redacted_document(extraction.redaction).content
            return extraction
    finally:
        await process.__aexit__(None, None, None)


def _show(found: pb.ExtractFieldsResponse, as_json: bool) -> None:
    value = json.loads(found.json)
    if as_json:
        shown = MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        # The redacted document goes into a file, with --redacted.
        shown["redaction"].pop("document", None)
        for page in shown["redaction"]["pages"]:
            del page["content"]
        out.print_json(json.dumps(shown))
        return
    if out.is_terminal:
        out.print(_table(value, found))
    else:
        out.print_json(json.dumps(value))
    pages = found.redaction.pages
    hidden = counted(sum((Counter({item.kind: item.count for item in page.counts}) for page in pages), Counter()))
    err.print(f"[dim]hidden: {hidden}; model {escape(found.model)}; audit {found.audit_id}[/]")


def _table(value: dict[str, Any], found: pb.ExtractFieldsResponse) -> Table:
    """One row for each value that was read, and one for each property of which nothing was."""
    told = {field.pointer: field for field in found.fields}
    table = Table("field", "value", "confidence", "in the picture")
    for place, leaf in _leaves(value, ()):
        named = pointer(place)
        field = told.get(named)
        confidence = f"{field.confidence:.2f}" if field and field.HasField("confidence") else ""
        table.add_row(escape(named[1:]), escape("" if leaf is None else str(leaf)), confidence, _ground(field))
    return table


def _ground(field: pb.ExtractedField | None) -> str:
    if field is None:
        return ""
    return "hidden" if field.hidden else "yes" if field.grounded else "no"


def _leaves(value: Any, place: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    """Values by their places."""
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for part, inner in inside for leaf in _leaves(inner, (*place, part))]
    return [(place, value)]
