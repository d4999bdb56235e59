"""What leaves the guard: released values only. Everything here has passed verification or the screen."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from guardedvlm.audit.facts import Stage
from guardedvlm.core.finding import Kind, Region
from guardedvlm.core.ports import Evidence, FinishReason
from guardedvlm.core.region import Raster, Size
from guardedvlm.guard.image import DicomHeader, Format
from guardedvlm.transport.reidentification import Sealed


@dataclass(frozen=True, slots=True)
class RedactedFile:
    """A redacted page as a file."""

    format: Format
    content: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """Its registered media type."""
        return "application/dicom" if self.format is Format.DICOM else "image/png"


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """One redacted page. `file` is None unless it was asked for; its pixels were verified at their own geometry."""

    index: int
    size: Size  # of the source page
    regions: tuple[Region, ...]
    passes: int
    residuals: Mapping[Kind, int]
    verified: Size
    file: RedactedFile | None = None

    def counts(self) -> Counter[Kind]:
        """Number of hidden regions by kind."""
        return Counter(region.kind for region in self.regions)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What was hidden. `times` are milliseconds by stage."""

    pages: tuple[PageOutcome, ...]
    policy_digest: str
    audit_id: str
    times: Mapping[Stage, int]
    sealed: Sealed | None = None  # what the labels stand for, where it was asked for and allowed

    def sealed_labels(self) -> dict[str, int]:
        """The fact that a record tells of it: how many labels may be undone; nothing where nobody asked."""
        return {} if self.sealed is None else {"sealed_labels": self.sealed.labels}


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer; `text` is all that was released."""

    text: str = field(repr=False)
    finish: FinishReason
    redaction: Redaction
    evidence: tuple[Evidence, ...]
    edits: Mapping[Kind, int]
    input_tokens: int
    output_tokens: int
    model: str
    times: Mapping[Stage, int]


def redacted_file(raster: Raster, header: DicomHeader | None) -> RedactedFile:
    """A verified (H, W, 3) raster as the file that its source was: DICOM where there is a `header` of one, else PNG."""
    # A PDF that a DICOM file encapsulates is no picture of that file.
    if header is not None and not header.is_pdf:
        from guardedvlm.guard.files.dicom import redacted_dicom  # half a second that no other document needs

        return RedactedFile(Format.DICOM, redacted_dicom([raster], header))
    return RedactedFile(Format.PNG, _png(raster))


def _png(raster: Raster) -> bytes:
    """PNG without metadata."""
    buffer = io.BytesIO()
    # Level 1: a 4 MP page in 0.2 s instead of 1.5 s, for a file that is a tenth larger.
    Image.fromarray(raster, "RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
