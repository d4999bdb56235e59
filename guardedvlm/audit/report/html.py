"""The report as one HTML file: no script, nothing from outside, prints with page numbers."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from guardedvlm.audit.report.document import Report

TEMPLATE = "report.html.j2"


def report_html(report: Report) -> str:
    """The page. Every text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["type"] = lambda value: type(value).__name__
    titles = {section.id: section.title for section in report.sections}
    return environment.get_template(TEMPLATE).render(report=report, titles=titles)
