"""Asterisks, such as those of Markdown."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("*")

UNIT = Unit(
    summary="asterisks",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("**bold**", 4), UnitExample("plain", 0)),
)
