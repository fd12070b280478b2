"""A table: neighbouring lines that begin with `|`, as in Markdown."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

TABLE = re.compile(r"^[ \t]*\|[^\n]*(?:\n[ \t]*\|[^\n]*)*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in TABLE.finditer(text))


def machine() -> CountingMachine:
    line_start, rest, row, next_line = range(4)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of(" \t"), CharSet.of("|")),
        step=(
            ((line_start, 0), (line_start, 0), (row, 1), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (rest, 0)),
            ((next_line, 0), (row, 0), (row, 0), (row, 0)),
            ((line_start, 0), (next_line, 0), (row, 0), (rest, 0)),
        ),
        final=(0,) * 4,
    )


UNIT = Unit(
    summary="blocks of lines that begin with |",
    find=find,
    machine=machine,
    examples=(
        UnitExample("| a | b |\n|---|---|\n| 1 | 2 |", 1),
        UnitExample("| a |\n\n| b |", 2),
        UnitExample("a | b", 0),
    ),
)
