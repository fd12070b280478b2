"""A text in round brackets on one line, such as (this). Of brackets inside brackets the innermost counts."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.units._between import find_between, machine_between

PAIRS = {"(": ")"}

UNIT = Unit(
    summary="texts in round brackets on one line; of nested ones the innermost",
    find=find_between(PAIRS),
    machine=machine_between(PAIRS),
    examples=(
        UnitExample("one (two) three (four)", 2),
        UnitExample("f(g(x))", 1),
        UnitExample("() :-) (open", 0),
    ),
)
