"""Searching for units with regular expressions that are compiled when first needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from bylaw.spec.charset import CharSet, word_characters
from bylaw.spec.expression import Extent

Find = Callable[[str], tuple[Extent, ...]]


def extents_of(pattern: re.Pattern[str], text: str) -> tuple[Extent, ...]:
    """Every match from left to right."""
    return tuple(Extent(found.start(), found.end()) for found in pattern.finditer(text))


def inside(characters: CharSet) -> str:
    """A set as the inside of a bracket expression."""
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in characters.ranges)


def word_class(text: str) -> str:
    """Word characters (letters, marks, numbers of any script, underscore) as far as `text` can have them.

    The table of all scripts takes a moment to build, and most texts do not need it.
    """
    return "A-Za-z0-9_" if text.isascii() else _all_word_characters()


@cache
def _all_word_characters() -> str:
    return inside(word_characters())


@cache
def compiled(source: str, word: str, flags: int = 0) -> re.Pattern[str]:
    """`source` with WORD replaced by the inside of a bracket expression."""
    return re.compile(source.replace("WORD", word), flags)
