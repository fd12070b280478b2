"""Writes the report of a record as files."""

from __future__ import annotations

import os
from pathlib import Path

from bylaw.runtime.record import AuditRecord, RunRecord, to_json
from bylaw.runtime.report.html import render_html, render_picture
from bylaw.runtime.report.markdown import render_markdown


class ReportError(Exception):
    """A report that cannot be written; text fit for users."""


def write_report(record: AuditRecord | RunRecord, directory: str | Path) -> list[Path]:
    """Writes report.html, report.md, report.json and (where there are rates) rates.svg into `directory`.

    The directory is made where it is missing.

    Everything is rendered and written beside its place first and then moved there, so that a reader never finds half a
    file. Raises ReportError.
    """
    folder = Path(directory)
    texts = {
        "report.html": render_html(record),
        "report.md": render_markdown(record),
        "report.json": to_json(record) + "\n",
    }
    picture = render_picture(record)
    if picture is not None:
        texts["rates.svg"] = picture
    waiting: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            waiting[temporary] = folder / name
            # half a surrogate pair cannot be written; in JSON the escape means the same
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        for temporary, place in waiting.items():
            os.replace(temporary, place)
    except OSError as error:
        raise ReportError(f"the report cannot be written to `{folder}`: {error.strerror or error}") from error
    finally:
        for temporary in waiting:
            temporary.unlink(missing_ok=True)
    return list(waiting.values())
