"""A bullet: a line that begins with `-`, `*`, `+` or `•`, and then a space. Numbers are `numbered_items`."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

MARKS = CharSet.of("-*+\u2022")
BLANKS = CharSet.of(" \t")
BULLET = re.compile("^[ \t]*[-*+\u2022][ \t][^\n]*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in BULLET.finditer(text))


def machine() -> CountingMachine:
    line_start, after_mark, rest = range(3)
    return CountingMachine(
        classes=(NEWLINE, BLANKS, MARKS),
        step=(
            ((line_start, 0), (line_start, 0), (after_mark, 0), (rest, 0)),
            ((line_start, 0), (rest, 1), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (rest, 0)),
        ),
        final=(0,) * 3,
    )


UNIT = Unit(
    summary="lines that begin with -, *, + or •, and a space",
    find=find,
    machine=machine,
    examples=(
        UnitExample("- a\n* b\n  + c\n-d\n2. e", 3),
        UnitExample("a - b", 0),
        UnitExample("**bold**", 0),
    ),
)
