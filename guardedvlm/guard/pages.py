"""The pages of one document: all are found before any is redacted, and all are verified before any may leave.

    DecodedImage -> Document -find-> Found -clear-> ClearedDocument

What is found on one page counts for all: a person has one label, and an identifier is hidden wherever it is read.
Equal pages are looked at and redacted once. A raster is let go as soon as nothing is made of it any more; together
the decoded ones hold no more pixels than `guard.decode.budget` allows a document.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from guardedvlm.audit.facts import Stage
from guardedvlm.core.clearance import ClearedImage
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Geometry, Raster, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import Internal, Reason, Refused
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.detect.personal.elsewhere import code_of, known_elsewhere
from guardedvlm.guard.detect.quads import covers, shape
from guardedvlm.guard.image import DecodedImage, Secret
from guardedvlm.guard.outcome import PageOutcome, RedactedFile, Redaction, Source, redacted_file
from guardedvlm.guard.redact import Labels
from guardedvlm.guard.run import Look, Run
from guardedvlm.guard.verify import Cleared
from guardedvlm.policy.model import Mode, Policy

T = TypeVar("T")


class Sheet:
    """One picture of a document, and the pages (from 0, in order) that show it pixel for pixel."""

    def __init__(self, raster: Raster) -> None:
        self.size = Size.of(raster)
        self.pages: list[int] = []
        self._raster: Raster | None = raster

    def __repr__(self) -> str:
        return f"Sheet({self.size.width} x {self.size.height}, {len(self.pages)} pages)"

    @property
    def raster(self) -> Raster:
        """Its pixels. Raises Internal after `let_go`."""
        if self._raster is None:
            raise Internal(Reason.INTERNAL)
        return self._raster

    def let_go(self) -> None:
        """The pixels are not needed any more."""
        self._raster = None


@dataclass(frozen=True, slots=True)
class Document:
    """The pictures of a document in the order of their first pages."""

    sheets: tuple[Sheet, ...]
    pages: int
    source: Source

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Of all pages in their order."""
        sizes = {page: sheet.size for sheet in self.sheets for page in sheet.pages}
        return tuple(sizes[page] for page in sorted(sizes))

    @classmethod
    def of(cls, decoded: DecodedImage) -> Document:
        """Bring equal pages together."""
        sheets: dict[tuple[Size, bytes], Sheet] = {}
        for page in decoded.pages:
            # Stays in memory: a digest of raw pixels is not written down anywhere.
            key = page.size, hashlib.sha256(page.raster.data.cast("B")).digest()
            sheets.setdefault(key, Sheet(page.raster)).pages.append(page.index)
        source = Source(decoded.format, tuple(page.dpi for page in decoded.pages), decoded.header)
        return cls(tuple(sheets.values()), len(decoded.pages), source)


@dataclass(frozen=True, slots=True)
class FoundSheet:
    """Everything found on a sheet, what of it stays visible, and the strings that its verification looks for."""

    sheet: Sheet
    findings: tuple[Finding, ...] = field(repr=False)
    words: tuple[Word, ...] = field(repr=False)
    known: tuple[Secret, ...] = field(repr=False)
    lines: tuple[TextLine, ...] = field(default=(), repr=False)  # as they were read


@dataclass(frozen=True, slots=True)
class Found:
    """Everything found in a document, and the labels of this request."""

    sheets: tuple[FoundSheet, ...]
    labels: Labels

    @property
    def findings(self) -> Iterator[Finding]:
        """Of all sheets."""
        return (finding for sheet in self.sheets for finding in sheet.findings)

    def kept(self, policy: Policy) -> list[tuple[Size, Finding]]:
        """What was found and stays, once for each page that shows it, with the page's size."""
        return [
            (sheet.sheet.size, finding)
            for sheet in self.sheets
            for finding in sheet.findings
            if not policy.hides(finding.kind)
            for _ in sheet.sheet.pages
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A cleared picture as the engine gets it, and the pages (from 0, in order) that it stands for."""

    image: ClearedImage
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClearedDocument:
    """Every page redacted and verified. `own` are the pages at their own sizes, where the redacted document was asked
    for and until it is made."""

    outcomes: tuple[PageOutcome, ...]
    images: tuple[ClearedImage, ...]  # one a page, in the engine's geometry
    own: list[ClearedImage]
    residuals: tuple[Finding, ...] = field(repr=False)
    words: tuple[tuple[Word, ...], ...] = field(default=(), repr=False)  # cleared ones, one tuple a page, of `images`

    @property
    def digests(self) -> list[str]:
        """Raster digest of each page."""
        return [image.digest for image in self.images]

    def shown(self) -> list[Shown]:
        """What is asked about: each different picture once, in the order of the pages."""
        images = {image.digest: image for image in reversed(self.images)}
        pages: dict[str, list[int]] = {}
        for index, digest in enumerate(self.digests):
            pages.setdefault(digest, []).append(index)
        return [Shown(images[digest], tuple(indexes)) for digest, indexes in pages.items()]


async def find(run: Run, document: Document) -> Found:
    """Look at every sheet with every detector; one that fails refuses the request.

    Raises Refused(KIND_REFUSED) where the policy refuses a document for what was found.
    """
    looks: list[Look] = []
    seen = 0
    for sheet in document.sheets:
        looks.append(await run.look(sheet.raster))
        seen += len(sheet.pages)
        run.tell(Stage.READ, seen, document.pages)
    _check_admissible((finding for look in looks for finding in (*look.personal, *look.visual)), run.policy)
    hidden = [finding for look in looks for finding in look.personal if run.policy.hides(finding.kind)]
    told = tuple(Secret(*known) for known in known_elsewhere(hidden))
    if len(looks) == 1 and run.policy.text.mode is Mode.STRICT:
        told = ()  # there is no other page, and what no rule names is hidden anyway
    found = [await _found(run, sheet, look, told) for sheet, look in zip(document.sheets, looks, strict=True)]
    _check_admissible((finding for sheet in found for finding in sheet.findings), run.policy)
    labels = await asyncio.to_thread(Labels, [finding for sheet in found for finding in sheet.findings], run.policy)
    return Found(tuple(found), labels)


async def _found(run: Run, sheet: Sheet, look: Look, told: tuple[Secret, ...]) -> FoundSheet:
    """A sheet's findings, with what the document tells of it."""
    known, personal = (*run.secrets, *told), look.personal
    if told:
        personal = together(look.personal, await run.personal(look.lines, sheet.size, known), told, run.policy)
    seen = (*personal, *look.visual)
    cleared = await asyncio.to_thread(clear_text, look.lines, seen, run.policy, sheet.size)
    findings = tuple(replace(finding, page=sheet.pages[0]) for finding in (*seen, *cleared.findings))
    return FoundSheet(sheet, findings, cleared.visible, known, look.lines)


def together(
    first: Sequence[Finding], second: Sequence[Finding], told: Sequence[Secret], policy: Policy
) -> tuple[Finding, ...]:
    """The findings of a page, and what the search for the document's secrets adds: it never takes one away.

    An identifier that is the same character by character gets the document's one kind, and so one label; not where
    that would give back what the policy does not.
    """
    kinds = {code_of(secret.text): secret.kind for secret in told if secret.kind is not Kind.PERSON}
    given = policy.say.reidentify

    def alike(finding: Finding) -> Finding:
        kind = kinds.get(code_of(finding.secret), finding.kind)
        allowed = policy.hides(finding.kind) and (kind not in given or finding.kind in given)
        return replace(finding, kind=kind) if allowed else finding

    hidden = [shape(finding) for finding in first if policy.hides(finding.kind)]
    added = [f for f in second if policy.hides(f.kind) and not covers(hidden, shape(f))]
    return (*map(alike, first), *added)


def _check_admissible(findings: Iterable[Finding], policy: Policy) -> None:
    """Raise Refused(KIND_REFUSED) for the first kind by name that the policy does not take in a document."""
    met = policy.refused & {finding.kind for finding in findings}
    if met:
        raise Refused(Reason.KIND_REFUSED, kind=min(met).value)


async def clear(run: Run, document: Document, found: Found, geometry: Geometry | None) -> ClearedDocument:
    """Redact and verify page by page in `geometry` (None = their own). Raises Refused(RESIDUAL_FOUND).

    Where the redacted document was asked for and `geometry` changes a page's size, that page is verified at both.
    """
    outcomes: dict[int, PageOutcome] = {}
    images: dict[int, ClearedImage] = {}
    own: dict[int, ClearedImage] = {}
    words: dict[int, tuple[Word, ...]] = {}
    residuals: list[Finding] = []
    for seen in found.sheets:
        cleared = await _cleared(run, seen, found.labels, geometry)
        _check_admissible(cleared.residuals, run.policy)  # what only the verifiers saw was there all the same
        residuals += cleared.residuals
        outcomes |= {page: _outcome(page, cleared) for page in seen.sheet.pages}
        images |= dict.fromkeys(seen.sheet.pages, cleared.image)
        words |= dict.fromkeys(seen.sheet.pages, cleared.words)
        if run.request.want_image:
            if cleared.image.size != seen.sheet.size:
                cleared = await _cleared(run, seen, found.labels, None)
                _check_admissible(cleared.residuals, run.policy)
                residuals += cleared.residuals
            own |= dict.fromkeys(seen.sheet.pages, cleared.image)
        seen.sheet.let_go()
        run.tell(Stage.VERIFY, len(images), document.pages)
    return ClearedDocument(_ordered(outcomes), _ordered(images), [*_ordered(own)], tuple(residuals), _ordered(words))


async def _cleared(run: Run, seen: FoundSheet, labels: Labels, geometry: Geometry | None) -> Cleared:
    return await run.clear(seen.sheet.raster, seen.findings, seen.words, labels, geometry, seen.known)


def _outcome(page: int, cleared: Cleared) -> PageOutcome:
    return PageOutcome(
        index=page,
        size=cleared.redacted.source,
        regions=tuple(replace(region, page=page) for region in cleared.redacted.regions),
        passes=cleared.report.passes,
        residuals=dict(cleared.report.residuals),
        verified=cleared.image.size,
    )


def _ordered(by_page: dict[int, T]) -> tuple[T, ...]:
    return tuple(by_page[page] for page in sorted(by_page))


async def redaction(run: Run, document: Document, found: Found, cleared: ClearedDocument) -> Redaction:
    """What the caller gets to know of the redaction, with the redacted document where it was asked for."""
    file: RedactedFile | None = None
    if run.request.want_image:
        rasters = [image.raster for image in cleared.own]
        file = await asyncio.to_thread(redacted_file, rasters, document.source)
        cleared.own.clear()
    return Redaction(
        cleared.outcomes, run.policy.digest(), run.log.request, dict(run.times), run.sealed(found.labels), file
    )
