"""A word: letters, marks, numbers and underscores of any script, with apostrophes inside."""

import re
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine

APOSTROPHES = CharSet.of("'\u2019")


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(found.start(), found.end()) for found in _pattern(text.isascii()).finditer(text))


@cache
def _pattern(ascii_only: bool) -> re.Pattern[str]:
    # The table of all scripts takes a moment to build, and most texts do not need it.
    word = "A-Za-z0-9_" if ascii_only else word_characters_class()
    return re.compile(f"[{word}]+(?:['\u2019][{word}]+)*")


@cache
def word_characters_class() -> str:
    """Word characters as the inside of a bracket expression."""
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in word_characters().ranges)


def machine() -> CountingMachine:
    outside, inside, after_apostrophe = 0, 1, 2
    return CountingMachine(
        classes=(word_characters(), APOSTROPHES),
        step=(
            ((inside, 1), (outside, 0), (outside, 0)),
            ((inside, 0), (after_apostrophe, 0), (outside, 0)),
            ((inside, 0), (outside, 0), (outside, 0)),
        ),
        final=(0, 0, 0),
    )


UNIT = Unit(
    summary="runs of letters, digits and marks of any script; apostrophes inside a word belong to it, hyphens do not",
    find=find,
    machine=machine,
    examples=(
        UnitExample("", 0),
        UnitExample("It's a well-known shop.", 5),
        UnitExample("naïve café, 3.5 stars", 5),
        UnitExample("'quoted' words'", 2),
    ),
)
