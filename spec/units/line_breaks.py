"""Line breaks (the character U+000A)."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("\n")

UNIT = Unit(
    summary="line breaks",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("a\n\nb", 2), UnitExample("a b", 0)),
    is_raw=True,
)
