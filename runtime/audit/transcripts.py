"""Reads transcripts to audit and prompts to answer, from files of several kinds and from folders of them.

A JSON line is `{"messages": [{"role", "content"}, ...]}` or `{"prompt": ..., "response": ...}`; `id` names it, and what
else it has becomes facts below `meta`. Tables, CSV or Parquet, have the same as columns. Logs of Inspect are read as
runtime/audit/inspect_log.py says, prompts from plain text too. A part that cannot be read is left out, named by file
and line, and the rest is read. Nothing is guessed from the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

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

__all__ = [
    "ColumnNames", "Limits", "ProblemList", "TranscriptError", "TranscriptStream", "Transcripts", "read_prompts",
    "read_transcripts", "stream_transcripts",
]  # fmt: skip

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
    return _all_of(stream_transcripts(path, columns=columns, limits=limits))


def stream_transcripts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> TranscriptStream:
    """The same conversations one after the other, as they are read: none is kept. Raises nothing before it is read."""
    return TranscriptStream(Path(path), columns or ColumnNames(), limits)


def read_prompts(
    path: str | Path, *, columns: ColumnNames | None = None, limits: Limits = DEFAULT_LIMITS
) -> Transcripts:
    """The conversations to be answered: each ends with a user message.

    Reads the same files as `read_transcripts`, where answers in the response column are left aside and samples of
    Inspect are what they were asked, and `.txt` with one prompt on a line; no folders, since the digest of a file says
    which prompts these were. Raises TranscriptError as there, so for an empty list too.
    """
    return _all_of(TranscriptStream(Path(path), columns or ColumnNames(), limits, is_answered=False))


class TranscriptStream(Iterable[Trace]):
    """The conversations of a file or folder, read again from its beginning each time that they are asked for.

    `problems` are the parts that could not be read, up to where the reading has come. Raises TranscriptError as it is
    read, for what `read_transcripts` raises it for: at the end, where not one transcript could be read.
    """

    def __init__(self, path: Path, columns: ColumnNames, limits: Limits, *, is_answered: bool = True) -> None:
        self.path, self.columns, self.limits = path, columns, limits
        self._is_answered = is_answered
        self._problems = ProblemList(str(path), limits.problems)
        self._file: BinaryIO | None = None

    @property
    def problems(self) -> tuple[InputProblem, ...]:
        """The parts that could not be read; beyond a limit they are only counted."""
        return self._problems.found()

    @property
    def position(self) -> int:
        """How many bytes were read of the file that is open now; 0 where that is not known."""
        return 0 if self._file is None or self._file.closed else self._file.tell()

    def __iter__(self) -> Iterator[Trace]:
        problems = self._problems = ProblemList(str(self.path), self.limits.problems)
        found = False
        for source, line, item in self._sources():
            if isinstance(item, Trace):
                found = True
                yield item
            else:
                problems.add(source, line, item)
        if not found:
            raise nothing_to_read(self.path, problems.found(), "transcript" if self._is_answered else "prompt")

    def _sources(self) -> Iterator[tuple[str, int, Trace | str]]:
        """What a file or a folder holds, as (file, line, trace or the words for what could not be read)."""
        if self._is_answered and self.path.is_dir():
            yield from folder.items(self.path, self._items, SUFFIXES, self.limits)
            return
        check_path(self.path, SUFFIXES if self._is_answered else (*SUFFIXES, *_PLAIN))
        yield from ((str(self.path), line, item) for line, item in self._items(self.path, self.path.name))

    def _items(self, path: Path, shown: str) -> Iterator[tuple[int, Trace | str]]:
        return items_of(path, self.columns, self.limits, shown, self._is_answered, self._opened)

    def _opened(self, file: BinaryIO) -> None:
        self._file = file


class ProblemList:
    """Problems in order, the first `most` of them in full; `path` is what was read."""

    def __init__(self, path: str, most: int) -> None:
        self._most = most
        self._kept: list[InputProblem] = []
        self._uncounted, self._last = 0, (path, 0)

    def add(self, source: str, line: int, words: str) -> None:
        """The next problem."""
        if len(self._kept) < self._most:
            self._kept.append(InputProblem(source, line, words))
        else:
            self.count(source, line, 1)

    def count(self, source: str, line: int, number: int) -> None:
        """So many more, up to this line, which are only counted."""
        self._uncounted, self._last = self._uncounted + number, (source, line)

    def found(self) -> tuple[InputProblem, ...]:
        """What there was so far, and how many more."""
        if not self._uncounted:
            return tuple(self._kept)
        words = f"{self._uncounted:,} more parts up to this line could not be read"
        return (*self._kept, InputProblem(*self._last, words))


def _all_of(stream: TranscriptStream) -> Transcripts:
    traces = tuple(stream)
    return Transcripts(traces, stream.problems)


def nothing_to_read(path: Path, problems: Sequence[InputProblem], what: str = "transcript") -> TranscriptError:
    """The error for a file or folder in which not one transcript could be read."""
    return TranscriptError(f"there is no {what} to read in {quote(str(path))}: {_why(path, problems)}")


def _why(path: Path, problems: Sequence[InputProblem]) -> str:
    if not problems:
        return "it is empty"
    first = problems[0]
    where = "" if first.source == str(path) else f"{quote(Path(first.source).relative_to(path).as_posix())}, "
    return f"{where}line {first.line}: {first.message}"


def items_of(
    path: Path,
    columns: ColumnNames,
    limits: Limits,
    shown: str,
    answered: bool,
    opened: Callable[[BinaryIO], None] | None = None,
) -> Iterator[tuple[int, Trace | str]]:
    """What the file holds, in order: traces, and the words for what could not be read.

    A file of lines is handed to `opened`, to see how far the reading has come.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET:
            yield from parquet.rows(path, columns, limits, shown, answered)
        elif suffix in inspect_log.SUFFIXES:
            yield from inspect_log.samples(path, limits, shown, answered)
        else:
            with path.open("rb") as file:
                if opened is not None:
                    opened(file)
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
        yield from json_lines(lines, columns, limits, shown, answered)


def json_lines(
    lines: Lines, columns: ColumnNames, limits: Limits, name: str, answered: bool
) -> Iterator[tuple[int, Trace | str]]:
    """What lines of JSON hold, in order: (line, trace or the words for what could not be read)."""
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
