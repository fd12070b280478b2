"""Characters beyond ASCII (above U+007F)."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of_ranges([(0, 0x7F)]).complement()

UNIT = Unit(
    summary="characters beyond ASCII",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("caf\u00e9 \u2013 na\u00efve", 3), UnitExample("plain ~", 0)),
    is_raw=True,
)
