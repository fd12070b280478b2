"""Question marks."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("?\uff1f")

UNIT = Unit(
    summary="question marks",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(
        UnitExample("Why? Really??", 3),
        UnitExample("No.", 0),
    ),
)
