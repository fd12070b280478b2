"""Vowels: a, e, i, o and u in either case, with or without accents; y is none."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._latin import latin
from bylaw.spec.units._single import find_each, machine_for_each

LETTERS = "aeiou"


def find(text: str) -> tuple[Extent, ...]:
    return find_each(latin(LETTERS))(text)


def machine() -> CountingMachine:
    return machine_for_each(latin(LETTERS))()


UNIT = Unit(
    summary="the letters a, e, i, o and u, with or without accents",
    find=find,
    machine=machine,
    examples=(UnitExample("Cr\u00e8me, yes!", 3), UnitExample("rhythm", 0)),
)
