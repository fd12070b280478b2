"""Commas."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of(",")

UNIT = Unit(
    summary="commas",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(
        UnitExample("a, b,c", 2),
        UnitExample("", 0),
        UnitExample("1;2", 0),
    ),
)
