"""Punctuation marks of any script (Unicode category P); signs such as + $ < ^ are none."""

import unicodedata
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ALL, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._single import machine_for_each

LAST = 0x1FFFF
"""No punctuation stands in the higher planes."""


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(place, place + 1) for place, character in enumerate(text) if _is_mark(character))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"


@cache
def _marks() -> CharSet:
    points = (point for low, high in ALL.ranges for point in range(low, min(high, LAST) + 1))
    return CharSet.of(filter(_is_mark, map(chr, points)))


def machine() -> CountingMachine:
    return machine_for_each(_marks())()


UNIT = Unit(
    summary="punctuation marks of any script",
    find=find,
    machine=machine,
    examples=(UnitExample("Why? (Well, so.)", 5), UnitExample("2 + 2 < 5 $", 0)),
)
