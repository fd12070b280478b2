"""Letters of any script (Unicode category L); digits and combining marks are none."""

from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._single import machine_for_each


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(place, place + 1) for place, character in enumerate(text) if character.isalpha())


@cache
def _letters() -> CharSet:
    points = (point for low, high in word_characters().ranges for point in range(low, high + 1))
    return CharSet.of(char for char in map(chr, points) if char.isalpha())


def machine() -> CountingMachine:
    return machine_for_each(_letters())()


UNIT = Unit(
    summary="letters of any script",
    find=find,
    machine=machine,
    examples=(UnitExample("Caf\u00e9 42!", 4), UnitExample("\u4e2d\u6587", 2), UnitExample("3.5", 0)),
)
