"""A palindrome: a word of at least three characters that reads the same from its end, in any case."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.matching import folded
from bylaw.spec.units import words

SHORTEST = 3


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for extent in words.find(text) if _reads_back(folded(text[extent.start : extent.end])))


def _reads_back(word: str) -> bool:
    return len(word) >= SHORTEST and word == word[::-1]


UNIT = Unit(
    summary="words of three characters or more that read the same from their end",
    find=find,
    machine=None,
    examples=(UnitExample("Anna saw a civic radar; 1221", 4), UnitExample("a oo boat", 0)),
)
