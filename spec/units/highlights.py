"""A highlight: text between single or double asterisks on one line, without a blank beside them on the inside."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of

INSIDE = r"[^*\n \t](?:[^*\n]*[^*\n \t])?"
HIGHLIGHT = re.compile(rf"\*\*{INSIDE}\*\*|\*{INSIDE}\*")


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(HIGHLIGHT, text)


def machine() -> CountingMachine:
    """After `**a*` the highlight is complete whether a second asterisk follows or not: `closing` swallows it."""
    outside, one, two, inside_one, after_blank_one, inside_two, after_blank_two, closing = range(8)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of("*"), CharSet.of(" \t")),
        step=(
            ((outside, 0), (one, 0), (outside, 0), (outside, 0)),
            ((outside, 0), (two, 0), (outside, 0), (inside_one, 0)),
            ((outside, 0), (two, 0), (outside, 0), (inside_two, 0)),
            ((outside, 0), (outside, 1), (after_blank_one, 0), (inside_one, 0)),
            ((outside, 0), (one, 0), (after_blank_one, 0), (inside_one, 0)),
            ((outside, 0), (closing, 1), (after_blank_two, 0), (inside_two, 0)),
            ((outside, 0), (one, 0), (after_blank_two, 0), (inside_two, 0)),
            ((outside, 0), (outside, 0), (outside, 0), (outside, 0)),
        ),
        final=(0,) * 8,
    )


UNIT = Unit(
    summary="texts between * or ** on one line",
    find=find,
    machine=machine,
    examples=(
        UnitExample("*a* and **b c**", 2),
        UnitExample("2 * 3 = 6", 0),
        UnitExample("*one\nline*", 0),
        UnitExample("**a** and **b**", 2),
        UnitExample("2 * 3 * 4", 0),
        UnitExample("*a *b*", 1),
    ),
)
