"""A line: what stands between two line breaks, if there is more than white space."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.spaces import INLINE_SPACE, WHITE_SPACE

LINE = re.compile(r"[^\n]+")


def find(text: str) -> tuple[Extent, ...]:
    return tuple(
        Extent(line.start(), line.end())
        for line in LINE.finditer(text)
        if any(character not in WHITE_SPACE for character in line.group())
    )


def machine() -> CountingMachine:
    blank, counted = 0, 1
    return CountingMachine(
        classes=(NEWLINE, INLINE_SPACE),
        step=(
            ((blank, 0), (blank, 0), (counted, 1)),
            ((blank, 0), (counted, 0), (counted, 0)),
        ),
        final=(0, 0),
    )


UNIT = Unit(
    summary="lines with something on them",
    find=find,
    machine=machine,
    examples=(UnitExample("", 0), UnitExample("a\n\n b\n \n", 2), UnitExample("one line", 1)),
    is_raw=True,
)
