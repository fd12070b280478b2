"""Consonants: the Latin letters b to z that are no vowels, in either case, with or without accents; y is one."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._latin import latin
from bylaw.spec.units._single import find_each, machine_for_each

LETTERS = "bcdfghjklmnpqrstvwxyz"


def find(text: str) -> tuple[Extent, ...]:
    return find_each(latin(LETTERS))(text)


def machine() -> CountingMachine:
    return machine_for_each(latin(LETTERS))()


UNIT = Unit(
    summary="letters of the Latin alphabet other than a, e, i, o and u, with or without accents",
    find=find,
    machine=machine,
    examples=(UnitExample("Yes, \u00e7a va", 4), UnitExample("A 1 \u00e9", 0)),
)
