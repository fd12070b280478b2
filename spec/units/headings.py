"""A heading: a line that begins with one to six `#` and a space, as in Markdown."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

DEEPEST = 6
HEADING = re.compile("^#{1,6} [^\n]*", re.MULTILINE)


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in HEADING.finditer(text))


def machine() -> CountingMachine:
    """State n for n signs seen since the line began; the last state is the rest of the line."""
    rest = DEEPEST + 1
    signs = tuple(((0, 0), (n + 1, 0), (rest, 1 if n else 0), (rest, 0)) for n in range(DEEPEST + 1))
    return CountingMachine(
        classes=(NEWLINE, CharSet.of("#"), CharSet.of(" ")),
        step=(*signs, ((0, 0), (rest, 0), (rest, 0), (rest, 0))),
        final=(0,) * (rest + 1),
    )


UNIT = Unit(
    summary="lines that begin with # signs and a space",
    find=find,
    machine=machine,
    examples=(
        UnitExample("# Title\n\n## Part\ntext # no", 2),
        UnitExample("#tag\n####### seven", 0),
    ),
)
