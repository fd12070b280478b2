"""A CSV table as conversations, one a row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bylaw.runtime.audit.inputs import (
    ColumnNames,
    Limits,
    Lines,
    TranscriptError,
    Unreadable,
    fact_name,
    quote,
    quote_all,
    suggestion,
)
from bylaw.spec.trace import FactValue, Message, Trace


@dataclass(frozen=True, slots=True)
class _Header:
    """The columns of a table: which of them are messages (role, index), and which are facts (path, index)."""

    names: tuple[str, ...]
    messages: tuple[tuple[str, int], ...]
    facts: tuple[tuple[str, int], ...]
    id: int | None


def rows(
    lines: Lines, columns: ColumnNames, limits: Limits, shown: str, answered: bool
) -> Iterator[tuple[int, Trace | Unreadable]]:
    """Every row as (line that it starts on, trace or why there is none). Raises TranscriptError for a bad header."""
    with field_limit(limits.line_bytes):
        reader = csv.reader(_Decoded(lines), strict=True)
        header: _Header | None = None
        while True:
            start = lines.number + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, Unreadable) as error:
                reason = _explain(error)
                if header is None:
                    raise TranscriptError(f"{quote(shown)} does not start with column names: {reason}") from None
                # the line that is too long may be any of those that its row spans
                yield (lines.number if isinstance(error, Unreadable) else start), Unreadable(reason)
                continue
            if not fields:
                continue
            if header is None:
                header = _header(fields, columns, shown, answered)
            else:
                yield start, _trace(header, fields, f"{shown}:{start}")


class _Decoded(Iterator[str]):
    """Lines as text. A byte that is not UTF-8 is kept in a form that `_trace` recognises, to blame its row only.

    No generator: a generator is over after its first exception, and the rows after a bad line are wanted.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __next__(self) -> str:
        return next(self._lines).decode("utf-8", "surrogateescape")


def _explain(error: csv.Error | Unreadable) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted field starts in this row and is never closed"
    if "field larger than" in text:
        return "a field of this row is too long, or its quotes are never closed"
    return text if isinstance(error, Unreadable) else f"the row is not CSV: {text}"


def _header(fields: Sequence[str], columns: ColumnNames, shown: str, answered: bool) -> _Header:
    names = tuple(name.strip() or f"column_{number}" for number, name in enumerate(fields, 1))
    if any(not is_utf8(name) for name in names):
        raise TranscriptError(f"the column names of {quote(shown)} are not UTF-8 text")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TranscriptError(f"{quote(shown)} has more than one column called {quote_all(twice)}")
    system = columns.system or "system"
    wanted = [("system", system)] if columns.system or system in names else []
    wanted.append(("user", columns.prompt))
    if answered:
        wanted.append(("assistant", columns.response))
    for _, name in wanted:
        if name not in names:
            known = f"its columns are {quote_all(names)}{_other_separator(names) or suggestion(name, names)}"
            raise TranscriptError(f"{quote(shown)} has no column {quote(name)}; {known}")
    index = {name: position for position, name in enumerate(names)}
    used = {columns.response, *(name for _, name in wanted)}
    facts = tuple((fact_name(name), index[name]) for name in names if name not in used)
    return _Header(names, tuple((role, index[name]) for role, name in wanted), facts, index.get(columns.id))


def _other_separator(names: Sequence[str]) -> str:
    """A hint where the only column is a row of names with another mark between them than the comma."""
    marks = {";": "semicolons", "\t": "tabs"}
    found = next((words for mark, words in marks.items() if len(names) == 1 and mark in names[0]), None)
    return f". It seems to be separated by {found}: save it with commas between the columns" if found else ""


def _trace(header: _Header, fields: Sequence[str], fallback_id: str) -> Trace | Unreadable:
    if len(fields) != len(header.names):
        return Unreadable(f"the row has {len(fields)} fields where there are {len(header.names)} columns")
    for name, field in zip(header.names, fields, strict=True):
        if not is_utf8(field):
            return Unreadable(f"the column {quote(name)} of this row is not UTF-8 text")
    messages = (Message(role, fields[index]) for role, index in header.messages)
    facts: dict[str, FactValue] = {path: fields[index] for path, index in header.facts}
    identifier = "" if header.id is None else fields[header.id]
    return Trace(tuple(m for m in messages if m.content or m.role != "system"), facts, identifier or fallback_id)


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8: it has no halves of surrogate pairs."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def field_limit(size: int) -> Iterator[None]:
    """The csv module keeps its limit for the whole process, so it is put back."""
    previous = csv.field_size_limit(size)
    try:
        yield
    finally:
        csv.field_size_limit(previous)
