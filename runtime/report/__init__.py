"""Renders what audits and runs leave behind: a table in the terminal, Markdown, one self-contained HTML page, JSON."""

from bylaw.runtime.report.console import render_console
from bylaw.runtime.report.gate import passes_gate
from bylaw.runtime.report.html import render_html, render_picture
from bylaw.runtime.report.markdown import render_markdown
from bylaw.runtime.report.write import ReportError, report_directory, write_report

__all__ = [
    "ReportError",
    "passes_gate",
    "render_console",
    "render_html",
    "render_markdown",
    "render_picture",
    "report_directory",
    "write_report",
]
