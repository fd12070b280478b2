"""A Parquet table as conversations, one a row: columns with texts as in a CSV table, or a column `messages`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Generator, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from bylaw.runtime.audit import conversation
from bylaw.runtime.audit.inputs import (
    ColumnNames,
    Limits,
    TranscriptError,
    Unreadable,
    quote,
    quote_all,
    suggestion,
)
from bylaw.spec.trace import Trace

_MESSAGES = "messages"
_BATCH = 256
"""Rows that are decoded together."""


def rows(
    path: Path,
    columns: ColumnNames,
    limits: Limits,
    shown: str,
    answered: bool,
    groups: range | None = None,
) -> Generator[tuple[int, Trace | str], None, int]:
    """Every row as (number from 1 on, trace or why there is none); returns how many bytes of text were read.

    With `groups` only the rows of these row groups, numbered as in the whole file. A column whose values can be no
    facts is left out, said once, before the first row of the file. Raises TranscriptError for a file that is no
    Parquet, lacks a column, or is too large, and where pyarrow is missing.
    """
    arrow, parquet = _library()
    with path.open("rb") as handle:
        table, schema = _opened(arrow, parquet, handle, shown)
        _check_size(table.metadata, shown, limits)
        wanted, left_out = _columns(arrow, schema, columns, shown, answered)
        groups = range(table.metadata.num_row_groups) if groups is None else groups
        if groups.start == 0:
            yield from ((1, words) for words in left_out)
        number = sum(table.metadata.row_group(index).num_rows for index in range(groups.start))
        read = 0
        for row in _read(arrow, table, wanted, groups, shown):
            number += 1
            size = _text_bytes(row)
            read += size
            require_size(read, limits, shown)
            if size > limits.line_bytes:
                yield number, f"the row is longer than {limits.line_bytes:,} bytes"
                continue
            yield from _row(row, number, columns, limits, shown, answered)
        return read


def row_groups(path: Path, limits: Limits, shown: str) -> list[int]:
    """How many bytes each row group of a table unpacks to. Raises TranscriptError and OSError as `rows`."""
    arrow, parquet = _library()
    with path.open("rb") as handle:
        metadata = _opened(arrow, parquet, handle, shown)[0].metadata
    _check_size(metadata, shown, limits)
    return [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]


def require_size(read: int, limits: Limits, shown: str) -> None:
    """Raises TranscriptError where more bytes of text were read of a file than it may hold."""
    if read > limits.file_bytes:
        raise TranscriptError(f"{quote(shown)} holds more than {limits.file_bytes:,} bytes of text; split it")


def _opened(arrow: Any, parquet: Any, handle: BinaryIO, shown: str) -> tuple[Any, Any]:
    """The table, and the schema as it was written. Raises TranscriptError for a file that is no table."""
    try:
        table = parquet.ParquetFile(handle)
        schema = table.schema_arrow
        texts = [field.name for field in schema if _is_text(arrow, field.type)]
        # equal texts are kept once, as they are stored: a small file may stand for very many bytes
        return parquet.ParquetFile(handle, read_dictionary=texts), schema
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise TranscriptError(f"{quote(shown)} is no Parquet table: {_first_line(error)}") from None


def _library() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise TranscriptError(
            "reading Parquet needs the extra `parquet` (pyarrow is missing): "
            "install bylaw with it, as in pip install '.[parquet]'"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _check_size(metadata: Any, shown: str, limits: Limits) -> None:
    """What the file says that it unpacks to; Arrow unpacks a column of a row group in pieces of what stands there."""
    total = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if total > limits.file_bytes:
        raise TranscriptError(f"{quote(shown)} unpacks to more than {limits.file_bytes:,} bytes; split it")


def _read(arrow: Any, table: Any, wanted: Sequence[str], groups: Sequence[int], shown: str) -> Iterator[dict[str, Any]]:
    """The rows one at a time. Raises TranscriptError for a file that is damaged further on."""
    if not groups:
        return
    batches = table.iter_batches(_BATCH, row_groups=list(groups), columns=list(wanted), use_threads=False)
    while True:
        try:
            batch = next(batches)
            for index in range(batch.num_rows):
                cells = zip(batch.schema.names, batch.columns, strict=True)
                yield {name: column[index].as_py() for name, column in cells}
        except StopIteration:
            return
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise TranscriptError(f"{quote(shown)} is damaged: {_first_line(error)}") from None


def _columns(
    arrow: Any, schema: Any, columns: ColumnNames, shown: str, answered: bool
) -> tuple[list[str], tuple[str, ...]]:
    """The columns to read, and the words for those that can be no facts."""
    names = list(schema.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TranscriptError(f"{quote(shown)} has more than one column called {quote_all(twice)}")
    spoken = {_MESSAGES}
    if _MESSAGES not in names:
        needed = [columns.prompt, *([columns.response] if answered else []), *filter(None, [columns.system])]
        for name in needed:
            if name not in names:
                known = f"its columns are {quote_all(names)}{suggestion(name, names)}"
                raise TranscriptError(f"{quote(shown)} has no column {quote(name)}; {known}")
        spoken = {columns.prompt, columns.response, columns.system or "system"}
    wanted, left_out = [], []
    for field in schema:
        reason = None if field.name in spoken else _no_fact(arrow, field.type)
        if reason is None:
            wanted.append(field.name)
        else:
            left_out.append(f"the column {quote(field.name)} {reason} and was left out")
    return wanted, tuple(left_out)


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _no_fact(arrow: Any, kind: Any) -> str | None:
    types = arrow.types
    if types.is_dictionary(kind):
        return _no_fact(arrow, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_map(kind):
        return "holds lists"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "holds bytes"
    return "holds spans of time" if types.is_duration(kind) or types.is_interval(kind) else None


def _row(
    row: dict[str, Any], number: int, columns: ColumnNames, limits: Limits, shown: str, answered: bool
) -> Iterator[tuple[int, Trace | str]]:
    system = columns.system or "system"
    try:
        data = {name: _plain(value) for name, value in row.items()}
        for name in (_MESSAGES, columns.prompt, columns.response):
            if name in data and data[name] is None and (answered or name != columns.response):
                raise Unreadable(f"{quote(name)} is missing in this row")
        if data.get(system) is None:
            data = {name: value for name, value in data.items() if name != system} | (
                {system: ""} if columns.system else {}
            )
        trace, left_out = conversation.parse_object(data, columns, limits, f"{shown}:{number}", answered)
    except Unreadable as error:
        yield number, str(error)
        return
    yield number, trace
    yield from ((number, words) for words in left_out)


def _plain(value: Any) -> Any:
    """A value as JSON would have it; what is not a number, as tables without a value often say it, is none."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (datetime, date, time)) else value


def _text_bytes(value: Any) -> int:
    """How many bytes its texts have, at least."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, (list, tuple)) else 8
