"""Double quotation marks, straight, curly, low or angled; an apostrophe is none."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of('"\u201c\u201d\u201e\u201f\u00ab\u00bb')

UNIT = Unit(
    summary="double quotation marks, straight, curly or angled",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample('"Yes", she said', 2), UnitExample("it's", 0)),
)
