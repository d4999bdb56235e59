"""What leaves the guard: released values only. Everything here has passed verification or the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from guardedvlm.audit.facts import Stage
from guardedvlm.core.finding import Kind, Region
from guardedvlm.core.grounding import GroundedSpan, Place
from guardedvlm.core.ports import Evidence, FinishReason
from guardedvlm.core.region import Raster, Size
from guardedvlm.guard.files.pdf import redacted_pdf
from guardedvlm.guard.files.raster import redacted_png, redacted_tiff
from guardedvlm.guard.image import DicomHeader, Format, Resolution
from guardedvlm.transport.reidentification import Sealed

PAPER_DPI = (200.0, 200.0)
"""Of a PDF page whose resolution is not known: the one at which pages are rendered."""
MEDIA_TYPES = {
    Format.PNG: "image/png",
    Format.TIFF: "image/tiff",
    Format.DICOM: "application/dicom",
    Format.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is: `done` of its `pages` pages have gone through `stage` (decode, read, verify, infer)."""

    stage: Stage
    done: int
    pages: int


Watcher = Callable[[Progress], None]
"""Learns how far a request is. It neither waits nor raises."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the redacted file must know of the document: its format, the pages' resolutions, and of a DICOM file what
    may go on."""

    format: Format
    dpi: tuple[Resolution | None, ...]
    header: DicomHeader | None = None

    @property
    def is_pdf(self) -> bool:
        """Whether the pages are those of a PDF, also one that a DICOM file encapsulates."""
        return self.format is Format.PDF or (self.header is not None and self.header.is_pdf)


@dataclass(frozen=True, slots=True)
class RedactedFile:
    """A redacted document as a file, with all of its pages."""

    format: Format
    content: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """Its registered media type."""
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """One redacted page."""

    index: int
    size: Size  # of the source page
    regions: tuple[Region, ...]
    passes: int
    residuals: Mapping[Kind, int]
    verified: Size

    def counts(self) -> Counter[Kind]:
        """Number of hidden regions by kind."""
        return Counter(region.kind for region in self.regions)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What was hidden. `times` are milliseconds by stage. `file` is None unless it was asked for; its pixels were
    verified at their own geometry."""

    pages: tuple[PageOutcome, ...]
    policy_digest: str
    audit_id: str
    times: Mapping[Stage, int]
    sealed: Sealed | None = None  # what the labels stand for, where it was asked for and allowed
    file: RedactedFile | None = None

    def counts(self) -> Counter[Kind]:
        """Number of hidden regions of all pages by kind."""
        return sum((page.counts() for page in self.pages), Counter())

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
    grounding: tuple[GroundedSpan, ...]
    instructions: int  # texts of the picture that instruct the model
    input_tokens: int
    output_tokens: int
    model: str
    times: Mapping[Stage, int]


@dataclass(frozen=True, slots=True)
class ExtractedField:
    """One value of an extracted object.

    `places`: where the cleared words show it, else where the engine read it. `grounded`: it all stands in the cleared
    words. `hidden`: the value is a label or a mask, or null in place of one.
    """

    pointer: str = field(repr=False)
    places: tuple[Place, ...]
    confidence: float | None
    grounded: bool
    hidden: bool


@dataclass(frozen=True, slots=True)
class Extraction:
    """Extracted fields; the answer's text is the object as JSON, valid against the caller's schema."""

    answer: Answer
    fields: tuple[ExtractedField, ...]


def redacted_file(rasters: Sequence[Raster], source: Source) -> RedactedFile:
    """All pages' verified (H, W, 3) rasters as the document that they came from: PDF of a PDF, DICOM of a DICOM
    picture, else PNG of one page and TIFF of several."""
    if source.is_pdf:
        return RedactedFile(
            Format.PDF, redacted_pdf([*zip(rasters, (dpi or PAPER_DPI for dpi in source.dpi), strict=True)])
        )
    if source.header is not None:
        from guardedvlm.guard.files.dicom import redacted_dicom  # half a second that no other document needs

        return RedactedFile(Format.DICOM, redacted_dicom(rasters, source.header))
    if len(rasters) == 1:
        return RedactedFile(Format.PNG, redacted_png(rasters[0]))
    return RedactedFile(Format.TIFF, redacted_tiff(rasters))
