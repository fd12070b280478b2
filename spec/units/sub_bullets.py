"""A sub-bullet: a line that is indented and then begins with `-`, `*`, `+` or `\u2022` and a space."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of

ITEM = re.compile("^[ \t]+[-*+\u2022][ \t][^\n]*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(ITEM, text)


def machine() -> CountingMachine:
    line_start, indented, after_mark, rest = range(4)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of(" \t"), CharSet.of("-*+\u2022")),
        step=(
            ((line_start, 0), (indented, 0), (rest, 0), (rest, 0)),
            ((line_start, 0), (indented, 0), (after_mark, 0), (rest, 0)),
            ((line_start, 0), (rest, 1), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (rest, 0)),
        ),
        final=(0,) * 4,
    )


UNIT = Unit(
    summary="indented lines that begin with -, * or + and a space",
    find=find,
    machine=machine,
    examples=(UnitExample("* a\n  - b\n\t* c", 2), UnitExample("- a\n   -b", 0)),
)
