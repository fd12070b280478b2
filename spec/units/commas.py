"""Commas: the Latin, the Arabic and the ideographic one; other widths are forms of these."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of(",\u060c\u3001")

UNIT = Unit(
    summary="commas",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(
        UnitExample("a, b,c", 2),
        UnitExample("", 0),
        UnitExample("1;2", 0),
        UnitExample("\u4f60\u597d\uff0c\u4e16\u754c", 1),
    ),
)
