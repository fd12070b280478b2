"""A numbered item: a line that begins with a number, `.` or `)`, and then a space."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ASCII_DIGIT, NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of

ITEM = re.compile("^[ \t]*[0-9]+[.)][ \t][^\n]*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(ITEM, text)


def machine() -> CountingMachine:
    line_start, in_number, after_mark, rest = range(4)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of(" \t"), ASCII_DIGIT, CharSet.of(".)")),
        step=(
            ((line_start, 0), (line_start, 0), (in_number, 0), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (in_number, 0), (after_mark, 0), (rest, 0)),
            ((line_start, 0), (rest, 1), (rest, 0), (rest, 0), (rest, 0)),
            ((line_start, 0), (rest, 0), (rest, 0), (rest, 0), (rest, 0)),
        ),
        final=(0,) * 4,
    )


UNIT = Unit(
    summary="lines that begin with a number, a full stop or bracket, and a space",
    find=find,
    machine=machine,
    examples=(UnitExample("1. a\n2) b\n- c\n 10. d", 3), UnitExample("3.5 kg\n1.", 0)),
)
