"""`guardedvlm keys reidentify-init` and `guardedvlm reidentify`: the way back from labels, on the key holder's machine.

Nothing here talks to a service: what is opened stays on this terminal.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.cli.output import err, out
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.transport.reidentification import PRIVATE_KEY, PUBLIC_KEY, OpeningKey, write_pair

MAX_BYTES = 64 * 2**20
"""Of a response as JSON; the largest have a few MB of regions."""


def reidentify_init(
    folder: Annotated[Path, typer.Argument(help="Folder for the pair; made when it is not there.")],
) -> None:
    """Make the pair of keys for undoing labels: the public half goes into the tenants file, the private one nowhere.

    Example:

        guardedvlm keys reidentify-init records-office
    """
    public = write_pair(folder)
    out.print(f"private key   {folder / PRIVATE_KEY}  (keep it apart from the guard: whoever has it can undo labels)")
    out.print(f"public key    {folder / PUBLIC_KEY}  (id {public.id})")
    out.print("in the tenants file, under the tenant:")
    out.print(f'  reidentify_key: "{public}"', markup=False)


def reidentify(
    response: Annotated[
        Path,
        typer.Argument(
            help="What `ask --json --reidentify` printed, or a NAME.findings.json.", exists=True, dir_okay=False
        ),
    ],
    key: Annotated[Path, typer.Option("--key", help=f"The private key ({PRIVATE_KEY}).", exists=True, dir_okay=False)],
    answer: Annotated[bool, typer.Option("--answer", help="Print the answer with the labels undone instead.")] = False,
) -> None:
    """Open what a response's labels stand for, on this machine: JSON, label -> strings as they were read.

    Examples:

        guardedvlm reidentify response.json --key records-office/reidentify.key

        guardedvlm reidentify response.json --key records-office/reidentify.key --answer
    """
    found = read_response(response)
    labels = OpeningKey.load(key).open(found.box, found.request)
    if not answer:
        out.print_json(json.dumps(labels))
        return
    if not found.answer:
        err.print("the response has no answer")
    out.print(undone(found.answer, labels), markup=False)


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """What is needed of a response: its audit id, its answer ("" for a redaction) and its sealed map."""

    request: str
    answer: str
    box: bytes


def read_response(path: Path) -> Response:
    """The parts of a response in a JSON file. Raises InvalidInput(INPUT_UNREADABLE)."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MAX_BYTES))
        box = base64.b64decode(found["reidentification"]["sealed"], validate=True)
        return Response(str(found["audit_id"]), str(found.get("answer", "")), box)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


def undone(text: str, labels: Mapping[str, Sequence[str]]) -> str:
    """`text` with each label replaced by the longest string that was read there; unknown labels stay."""
    known = {label: read[0] for label, read in labels.items() if read}
    if not known:
        return text
    # The longest first: "DATE-A+14d" before "DATE-A".
    names = "|".join(re.escape(label) for label in sorted(known, key=len, reverse=True))
    return re.sub(rf"(?<![\w-])(?:{names})(?!\w|\+\d)", lambda found: known[found[0]], text)
