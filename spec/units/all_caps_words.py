"""A word in capitals: all its letters that have a case are upper case, and there is at least one (`I` counts)."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units import words


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for extent in words.find(text) if text[extent.start : extent.end].isupper())


UNIT = Unit(
    summary="words whose letters are all upper case",
    find=find,
    machine=None,
    examples=(
        UnitExample("PLEASE read THIS, ok? I do. A4 42", 4),
        UnitExample("quiet words", 0),
    ),
)
