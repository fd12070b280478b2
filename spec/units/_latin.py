"""Latin letters by the letter they are written with: an accent does not make another vowel of a vowel."""

from __future__ import annotations

import unicodedata
from functools import cache

from bylaw.spec.charset import CharSet

_LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF))


@cache
def latin(letters: str) -> CharSet:
    """All characters that are one of these letters, in either case, with or without accents."""
    points = (point for first, last in _LATIN for point in range(first, last + 1))
    return CharSet.of(char for char in map(chr, points) if unicodedata.normalize("NFD", char)[0].lower() in letters)
