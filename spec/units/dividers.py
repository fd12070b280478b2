"""A divider: a line of three or more `*`, `-` or `_` and nothing else but spaces around them, as in Markdown."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

DIVIDER = re.compile("^[ \t]*(\\*{3,}|-{3,}|_{3,})[ \t]*$", re.MULTILINE)
MARKS = "*-_"
ENOUGH = 3


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(1), found.end(1)) for found in DIVIDER.finditer(text))


def machine() -> CountingMachine:
    """State 0 begins a line, 1 cannot be a divider any more, 2 is a divider with blanks behind; then n marks seen."""
    rows = [
        ((0, 0), (0, 0), *((3 + ENOUGH * mark, 0) for mark in range(len(MARKS))), (1, 0)),
        ((0, 0), (1, 0), *((1, 0),) * len(MARKS), (1, 0)),
        ((0, 1), (2, 0), *((1, 0),) * len(MARKS), (1, 0)),
    ]
    for mark in range(len(MARKS)):
        for seen in range(1, ENOUGH + 1):
            more = 3 + ENOUGH * mark + min(seen, ENOUGH - 1)
            marks = tuple((more if other == mark else 1, 0) for other in range(len(MARKS)))
            whole = seen == ENOUGH
            rows.append(((0, int(whole)), (2 if whole else 1, 0), *marks, (1, 0)))
    final = (0, 0, 1, *((0,) * (ENOUGH - 1) + (1,)) * len(MARKS))
    return CountingMachine((NEWLINE, CharSet.of(" \t"), *map(CharSet.of, MARKS)), tuple(rows), final)


UNIT = Unit(
    summary="lines of three or more *, - or _ and nothing else",
    find=find,
    machine=machine,
    examples=(UnitExample("a\n\n***\n\nb\n-----", 2), UnitExample("** **\n--\n-*-\n*** a", 0)),
)
