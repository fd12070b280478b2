"""A code span: a text between two equally long rows of backticks, on one line and outside fenced code.

CommonMark 0.31, section 6.1, which also lets a span go on over the lines of a paragraph.
"""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._fences import fenced_blocks

TICKS = re.compile("`+|\n")


def find(text: str) -> tuple[Extent, ...]:
    found: list[Extent] = []
    start = 0
    for low, high in [*((block.start, block.end) for block in fenced_blocks(text)), (len(text), len(text))]:
        found += _between(text, start, low)
        start = high
    return tuple(found)


def _between(text: str, start: int, end: int) -> list[Extent]:
    found: list[Extent] = []
    rows: list[re.Match[str]] = []
    for match in [*TICKS.finditer(text, start, end), None]:
        if match is not None and match[0] != "\n":
            rows.append(match)
        else:
            found += _on_one_line(rows)
            rows = []
    return found


def _on_one_line(rows: list[re.Match[str]]) -> list[Extent]:
    """Each row of backticks is closed by the next one of its length; the last ones of each length close nothing."""
    following: list[int | None] = [None] * len(rows)
    last: dict[int, int] = {}
    for number in range(len(rows) - 1, -1, -1):
        length = len(rows[number][0])
        following[number] = last.get(length)
        last[length] = number
    found, number = [], 0
    while number < len(rows):
        closing = following[number]
        if closing is not None:
            found.append(Extent(rows[number].start(), rows[closing].end()))
            number = closing
        number += 1
    return found


UNIT = Unit(
    summary="code between backticks inside a line",
    find=find,
    machine=None,
    examples=(
        UnitExample("use `a` or ``b ` c``", 2),
        UnitExample("```\n`x`\n```\n`y", 0),
    ),
)
