"""Letters by case: which characters are upper case, and which have another case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bylaw.spec.charset import ALL, CharSet

LAST_CASED = 0x1FFFF
"""Unicode keeps scripts with case out of the higher planes."""


@dataclass(frozen=True, slots=True)
class Cases:
    """All characters that have a case: upper, lower or title case (such as the single character `Dž`)."""

    upper: CharSet
    lower: CharSet
    title: CharSet


@cache
def cases() -> Cases:
    """The table, as `str.isupper` and its sisters have it. Built when first asked for (about 0.05 s)."""
    points = [point for low, high in ALL.ranges for point in range(low, min(high, LAST_CASED) + 1)]
    cased = [char for char in map(chr, points) if char.lower() != char.upper() or char.isupper() or char.islower()]
    return Cases(
        CharSet.of(filter(str.isupper, cased)),
        CharSet.of(filter(str.islower, cased)),
        CharSet.of(char for char in cased if char.istitle() and not char.isupper()),
    )
