"""Upper case letters of any script, as Python's `str.isupper` has them."""

from bylaw.spec.cases import cases
from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._single import machine_for_each


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(place, place + 1) for place, character in enumerate(text) if character.isupper())


def machine() -> CountingMachine:
    return machine_for_each(cases().upper)()


UNIT = Unit(
    summary="upper case letters",
    find=find,
    machine=machine,
    examples=(UnitExample("Dear Mr. \u00c5s, HELLO", 8), UnitExample("quiet 42", 0)),
)
