"""A CSV table of labels: one text a row, one concept a column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit.inputs import Limits, Lines, TranscriptError, Unreadable, quote, quote_all, suggestion
from bylaw.runtime.audit.tables import field_limit, is_utf8

TRUE, FALSE = frozenset({"true", "yes", "1", "y", "t"}), frozenset({"false", "no", "0", "n", "f"})
ACCEPTED = "write true, false, 1 or 0 (in a CSV table also yes or no)"
TEXTS = ("text", "response", "completion")
"""What the labelled text is called, in files."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row. `labels` are True, False, None for an empty cell, and the cell itself where it is none of them."""

    text: str
    prompt: str
    group: str
    labels: Mapping[str, bool | str | None]


def label_rows(lines: Lines, limits: Limits, shown: str) -> Iterator[tuple[int, LabelRow | str]]:
    """Every row as (line that it starts on, its cells by column), or else the words for what is wrong with it.

    Raises TranscriptError for names of columns that cannot be used.
    """
    with field_limit(limits.line_bytes):
        reader = csv.reader(_Decoded(lines), strict=True)
        names: tuple[str, ...] = ()
        while True:
            start = lines.number + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, Unreadable) as error:
                reason = _explain(error)
                if not names:
                    raise TranscriptError(f"{quote(shown)} does not start with column names: {reason}") from None
                yield (lines.number if isinstance(error, Unreadable) else start), reason
                continue
            if not fields:
                continue
            if not names:
                names = _names(fields, shown)
            else:
                yield start, _row(names, fields)


class _Decoded(Iterator[str]):
    """Lines as text. A byte that is not UTF-8 is kept in a form that `_row` recognises, to blame its row only."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __next__(self) -> str:
        return next(self._lines).decode("utf-8", "surrogateescape")


def _names(fields: Sequence[str], shown: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in fields)
    if any(not is_utf8(name) for name in names):
        raise TranscriptError(f"the column names of {quote(shown)} are not UTF-8 text")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TranscriptError(f"{quote(shown)} has more than one column called {quote_all(twice)}")
    texts = [name for name in TEXTS if name in names]
    if len(texts) != 1:
        known = f"its columns are {quote_all(names)}{next((s for n in names if (s := suggestion(n, TEXTS))), '')}"
        what = f"both a column `{texts[0]}` and a column `{texts[1]}`" if texts else f"no column `text`; {known}"
        raise TranscriptError(f"{quote(shown)} has {what}")
    return names


def _row(names: Sequence[str], fields: Sequence[str]) -> LabelRow | str:
    if len(fields) != len(names):
        return f"the row has {len(fields)} fields where there are {len(names)} columns"
    for name, cell in zip(names, fields, strict=True):
        if not is_utf8(cell):
            return f"the column {quote(name)} of this row is not UTF-8 text"
    cells = dict(zip(names, fields, strict=True))
    text = next(cells.pop(name) for name in TEXTS if name in cells)
    prompt, group = cells.pop("prompt", ""), cells.pop("group", "")
    return LabelRow(text, prompt, group, {name: _label(cell) for name, cell in cells.items()})


def _label(cell: str) -> bool | str | None:
    bare = cell.strip().casefold()
    if not bare:
        return None
    return True if bare in TRUE else False if bare in FALSE else cell


def _explain(error: csv.Error | Unreadable) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted field starts in this row and is never closed"
    if "field larger than" in text:
        return "a field of this row is too long, or its quotes are never closed"
    return text if isinstance(error, Unreadable) else f"the row is not CSV: {text}"
