"""What stands in the tables: released values, kinds, counts and ids. No file name, no box, no text of a refused page.

Both tables have one schema whatever they hold, so that parts of all runs can be read as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from guardedvlm.errors import GuardedVLMError, Internal, Reason
from guardedvlm.v1 import guard_pb2 as pb

Row = dict[str, Any]
_LEAD = re.compile(r"Pages? ([0-9]+(?:-[0-9]+)?(?:, [0-9]+(?:-[0-9]+)?)*): ")
"""The guard's own words before a page's answer (`guard.answers.named`); a page's answer is one line."""
_AUDIT_ID = re.compile(r"[0-9a-f]{32}")


class Verdict(StrEnum):
    """What became of a page that was cleared."""

    ANSWERED = "ANSWERED"
    CANNOT_TELL = "CANNOT_TELL"
    CUT_OFF = "CUT_OFF"  # the answer reached the policy's limit of tokens


@dataclass(frozen=True, slots=True)
class Answered:
    """A document that was answered: a row a page, and the signed receipt where it was asked for."""

    rows: tuple[Row, ...] = field(repr=False)
    receipt: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """A document that was not: why, and the receipt's id where the refusal is on record."""

    error: GuardedVLMError
    receipt_id: str = ""
    receipt: bytes = field(default=b"", repr=False)


Outcome = Answered | Failed


def answer_rows(document: str, analysis: pb.Analysis) -> tuple[Row, ...]:
    """A row for each page of an answered question. Raises Internal for an answer without pages, or whose id is none."""
    pages = len(analysis.redaction.pages)
    told = page_answers(analysis.answer, pages)
    rows = _rows(document, analysis, _limit(analysis.finish_reason))
    for row, answer in zip(rows, told, strict=True):
        row["answer"] = answer
        if not answer or analysis.finish_reason == pb.FINISH_REASON_CANNOT_TELL:
            row["verdict"] = Verdict.CANNOT_TELL.value
    return tuple(rows)


def field_rows(document: str, found: pb.ExtractFieldsResponse) -> tuple[Row, ...]:
    """A row for each page of a document whose fields were read; the object is the document's, in its first row.
    Raises as `answer_rows`."""
    rows = _rows(document, found, _limit(found.finish_reason))
    rows[0]["fields"] = found.json
    return tuple(rows)


def is_audit_id(name: str) -> bool:
    """Whether a peer's word has an audit id's form, so that a file may be named after it."""
    return _AUDIT_ID.fullmatch(name) is not None


def failure_row(document: str, failed: Failed, attempts: int) -> Row:
    """The row of a document that was not answered."""
    error = failed.error
    return {
        "document": document,
        "reason": error.reason.value,
        "code": error.code,
        "sentence": error.sentence,
        "details": ", ".join(f"{name}={value}" for name, value in error.details.items()),
        "receipt_id": failed.receipt_id,
        "attempts": attempts,
    }


def page_answers(text: str, pages: int) -> list[str]:
    """The part of a document's answer that speaks of each page, "" where none does.

    Where no page can tell, the guard says so once and without a page's number: that stands for all.
    """
    if pages == 1:
        return [text]
    answers = [""] * pages
    speaking: list[int] = list(range(pages))
    for line in text.splitlines():
        lead = _LEAD.match(line)
        if lead:
            speaking = [page for page in _numbers(lead[1]) if page < pages]
            line = line[lead.end() :]
        for page in speaking:
            answers[page] = f"{answers[page]}\n{line}" if answers[page] else line
    return answers


def _numbers(named: str) -> list[int]:
    """Pages (from 0) of "1-3, 7"."""
    runs = [part.partition("-") for part in named.split(", ")]
    return [page - 1 for first, _, last in runs for page in range(int(first), int(last or first) + 1)]


def _limit(finish: int) -> Verdict:
    if finish == pb.FINISH_REASON_CANNOT_TELL:
        return Verdict.CANNOT_TELL
    return Verdict.CUT_OFF if finish == pb.FINISH_REASON_LENGTH else Verdict.ANSWERED


def _rows(document: str, found: pb.Analysis | pb.ExtractFieldsResponse, verdict: Verdict) -> list[Row]:
    pages = found.redaction.pages
    if not pages or not is_audit_id(found.audit_id):
        raise Internal(Reason.INTERNAL)
    return [
        {
            "row": f"{document}-{page.page_index + 1:05d}",
            "document": document,
            "page": page.page_index + 1,
            "pages": len(pages),
            "verdict": verdict.value,
            "answer": None,
            "fields": None,
            "modified": found.screening.modified,
            "regions": _counts(page.counts),
            "residuals": _counts(page.verification.residuals),
            "passes": page.verification.passes,
            "width": page.width,
            "height": page.height,
            "picture_instructions": found.screening.picture_instructions,
            "model": found.model,
            "policy_digest": found.redaction.policy_digest,
            "receipt_id": found.audit_id,
        }
        for page in pages
    ]


def _counts(counts: Sequence[pb.KindCount]) -> Mapping[str, int]:
    return {item.kind: item.count for item in counts}
