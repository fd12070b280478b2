"""Characters that show nothing but change a text: soft hyphens, zero width spaces, marks that turn the direction of
writing, fillers, tags and the byte order mark.

The non-joiner and the joiner U+200C and U+200D and the variation selectors are not counted: ordinary words of some
scripts and emoji need them. White space is not counted. Source: Unicode, Default_Ignorable_Code_Point and category Cf.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.units._single import find_each, machine_for_each

CHARACTERS = CharSet.of("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u3164\ufeff\uffa0").union(
    CharSet.of_ranges([(0x202A, 0x202E), (0x2060, 0x206F), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)]),
    CharSet.of_ranges([(0xE0000, 0xE00FF), (0xE01F0, 0xE0FFF)]),
)

UNIT = Unit(
    summary="characters that show nothing, such as zero width spaces and marks that turn the direction of writing",
    find=find_each(CHARACTERS),
    machine=machine_for_each(CHARACTERS),
    examples=(UnitExample("pay\u200bpal \u202etxt", 2), UnitExample("plain\ttext", 0)),
    is_raw=True,
)
