"""Full stops wherever they stand, also in numbers and abbreviations, and those of Chinese and Japanese."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of(".\u3002\uff0e")

UNIT = Unit(
    summary="full stops",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("At 3.50 e.g. now.", 4), UnitExample("Why?", 0)),
)
