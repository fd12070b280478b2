"""Characters: Unicode code points, spaces and line breaks included."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ALL
from bylaw.spec.units._single import find_each, machine_for_each

UNIT = Unit(
    summary="characters (Unicode code points), spaces and line breaks included",
    find=find_each(ALL),
    machine=machine_for_each(ALL),
    examples=(
        UnitExample("", 0),
        UnitExample("a b", 3),
        UnitExample("é\n", 2),
    ),
    is_raw=True,
)
