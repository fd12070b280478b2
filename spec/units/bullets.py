"""A bullet: a line that begins with `-`, `*`, `•`, or a number with `.` or `)`, and then a space."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ASCII_DIGIT, NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

MARKS = CharSet.of("-*\u2022")
BLANKS = CharSet.of(" \t")
BULLET = re.compile("^[ \t]*(?:[-*\u2022]|[0-9]+[.)])[ \t][^\n]*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in BULLET.finditer(text))


def machine() -> CountingMachine:
    line_start, after_mark, in_number, rest = 0, 1, 2, 3
    classes = (NEWLINE, BLANKS, MARKS, ASCII_DIGIT, CharSet.of(".)"))
    return CountingMachine(
        classes=classes,
        step=(
            ((line_start, 0), (line_start, 0), (after_mark, 0), (in_number, 0), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 1), (rest, 0), (rest, 0), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (in_number, 0), (after_mark, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (rest, 0), (rest, 0), (rest, 0)),
        ),
        final=(0, 0, 0, 0),
    )


UNIT = Unit(
    summary="lines that begin with -, * or a number, and a space",
    find=find,
    machine=machine,
    examples=(
        UnitExample("- a\n* b\n  2) c\n-d\n3.5 kg", 3),
        UnitExample("a - b", 0),
        UnitExample("**bold**", 0),
    ),
)
