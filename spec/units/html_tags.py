"""An HTML tag: `<` and a letter, or `</` and a letter, up to the next `>` with no `<` between, also over lines."""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of

TAG = re.compile(r"</?[A-Za-z][^<>]*>")
LETTERS = CharSet.of_ranges([(0x41, 0x5A), (0x61, 0x7A)])


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(TAG, text)


def machine() -> CountingMachine:
    outside, opened, slash, inside = range(4)
    return CountingMachine(
        classes=(CharSet.of("<"), CharSet.of(">"), CharSet.of("/"), LETTERS),
        step=(
            ((opened, 0), (outside, 0), (outside, 0), (outside, 0), (outside, 0)),
            ((opened, 0), (outside, 0), (slash, 0), (inside, 0), (outside, 0)),
            ((opened, 0), (outside, 0), (outside, 0), (inside, 0), (outside, 0)),
            ((opened, 0), (outside, 1), (inside, 0), (inside, 0), (inside, 0)),
        ),
        final=(0,) * 4,
    )


UNIT = Unit(
    summary="opening and closing HTML tags",
    find=find,
    machine=machine,
    examples=(UnitExample('<a href="x">go</a><br/>', 3), UnitExample("2 < 3 and 4 > 1, <>", 0)),
)
