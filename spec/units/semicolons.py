"""Semicolons, the full-width one of Chinese and Japanese included."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of(";\uff1b")

UNIT = Unit(
    summary="semicolons",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("a; b; c, d", 2), UnitExample("a: b", 0)),
)
