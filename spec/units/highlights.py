"""A highlight: text between single or double asterisks on one line, as in Markdown."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

HIGHLIGHT = re.compile(r"\*\*[^*\n]+\*\*|\*[^*\n]+\*")


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in HIGHLIGHT.finditer(text))


def machine() -> CountingMachine:
    """After `**a*` the highlight is complete whether a second asterisk follows or not: `closing` swallows it."""
    outside, one, two, inside_one, inside_two, closing = range(6)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of("*")),
        step=(
            ((outside, 0), (one, 0), (outside, 0)),
            ((outside, 0), (two, 0), (inside_one, 0)),
            ((outside, 0), (two, 0), (inside_two, 0)),
            ((outside, 0), (outside, 1), (inside_one, 0)),
            ((outside, 0), (closing, 1), (inside_two, 0)),
            ((outside, 0), (outside, 0), (outside, 0)),
        ),
        final=(0,) * 6,
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
    ),
)
