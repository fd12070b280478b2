"""Reads transcripts to audit and prompts to answer, from files of several kinds and from folders of them.

A JSON line is `{"messages": [{"role", "content"}, ...]}` or `{"prompt": ..., "response": ...}`; `id` names it, and what
else it has becomes facts below `meta`. Tables, CSV or Parquet, have the same as columns. Logs of Inspect are read as
runtime/audit/inspect_log.py says, prompts from plain text too. A part that cannot be read is left out, named by file
and line, and the rest is read. Nothing is guessed from the content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bylaw.runtime.audit import conversation, folder, inspect_log, parquet, tables
from bylaw.runtime.audit.inputs import (
    DEFAULT_LIMITS,
    ColumnNames,
    Limits,
    Lines,
    TranscriptError,
    Transcripts,
    Unreadable,
    check_path,
    quote,
)
from bylaw.runtime.record import InputProblem
from bylaw.spec.trace import Message, Trace

__all__ = ["ColumnNames", "Limits", "TranscriptError", "Transcripts", "read_prompts", "read_transcripts"]

_JSON_LINES = (".jsonl", ".ndjson")
_TABLES = (".csv",)
_PARQUET = (".parquet",)
_PLAIN = (".txt",)
SUFFIXES = (*_JSON_LINES, *_TABLES, *_PARQUET, *inspect_log.SUFFIXES)
"""The endings of files with transcripts."""


def read_transcripts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> Transcripts:
    """The conversations of a file, each with an answer unless it ends without one, or of all files of a folder.

    Files are JSON Lines (`.jsonl`, `.ndjson`), tables (`.csv`, `.parquet`) and logs of Inspect (`.eval`, `.json`). A
    transcript without an id of its own is named `<file name>:<line>`, in tables of Parquet by the row; in a folder
    every id starts with the file. The line of a problem is the row or the sample where a file has no lines.
    Raises TranscriptError for a file that cannot be read, that lacks a named column, or in which not one transcript can
    be read; in a folder such a file is left out and named, and the error is raised where nothing is left.
    """
    return _read(Path(path), columns or ColumnNames(), limits, answered=True)


def read_prompts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> Transcripts:
    """The conversations to be answered: each ends with a user message.

    Reads the same files as `read_transcripts`, where answers in the response column are left aside and samples of
    Inspect are what they were asked, and `.txt` with one prompt on a line; no folders, since the digest of a file says
    which prompts these were. Raises TranscriptError as there, so for an empty list too.
    """
    return _read(Path(path), columns or ColumnNames(), limits, answered=False)


def _read(path: Path, columns: ColumnNames, limits: Limits, *, answered: bool) -> Transcripts:
    traces: list[Trace] = []
    problems: list[InputProblem] = []
    uncounted = 0
    last = (str(path), 0)
    for source, line, item in _sources(path, columns, limits, answered):
        if isinstance(item, Trace):
            traces.append(item)
        elif len(problems) < limits.problems:
            problems.append(InputProblem(source, line, item))
        else:
            uncounted, last = uncounted + 1, (source, line)
    if uncounted:
        problems.append(InputProblem(*last, f"{uncounted:,} more parts up to this line could not be read"))
    if not traces:
        what = "transcript" if answered else "prompt"
        raise TranscriptError(f"there is no {what} to read in {quote(str(path))}: {_why(path, problems)}")
    return Transcripts(tuple(traces), tuple(problems))


def _why(path: Path, problems: list[InputProblem]) -> str:
    if not problems:
        return "it is empty"
    first = problems[0]
    where = "" if first.source == str(path) else f"{quote(Path(first.source).relative_to(path).as_posix())}, "
    return f"{where}line {first.line}: {first.message}"


def _sources(
    path: Path, columns: ColumnNames, limits: Limits, answered: bool
) -> Iterator[tuple[str, int, Trace | str]]:
    """What a file or a folder holds, as (file, line, trace or the words for what could not be read)."""
    if answered and path.is_dir():
        yield from folder.items(
            path, lambda file, shown: _items(file, columns, limits, shown, answered), SUFFIXES, limits
        )
        return
    check_path(path, SUFFIXES if answered else (*SUFFIXES, *_PLAIN))
    yield from ((str(path), line, item) for line, item in _items(path, columns, limits, path.name, answered))


def _items(
    path: Path, columns: ColumnNames, limits: Limits, shown: str, answered: bool
) -> Iterator[tuple[int, Trace | str]]:
    """What the file holds, in order: traces, and the words for what could not be read."""
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET:
            yield from parquet.rows(path, columns, limits, shown, answered)
        elif suffix in inspect_log.SUFFIXES:
            yield from inspect_log.samples(path, limits, shown, answered)
        else:
            with path.open("rb") as file:
                yield from _lines(Lines(file, limits), suffix, columns, limits, shown, answered)
    except OSError as error:
        raise TranscriptError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error


def _lines(
    lines: Lines, suffix: str, columns: ColumnNames, limits: Limits, shown: str, answered: bool
) -> Iterator[tuple[int, Trace | str]]:
    if suffix in _TABLES:
        for number, row in tables.rows(lines, columns, limits, shown, answered):
            yield number, row if isinstance(row, Trace) else str(row)
    elif suffix in _PLAIN:
        yield from _plain(lines, shown)
    else:
        yield from _json_lines(lines, columns, limits, shown, answered)


def _json_lines(
    lines: Lines, columns: ColumnNames, limits: Limits, name: str, answered: bool
) -> Iterator[tuple[int, Trace | str]]:
    while True:
        try:
            line = next(lines).strip()
            if not line:
                continue
            trace, left_out = conversation.parse_line(line, columns, limits, f"{name}:{lines.number}", answered)
        except StopIteration:
            return
        except Unreadable as error:
            yield lines.number, str(error)
            continue
        yield lines.number, trace
        for words in left_out:
            yield lines.number, words


def _plain(lines: Lines, name: str) -> Iterator[tuple[int, Trace | str]]:
    while True:
        try:
            text = next(lines).decode("utf-8").strip()
        except StopIteration:
            return
        except Unreadable as error:
            yield lines.number, str(error)
        except UnicodeDecodeError:
            yield lines.number, "the line is not UTF-8 text"
        else:
            if text:
                yield lines.number, Trace((Message("user", text),), id=f"{name}:{lines.number}")
