"""Writes the report of a record as files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bylaw.runtime.record import AuditRecord, RunRecord, to_json
from bylaw.runtime.report.html import render_html, render_picture
from bylaw.runtime.report.markdown import render_markdown

FILES = ("report.html", "report.md", "report.json", "rates.svg")


class ReportError(Exception):
    """A report that cannot be written; text fit for users."""


@contextmanager
def report_directory(directory: str | Path) -> Iterator[None]:
    """Sees to it, before any work is done, that a report can be written into `directory`, which is made if missing.

    Directories that were made here and are still empty in the end, because no report came, are removed again. Raises
    ReportError when `directory` is a file or nothing can be written there.
    """
    folder = Path(directory)
    missing: list[Path] = []
    try:
        try:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ReportError(_unwritable(folder, error)) from error
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # it is not empty, or was never made
                path.rmdir()


def _unwritable(folder: Path, error: OSError) -> str:
    return f"the report cannot be written to `{folder}`: {(error.strerror or str(error)).lower()}"


def write_report(record: AuditRecord | RunRecord, directory: str | Path) -> list[Path]:
    """Writes report.html, report.md, report.json and (where there are rates) rates.svg into `directory`.

    The directory is made where it is missing. A file of an earlier report that this one does not have is removed.

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
        for name in FILES:
            if name not in texts:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(_unwritable(folder, error)) from error
    finally:
        for temporary in waiting:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return list(waiting.values())
