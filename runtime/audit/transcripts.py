"""Reads transcripts to audit and prompts to answer: JSON lines, CSV tables and, for prompts, plain text.

A JSON line is `{"messages": [{"role", "content"}, ...]}` or `{"prompt": ..., "response": ...}`; `id` names it, and what
else it has becomes facts below `meta`. A part that cannot be read is left out, named by file and line, and the rest is
read. Nothing is guessed from the content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bylaw.runtime.audit import conversation, tables
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
_PLAIN = (".txt",)


def read_transcripts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> Transcripts:
    """The conversations of a `.jsonl`, `.ndjson` or `.csv` file, each with an answer unless it ends without one.

    A transcript without an id of its own is named `<file name>:<line>`. Raises TranscriptError for a file that cannot
    be read, that lacks a named column, or in which not one transcript can be read.
    """
    return _read(Path(path), columns or ColumnNames(), limits, answered=True)


def read_prompts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> Transcripts:
    """The conversations to be answered: each ends with a user message.

    Reads the same files as `read_transcripts`, where answers in the response column are left aside, and `.txt` with one
    prompt on a line. Raises TranscriptError as there, so for an empty list too.
    """
    return _read(Path(path), columns or ColumnNames(), limits, answered=False)


def _read(path: Path, columns: ColumnNames, limits: Limits, *, answered: bool) -> Transcripts:
    check_path(path, (*_JSON_LINES, *_TABLES) if answered else (*_JSON_LINES, *_TABLES, *_PLAIN))
    traces: list[Trace] = []
    problems: list[InputProblem] = []
    uncounted = 0
    last = 0
    for line, item in _items(path, columns, limits, answered):
        if isinstance(item, Trace):
            traces.append(item)
        elif len(problems) < limits.problems:
            problems.append(InputProblem(str(path), line, item))
        else:
            uncounted, last = uncounted + 1, line
    if uncounted:
        problems.append(InputProblem(str(path), last, f"{uncounted:,} more parts up to this line could not be read"))
    if not traces:
        what = "transcript" if answered else "prompt"
        why = f": line {problems[0].line}: {problems[0].message}" if problems else ": it is empty"
        raise TranscriptError(f"there is no {what} to read in {quote(str(path))}{why}")
    return Transcripts(tuple(traces), tuple(problems))


def _items(path: Path, columns: ColumnNames, limits: Limits, answered: bool) -> Iterator[tuple[int, Trace | str]]:
    """What the file holds, in order: traces, and the words for what could not be read."""
    try:
        with path.open("rb") as file:
            lines = Lines(file, limits)
            suffix = path.suffix.lower()
            if suffix in _TABLES:
                for number, row in tables.rows(lines, columns, limits, path.name, answered):
                    yield number, row if isinstance(row, Trace) else str(row)
            elif suffix in _PLAIN:
                yield from _plain(lines, path.name)
            else:
                yield from _json_lines(lines, columns, limits, path.name, answered)
    except OSError as error:
        raise TranscriptError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error


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
