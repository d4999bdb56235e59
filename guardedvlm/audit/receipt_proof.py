"""Check a receipt, offline: a numbered proof. Each step holds, is broken, or says why it was not checked.

  1. it is a receipt: one DSSE envelope with a statement of the closed schema, both in canonical form;
  2. it is signed by one of the given keys, under the id that it names;
  3. that key was in force when the receipt was issued, and that was soon after the request ended;
  4. the given picture is the one that came in;
  5. the given redacted file is the one that went out;
  6. the given pixels are those that were cleared;
  7. the given ledger has its closing record, at its place and with its hash, or pruned it when its time was over;
  8. that ledger's records say of the request what the receipt says;
  9. that ledger's chain holds up to this record.

Where one of the first two is broken, nothing else is looked at: what is not authentic says nothing. Without keys
nothing is authenticated, and a proof without that is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.keys import PublicKey, PublicKeys, UnknownKey, WrongSignature
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.prunings import verify_log
from guardedvlm.audit.receipt import CHUNK_BYTES, Of, Receipt, Recorded, Statement
from guardedvlm.audit.record import Record, record_hash
from guardedvlm.audit.remains import read_pruned
from guardedvlm.audit.retention import days_kept
from guardedvlm.audit.segment import list_segments, log_called, read_lines
from guardedvlm.errors import ConfigurationError, Reason

SLACK = timedelta(minutes=5)
"""Between the clock of who rotates keys and that of who signs."""
REMEMBERED = timedelta(minutes=10)
"""How long a response is remembered, and gets a receipt of its own when it is asked for again (`rpc.replay`)."""
UNSEEN = (
    "A receipt shows what was recorded of this request. That the request was treated so, and that what it names as "
    "detectors were those, is the word of who held the key."
)


class Finding(StrEnum):
    """What became of a step."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the proof; `told` says what was found, or why nothing was looked at."""

    number: int
    claim: str
    finding: Finding
    told: str


@dataclass(frozen=True, slots=True)
class Given:
    """What there is to check a receipt with. `pages`: raster digests (hex) of the redacted file's pixels; None where
    they cannot be told exactly."""

    keys: PublicKeys | None = None
    image: Path | None = None
    redacted: Path | None = None
    pages: Sequence[str] | None = None
    ledger: Path | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """All steps, and the receipt where the file is one."""

    steps: tuple[Step, ...]
    receipt: Receipt | None

    @property
    def holds(self) -> bool:
        """Whether it is authentic and nothing is broken. What was not checked is not part of it."""
        findings = [step.finding for step in self.steps]
        return findings[:2] == [Finding.HOLDS] * 2 and Finding.BROKEN not in findings


CLAIMS = (
    "this is a receipt",
    "one of the keys signed it",
    "that key was in force",
    "the picture is what came in",
    "the redacted file is what went out",
    "its pixels are what was cleared",
    "the ledger has its record",
    "the ledger says the same",
    "the ledger's chain is whole up to there",
)

_Found = tuple[Finding, str]


def prove(content: bytes, given: Given) -> Proof:
    """The proof for a receipt's bytes. Raises ConfigurationError(INPUT_UNREADABLE) for a given file or ledger that
    cannot be read."""
    try:
        receipt = Receipt.decode(content)
    except ValueError:
        return Proof(
            _numbered([(Finding.BROKEN, "not one, or changed: a byte differs from the one form it may have")]), None
        )
    steps = [(Finding.HOLDS, f"audit id {receipt.statement.audit_id}")]
    signed, key = _signature(receipt, given.keys)
    steps.append(signed)
    if key is not None:
        statement = receipt.statement
        steps += [_in_force(statement, key), _image(statement, given), _redacted(statement, given)]
        steps += [_pixels(statement, given), *_ledger(statement, given.ledger)]
    return Proof(_numbered(steps), receipt)


def _numbered(found: Iterable[_Found]) -> tuple[Step, ...]:
    rest: Iterator[_Found] = iter(found)
    nothing = Finding.NOT_CHECKED, "the receipt itself is not authentic"
    return tuple(Step(number, claim, *next(rest, nothing)) for number, claim in enumerate(CLAIMS, 1))


def _signature(receipt: Receipt, keys: PublicKeys | None) -> tuple[_Found, PublicKey | None]:
    key_id = receipt.signature.key_id
    if keys is None:
        return (Finding.NOT_CHECKED, "no public keys were given, so anybody may have written it"), None
    try:
        key = keys.verify(receipt.message, receipt.signature)
    except UnknownKey:
        return (Finding.BROKEN, f"it names the key {key_id}, which is not among those given"), None
    except WrongSignature:
        return (Finding.BROKEN, f"it is not by the key {key_id}, or was changed after it was signed"), None
    state = f"retired {key.retired}" if key.retired else "active"
    return (Finding.HOLDS, f"by the key {key_id}, {state}"), key


def _in_force(statement: Statement, key: PublicKey) -> _Found:
    issued = datetime.fromisoformat(statement.issued)
    if issued + SLACK < datetime.fromisoformat(key.created):
        return Finding.BROKEN, f"it was issued at {statement.issued}, before the key was made at {key.created}"
    if key.retired and issued - SLACK > datetime.fromisoformat(key.retired):
        return Finding.BROKEN, f"it was issued at {statement.issued}, after the key was retired at {key.retired}"
    if issued > datetime.fromisoformat(statement.ended) + REMEMBERED + SLACK:
        return Finding.BROKEN, f"it was issued at {statement.issued}, long after the request ended at {statement.ended}"
    return Finding.HOLDS, f"it was issued at {statement.issued}"


def _image(statement: Statement, given: Given) -> _Found:
    if given.image is None:
        return Finding.NOT_CHECKED, "no picture was given (--image)"
    if _file_commitment(statement, Of.INPUT, given.image) != statement.input.commitment:
        return Finding.BROKEN, f"it is another file; the one that came in had {statement.input.bytes} bytes"
    return Finding.HOLDS, f"{statement.input.bytes} bytes"


def _redacted(statement: Statement, given: Given) -> _Found:
    if given.redacted is None:
        return Finding.NOT_CHECKED, "no redacted file was given (--redacted)"
    if statement.redacted is None:
        return Finding.BROKEN, "no redacted file went out with this response"
    if _file_commitment(statement, Of.REDACTED, given.redacted) != statement.redacted.commitment:
        return Finding.BROKEN, f"it is another file; the one that went out had {statement.redacted.bytes} bytes"
    return Finding.HOLDS, f"{statement.redacted.bytes} bytes"


def _pixels(statement: Statement, given: Given) -> _Found:
    """Only what a model did not see in a size of its own can be compared: a difference is no proof of anything."""
    if given.redacted is None or statement.cleared is None:
        return Finding.NOT_CHECKED, "no redacted file was given (--redacted)" if statement.cleared else "none were"
    if given.pages is None:
        return Finding.NOT_CHECKED, "of PNG and TIFF files only can the pixels be compared one by one"
    same = statement.commitment(Of.CLEARED, map(bytes.fromhex, given.pages)) == statement.cleared.commitment
    if same:
        return Finding.HOLDS, f"{statement.cleared.pages} page(s)"
    if statement.model is None:
        return Finding.BROKEN, "they are others"
    return Finding.NOT_CHECKED, "they are others: the model may have got the pages in a size of its own"


def _ledger(statement: Statement, ledger: Path | None) -> list[_Found]:
    if ledger is None:
        return [(Finding.NOT_CHECKED, "no ledger was given (--ledger)")] * 3
    position = statement.position
    logs = [folder for folder in list_logs(ledger) if log_called(folder) == position.log]
    if not logs:
        return [(Finding.BROKEN, f"it has no log called {position.log}")] + [_NO_RECORD] * 2
    folder = logs[0]
    records = _records(folder, statement.audit_id)
    at = next((record for record in records if record.sequence == position.sequence), None)
    if at is None:
        return [_gone(statement, ledger, folder)] + [_NO_RECORD] * 2
    if record_hash(at.encode()) != position.record_hash or at.origin != position.origin:
        return [(Finding.BROKEN, f"record {position.sequence} is another one")] + [_NO_RECORD] * 2
    place = f"record {position.sequence} of the log {position.log}"
    return [(Finding.HOLDS, place), _said(statement, records), _chain(ledger, folder, position.sequence)]


_NO_RECORD: _Found = Finding.NOT_CHECKED, "there is no record to check it with"


def _gone(statement: Statement, ledger: Path, folder: Path) -> _Found:
    """A record that is not there must have been pruned, and not before its time."""
    sequence, pruned, days = statement.position.sequence, read_pruned(folder), days_kept(folder.name)
    if pruned is None or sequence >= pruned.end or days is None:
        return Finding.BROKEN, f"no record {sequence} of this request"
    told = f"the records before {pruned.end} were pruned"
    due = datetime.fromisoformat(statement.ended) + timedelta(days=days)
    if due > datetime.now(UTC):
        return Finding.BROKEN, f"{told}, and this one is to stay until {due:%Y-%m-%d}"
    if statement.ended > pruned.until:
        return Finding.BROKEN, f"{told}, which are said to end at {pruned.until}"
    report = verify_log(ledger, folder)
    if report.flaw is Flaw.UNTOLD:
        return Finding.BROKEN, f"the records before {pruned.end} are gone, and no pruning that was due tells of it"
    return Finding.NOT_CHECKED, told


def _said(statement: Statement, records: Sequence[Record]) -> _Found:
    """A receipt is a projection of the records, so it is made again."""
    try:
        again = Recorded.of(records, statement.position.log)
    except ValueError:
        return Finding.BROKEN, "its records do not make a request that is over"
    told = statement.recorded()
    others = [name for name in Recorded.model_fields if getattr(again, name) != getattr(told, name)]
    if others:
        return Finding.BROKEN, f"it says something else of: {', '.join(others)}"
    return Finding.HOLDS, f"{len(records)} records"


def _chain(ledger: Path, folder: Path, sequence: int) -> _Found:
    report = verify_log(ledger, folder)
    if report.broken_at is not None and report.broken_at <= sequence:
        return Finding.BROKEN, f"{report.flaw} at record {report.broken_at}, {report.place}"
    return Finding.HOLDS, f"records 0 to {sequence}"


def _records(folder: Path, request: str) -> tuple[Record, ...]:
    """A request's records, by a look for its id in each line before one is read. A line that is none is missing here,
    and breaks the chain."""
    found = []
    wanted = request.encode("ascii")
    for segment in list_segments(folder):
        for line in read_lines(segment):
            if wanted in line.content and line.complete:
                with suppress(ValueError):
                    found.append(Record.decode(line.content))
    return tuple(record for record in found if record.request == request)


def _file_commitment(statement: Statement, of: Of, path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return statement.commitment(of, iter(lambda: stream.read(CHUNK_BYTES), b""))
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="a given file cannot be read") from None
