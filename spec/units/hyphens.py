"""Hyphens: the one on the keyboard (also a minus sign), U+2010 and U+2011; longer ones are dashes."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("-\u2010\u2011")

UNIT = Unit(
    summary="hyphens, which also serve as minus signs",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("well-known, 5-3", 2), UnitExample("here \u2013 there", 0)),
)
