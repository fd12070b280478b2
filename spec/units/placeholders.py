"""A placeholder: a text in square brackets on one line, such as [name].

The text of a Markdown link, `[text](address)`, is none. The brackets hold at least one character and no bracket. IFEval
counts the shortest stretches from `[` to `]`, those of links and empty ones too.
"""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of

PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\](?!\()")


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(PLACEHOLDER, text)


def machine() -> CountingMachine:
    """A placeholder is counted when the character after it is known not to be that of a link."""
    outside, opened, inside, closed = range(4)
    return CountingMachine(
        classes=(NEWLINE, CharSet.of("["), CharSet.of("]"), CharSet.of("(")),
        step=(
            ((outside, 0), (opened, 0), (outside, 0), (outside, 0), (outside, 0)),
            ((outside, 0), (opened, 0), (outside, 0), (inside, 0), (inside, 0)),
            ((outside, 0), (opened, 0), (closed, 0), (inside, 0), (inside, 0)),
            ((outside, 1), (opened, 1), (outside, 1), (outside, 0), (outside, 1)),
        ),
        final=(0, 0, 0, 1),
    )


UNIT = Unit(
    summary="texts in square brackets, such as [name], that are not links",
    find=find,
    machine=machine,
    examples=(
        UnitExample("Dear [name], your order [number] is here.", 2),
        UnitExample("see [the shop](https://shop.example)", 0),
        UnitExample("[] [[a]]", 1),
    ),
)
