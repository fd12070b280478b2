"""A quotation: a text in double quotation marks on one line, straight, curly or angled.

Straight marks open and close in turn; while one kind is open, the others are ordinary characters, so a quotation inside
another is part of it. Single marks are not counted: they cannot be told from apostrophes. Nothing between two marks is
no quotation.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.units._between import find_between, machine_between

PAIRS = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}

UNIT = Unit(
    summary="texts in double quotation marks on one line",
    find=find_between(PAIRS),
    machine=machine_between(PAIRS),
    examples=(
        UnitExample('"Yes", she said, "of course."', 2),
        UnitExample('\u201cShe said "no" twice\u201d', 1),
        UnitExample('12" and no more', 0),
        UnitExample('""', 0),
    ),
)
