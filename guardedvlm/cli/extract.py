"""`guardedvlm extract FILE --schema SCHEMA.json`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from guardedvlm.audit.facts import Method
from guardedvlm.cli import options
from guardedvlm.cli.files import receipt_writer, write_file
from guardedvlm.cli.local import connected, local_document
from guardedvlm.cli.output import out, print_facts, print_response
from guardedvlm.client import redacted_document
from guardedvlm.core.field_schema import MAX_CHARS, Record, parse_fields, pointer
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
    redacted: options.Redacted = None,
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
        with connected(server, token_file, ca, certificate, key) as client:
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
    async with local_document(file, policy_name, config, ledger, receipt) as document:
        request = document.request(Method.EXTRACT_FIELDS, want_image=want_image)
        found = await document.pipeline.extract(request, fields, document.sampling)
        extraction = translate.extraction(found, document.policy)
        document.receipt.redacted = redacted_document(extraction.redaction).content
    return extraction


def _show(found: pb.ExtractFieldsResponse, as_json: bool) -> None:
    if as_json:
        print_response(found)
        return
    value = json.loads(found.json)
    if out.is_terminal:
        out.print(_table(value, found))
    else:
        out.print_json(json.dumps(value))
    print_facts(found)


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
