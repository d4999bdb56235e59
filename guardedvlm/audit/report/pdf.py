"""The report as PDF: the same document, with page numbers and links to pages.

The fonts are the ones that every PDF reader has, which know Latin letters: another character is written as its number.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import partial
from html import escape
from typing import Any

from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    ListFlowable,
    ListItem,
    PageBreak,
    PageTemplate,
    Spacer,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Grid

from guardedvlm.audit.report.charts import SIZE, Chart, Tone
from guardedvlm.audit.report.document import Block, Cell, Code, Command, Figure, Links, Paragraph, Points, Report, Table

MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN
MOST_PASSES = 4
"""Layouts until the page numbers that stand in the text are those of the text."""

INK, SOFT, RULE = HexColor("#1b2430"), HexColor("#5a6675"), HexColor("#d5dae1")
MAIN, SECOND = HexColor("#1f5f8b"), HexColor("#c2703d")
SOUND, BROKEN = HexColor("#1e6b45"), HexColor("#a3201d")
TONES = {Tone.MAIN: MAIN, Tone.SECOND: SECOND, Tone.INK: INK, Tone.LINE: RULE}
ANCHORS = {"start": "start", "middle": "middle", "end": "end"}

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.2, leading=12.6, textColor=INK, spaceAfter=5)
SMALL = ParagraphStyle("small", BODY, fontSize=8, leading=10.2, spaceAfter=0)
NUMBER = ParagraphStyle("number", SMALL, alignment=2)
HEAD = ParagraphStyle("head", SMALL, fontName="Helvetica-Bold", textColor=SOFT)
HEAD_NUMBER = ParagraphStyle("head-number", HEAD, alignment=2)
NAME = ParagraphStyle("name", BODY, fontName="Helvetica-Bold", spaceBefore=7, spaceAfter=3)
CAPTION = ParagraphStyle("caption", SMALL, textColor=SOFT, spaceAfter=8)
TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=30, leading=36, textColor=INK)
SUBTITLE = ParagraphStyle("subtitle", fontName="Helvetica", fontSize=13, leading=18, textColor=SOFT, spaceAfter=14)
SECTION = ParagraphStyle("section", fontName="Helvetica-Bold", fontSize=14, leading=18, textColor=INK, spaceAfter=3)
VERDICT = ParagraphStyle("verdict", BODY, fontName="Helvetica-Bold", fontSize=10.5, leading=14, spaceAfter=0)
COMMAND = ParagraphStyle("command", fontName="Courier", fontSize=7.8, leading=10.4, textColor=INK)


class _Start(Flowable):  # type: ignore[misc]  # reportlab has no types
    """Marks where a section begins: bookmark, outline, and its page for the links."""

    def __init__(self, section: str, title: str, pages: dict[str, int]) -> None:
        super().__init__()
        self.width = self.height = 0
        self._section, self._title, self._pages = section, title, pages

    def draw(self) -> None:
        self._pages[self._section] = self.canv.getPageNumber()
        self.canv.bookmarkPage(self._section)
        self.canv.addOutlineEntry(self._title, self._section, 0)


def report_pdf(report: Report) -> bytes:
    """The file. Laid out until the page numbers in it are right."""
    known: dict[str, int] = {}
    for _ in range(MOST_PASSES):
        content, found, last = _laid_out(report, known, known.get("", 0))
        if found | {"": last} == known:
            break
        known = found | {"": last}
    return content


def _laid_out(report: Report, known: Mapping[str, int], last: int) -> tuple[bytes, dict[str, int], int]:
    buffer, found = io.BytesIO(), dict[str, int]()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title=_drawable(f"{report.title}: {report.subtitle}"),
        author="guardedvlm",
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        invariant=1,
    )
    frame = Frame(MARGIN, MARGIN, WIDTH, A4[1] - 2 * MARGIN, 0, 0, 0, 0)
    foot = partial(_foot, report, last)
    document.addPageTemplates([PageTemplate("page", [frame], onPage=foot)])
    document.build([*_cover(report, known), PageBreak(), *_sections(report, known, found)])
    return buffer.getvalue(), found, document.page


def _foot(report: Report, last: int, canvas: Canvas, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 7.5)
    canvas.setFillColor(SOFT)
    canvas.drawString(MARGIN, 12 * mm, _drawable(f"{report.title}, {report.subtitle}"))
    canvas.drawRightString(A4[0] - MARGIN, 12 * mm, f"{document.page} / {last}" if last else str(document.page))
    canvas.restoreState()


def _cover(report: Report, known: Mapping[str, int]) -> Iterable[Flowable]:
    yield Spacer(0, 28 * mm)
    yield Text(_safe(report.title), TITLE)
    yield Text(_safe(report.subtitle), SUBTITLE)
    yield _framed(Text(_safe(report.verdict), VERDICT), SOUND if report.is_sound else BROKEN)
    yield Spacer(0, 8 * mm)
    rows = [[Text(_safe(name), SMALL), _cell(value, SMALL, report, known)] for name, value in report.cover]
    yield _grid(rows, (0.27, 0.73), has_head=False)
    yield Spacer(0, 8 * mm)
    yield Text("To check alone, on a copy of the ledger:", BODY)
    yield from (_command(command) for command in report.check)
    yield Spacer(0, 6 * mm)
    yield Text("Contents", NAME)
    lines = [
        [Text(f'<a href="#{one.id}">{number}. {_safe(one.title)}</a>', SMALL), Text(str(known.get(one.id, "")), NUMBER)]
        for number, one in enumerate(report.sections, start=1)
    ]
    yield _grid(lines, (0.9, 0.1), has_head=False)


def _sections(report: Report, known: Mapping[str, int], found: dict[str, int]) -> Iterable[Flowable]:
    for number, section in enumerate(report.sections, start=1):
        title = f"{number}. {section.title}"
        heading = [_Start(section.id, title, found), Text(_safe(title), SECTION), _rule(), Spacer(0, 6)]
        yield CondPageBreak(45 * mm)
        yield KeepTogether(heading)
        for block in section.blocks:
            yield from _block(block, report, known)
        yield Spacer(0, 9 * mm)


def _block(block: Block, report: Report, known: Mapping[str, int]) -> Iterable[Flowable]:
    if isinstance(block, Paragraph):
        yield Text(_safe(block.text), BODY)
    elif isinstance(block, Command):
        yield _command(block.text)
    elif isinstance(block, Points):
        items = [ListItem(Text(_safe(text), BODY), leftIndent=12) for text in block.texts]
        yield ListFlowable(items, bulletType="bullet", start="•", bulletFontSize=8, leftIndent=12)
    elif isinstance(block, Figure):
        yield KeepTogether([_drawing(block.chart), Spacer(0, 3), Text(_safe(block.caption), CAPTION)])
    else:
        yield from _table(block, report, known)


def _table(table: Table, report: Report, known: Mapping[str, int]) -> Iterable[Flowable]:
    def styled(index: int, plain: ParagraphStyle, number: ParagraphStyle) -> ParagraphStyle:
        return number if index in table.numbers else plain

    rows = [[Text(_safe(name), styled(i, HEAD, HEAD_NUMBER)) for i, name in enumerate(table.head)]]
    rows += [
        [_cell(value, styled(i, SMALL, NUMBER), report, known) for i, value in enumerate(row)] for row in table.rows
    ]
    if table.title:
        yield CondPageBreak(30 * mm)
        yield Text(_safe(table.title), NAME)
    yield _grid(rows, table.widths, has_head=True)
    yield Spacer(0, 8)


def _grid(rows: list[list[Flowable]], widths: Iterable[float], *, has_head: bool) -> Grid:
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 2.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
    ]
    if has_head:
        style.append(("LINEBELOW", (0, 0), (-1, 0), 0.9, SOFT))
    return Grid(rows, colWidths=[WIDTH * width for width in widths], repeatRows=int(has_head), style=style)


def _cell(value: Cell, style: ParagraphStyle, report: Report, known: Mapping[str, int]) -> Flowable:
    if isinstance(value, Code):
        return Text(_safe(value.text), ParagraphStyle("code", style, fontName="Courier", fontSize=6.4, wordWrap="CJK"))
    if isinstance(value, Links):
        return Text("<br/>".join(_link(one, report, known) for one in value.to), style)
    return Text(_safe(value), style)


def _link(section: str, report: Report, known: Mapping[str, int]) -> str:
    number = report.number(section)
    told = f"{number}. {_safe(report.sections[number - 1].title)}, p.&nbsp;{known.get(section, '')}"
    return f'<a href="#{section}" color="#1f5f8b">{told}</a>'


def _command(text: str) -> Grid:
    style = ParagraphStyle("wrapped", COMMAND, wordWrap="CJK")
    return Grid(
        [[Text(_safe(text), style)]],
        colWidths=[WIDTH],
        style=[("BACKGROUND", (0, 0), (-1, -1), HexColor("#f4f6f8")), ("BOX", (0, 0), (-1, -1), 2, white)],
    )


def _framed(text: Flowable, colour: HexColor) -> Grid:
    return Grid(
        [[text]],
        colWidths=[WIDTH],
        style=[
            ("LINEBEFORE", (0, 0), (0, -1), 4, colour),
            ("BACKGROUND", (0, 0), (-1, -1), HexColor("#f2f7f4" if colour is SOUND else "#fbf0ef")),
            ("LEFTPADDING", (0, 0), (-1, -1), 10),
            ("TOPPADDING", (0, 0), (-1, -1), 8),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
        ],
    )


def _rule() -> Grid:
    return Grid([[""]], colWidths=[WIDTH], rowHeights=[2], style=[("LINEABOVE", (0, 0), (-1, 0), 1.4, MAIN)])


def _drawing(chart: Chart) -> Drawing:
    drawing = Drawing(chart.width, chart.height)
    for bar in chart.bars:
        y = chart.height - bar.y - bar.height
        drawing.add(Rect(bar.x, y, bar.width, bar.height, fillColor=TONES[bar.tone], strokeColor=None))
    for word in chart.words:
        text = String(word.x, chart.height - word.y, _drawable(word.text), fontName="Helvetica", fontSize=SIZE)
        text.textAnchor, text.fillColor = ANCHORS[word.anchor], INK
        drawing.add(text)
    return drawing


def _drawable(text: str) -> str:
    """`text` in what the fonts have."""
    return text.encode("cp1252", "backslashreplace").decode("cp1252")


def _safe(text: str) -> str:
    return escape(_drawable(text))
