"""A word: a word segment of UAX #29 with a letter or a digit in it."""

from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.segments_words import segmenter


def find(text: str) -> tuple[Extent, ...]:
    return segmenter().find(text)


@cache
def machine() -> CountingMachine:
    return segmenter().machine()


UNIT = Unit(
    summary="words of any script, as Unicode divides them: `can't` and `3.50` are one word each, `well-known` is two",
    find=find,
    machine=machine,
    examples=(
        UnitExample("", 0),
        UnitExample("It's a well-known shop.", 5),
        UnitExample("naïve café, 3.50 stars, e.g. 1,000", 6),
        UnitExample("'quoted' words'", 2),
        UnitExample("snake_case _ __ a.b.c", 2),
        UnitExample('\u5317\u4eac \u0e01\u0e02 \U0001f600 \u05e6\u05d4"\u05dc', 5),
    ),
)
