"""Colons, the full-width one of Chinese and Japanese included."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of(":\uff1a")

UNIT = Unit(
    summary="colons",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("Two: a; b:", 2), UnitExample("12", 0)),
)
