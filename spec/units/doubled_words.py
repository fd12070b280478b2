"""A doubled word: the word that stands before it once more, in any case, with only white space between."""

from itertools import pairwise

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.matching import folded
from bylaw.spec.units import words


def find(text: str) -> tuple[Extent, ...]:
    return tuple(
        second
        for first, second in pairwise(words.find(text))
        if text[first.end : second.start].isspace()
        and folded(text[first.start : first.end]) == folded(text[second.start : second.end])
    )


UNIT = Unit(
    summary="words that repeat the word before them, as in: the the",
    find=find,
    machine=None,
    examples=(UnitExample("The the boat is is is here", 3), UnitExample("no, no; that that's", 0)),
)
