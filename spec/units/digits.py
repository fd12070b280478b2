"""Digits 0 to 9."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("0123456789")

UNIT = Unit(
    summary="digits 0 to 9",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(
        UnitExample("Order 48213", 5),
        UnitExample("none", 0),
    ),
)
