"""Dashes: figure dash, en dash, em dash and horizontal bar; two hyphens in a row are hyphens."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("\u2012\u2013\u2014\u2015")

UNIT = Unit(
    summary="en dashes, em dashes and other long dashes",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("So \u2014 well \u2013 yes", 2), UnitExample("well-known -- yes", 0)),
)
