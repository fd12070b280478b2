"""Different words: each word once, where it first stands, whatever its case."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.matching import folded
from bylaw.spec.units import words


def find(text: str) -> tuple[Extent, ...]:
    first: dict[str, Extent] = {}
    for extent in words.find(text):
        first.setdefault(folded(text[extent.start : extent.end]), extent)
    return tuple(first.values())


UNIT = Unit(
    summary="different words, whatever their case",
    find=find,
    machine=None,
    examples=(UnitExample("The boat, the BOAT and a boats", 5), UnitExample("", 0)),
)
