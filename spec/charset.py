"""Sets of characters as sorted ranges of code points: the alphabet of patterns, counting machines and automata.

A character is a Unicode scalar value. Surrogates are not characters: they belong to no set, and a complement never
yields them, so that every set has a UTF-8 form.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from types import MappingProxyType
from typing import Final

LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)

# Where a readable representative is looked for, best first: letters (ASCII, Latin, Greek, Cyrillic), digits,
# punctuation, space.
_PREFERRED: Final = (
    (0x61, 0x7A),
    (0x41, 0x5A),
    (0xE0, 0xF6),
    (0xC0, 0xD6),
    (0x3B1, 0x3C9),
    (0x391, 0x3A1),
    (0x3A3, 0x3A9),
    (0x430, 0x44F),
    (0x410, 0x42F),
    (0x30, 0x39),
    (0x2E, 0x2E),
    (0x2C, 0x2C),
    (0x21, 0x2F),
    (0x3A, 0x40),
    (0x5B, 0x60),
    (0x7B, 0x7E),
    (0x20, 0x20),
)
# How many characters of a range `pick` looks at for a printable one, so that a set of 900,000 private-use
# characters costs no more than a small one.
_LOOK: Final = 64

# Half-open stretches in which word characters live; every other plane is private use or has never held a character.
_ASSIGNED: Final = ((0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE0200))
# Simple case folds that Unicode 15.1 added and RE2 has; a Python with older tables would miss them.
_NEWER_FOLDS: Final = ((0x390, 0x1FD3), (0x3B0, 0x1FE3), (0xFB05, 0xFB06))
# No character above the second plane has case, and Unicode keeps scripts with case out of the higher planes.
_CASED_END: Final = 0x20000


@dataclass(frozen=True)
class CharSet:
    """A set of characters. `ranges` are inclusive (first, last) pairs of code points, sorted, disjoint, never touching.

    Raises ValueError when the ranges are not of that form; `CharSet.of_ranges` brings any ranges into it.
    """

    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        before = -2
        for first, last in self.ranges:
            if not before + 1 < first <= last <= LAST:
                raise ValueError(f"character ranges must be sorted, apart and within Unicode: {first:#x}-{last:#x}")
            if first <= _SURROGATES[1] and last >= _SURROGATES[0]:
                raise ValueError(f"surrogates are not characters: {first:#x}-{last:#x}")
            before = last

    @staticmethod
    def of_ranges(ranges: Iterable[tuple[int, int]]) -> CharSet:
        """The union of inclusive ranges in any order; surrogates are left out."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(_without_surrogates(ranges)):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return CharSet(tuple(merged))

    @staticmethod
    def of(text: Iterable[str]) -> CharSet:
        """The set of the characters in `text`."""
        return CharSet.of_ranges((ord(char), ord(char)) for char in text)

    def __contains__(self, char: str) -> bool:
        return self.has(ord(char))

    def has(self, point: int) -> bool:
        """Whether the character with this code point is in the set."""
        place = bisect_right(self.ranges, (point, LAST + 1)) - 1
        return place >= 0 and self.ranges[place][1] >= point

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __iter__(self) -> Iterator[str]:
        for first, last in self.ranges:
            yield from map(chr, range(first, last + 1))

    def union(self, *others: CharSet) -> CharSet:
        """Characters in this set or in any other."""
        return CharSet.of_ranges(pair for charset in (self, *others) for pair in charset.ranges)

    def complement(self) -> CharSet:
        """All characters that are not in this set."""
        gaps = []
        start = 0
        for first, last in self.ranges:
            if start < first:
                gaps.append((start, first - 1))
            start = last + 1
        if start <= LAST:
            gaps.append((start, LAST))
        return CharSet.of_ranges(gaps)

    def intersection(self, other: CharSet) -> CharSet:
        """Characters in both sets."""
        shared = []
        left, right = 0, 0
        while left < len(self.ranges) and right < len(other.ranges):
            first = max(self.ranges[left][0], other.ranges[right][0])
            last = min(self.ranges[left][1], other.ranges[right][1])
            if first <= last:
                shared.append((first, last))
            if self.ranges[left][1] < other.ranges[right][1]:
                left += 1
            else:
                right += 1
        return CharSet.of_ranges(shared)

    def difference(self, other: CharSet) -> CharSet:
        """Characters in this set that are not in the other."""
        return self.intersection(other.complement())

    def pick(self) -> str:
        """A readable representative: a letter if there is one, then a digit, punctuation, a space, any printable one.

        Raises ValueError for the empty set.
        """
        if not self.ranges:
            raise ValueError("the empty set has no representative")
        for first, last in _PREFERRED:
            place = bisect_right(self.ranges, (first, LAST + 1)) - 1
            if place >= 0 and self.ranges[place][1] >= first:
                return chr(first)
            if place + 1 < len(self.ranges) and self.ranges[place + 1][0] <= last:
                return chr(self.ranges[place + 1][0])
        near = [chr(point) for first, last in self.ranges for point in range(first, min(last, first + _LOOK) + 1)]
        letters = [char for char in near if char.isalpha()]
        printable = [char for char in near if char.isprintable()]
        return (letters or printable or near)[0]


def _without_surrogates(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges with surrogates cut out; empty ranges vanish."""
    low, high = _SURROGATES
    for first, last in ranges:
        if first > last:
            continue
        if last < low or first > high:
            yield first, last
            continue
        if first < low:
            yield first, low - 1
        if last > high:
            yield high + 1, last


EMPTY: Final = CharSet(())
ALL: Final = EMPTY.complement()
NEWLINE: Final = CharSet.of("\n")
ASCII_DIGIT: Final = CharSet(((0x30, 0x39),))
ASCII_WORD: Final = CharSet(((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)))
RE2_SPACE: Final = CharSet.of("\t\n\f\r ")


@cache
def word_characters() -> CharSet:
    """WORD: letters, marks and numbers of every script (categories L*, M*, N*) and the underscore.

    Built when first asked for (about 0.05 s), since most policies never need it.
    """
    ranges = [(0x5F, 0x5F)]
    for low, high in _ASSIGNED:
        for is_word, run in groupby(range(low, high), lambda point: unicodedata.category(chr(point))[0] in "LMN"):
            if is_word:
                points = list(run)
                ranges.append((points[0], points[-1]))
    return CharSet.of_ranges(ranges)


@cache
def _orbits() -> Mapping[str, CharSet]:
    """Every character with case, mapped to all characters that share its simple case fold (itself included)."""
    groups: dict[str, set[str]] = {}
    for point in (*range(_SURROGATES[0]), *range(_SURROGATES[1] + 1, _CASED_END)):
        char = chr(point)
        plain = _simple_fold(char)
        if plain != char:
            groups.setdefault(plain, {plain}).add(char)
    for one, other in _NEWER_FOLDS:
        groups.setdefault(chr(one), {chr(one)}).add(chr(other))
    orbits = {}
    for group in groups.values():
        charset = CharSet.of(group)
        orbits.update(dict.fromkeys(group, charset))
    return MappingProxyType(orbits)


def _simple_fold(char: str) -> str:
    """The one-character case fold; where the full fold is longer (ẞ), the lower-case form if that is one character."""
    folded = char.casefold()
    if len(folded) == 1:
        return folded
    lower = char.lower()
    return lower if len(lower) == 1 else char


_ASCII_ORBITS: Final[Mapping[str, CharSet]] = MappingProxyType(
    {
        char: CharSet.of(char.lower() + char.upper() + {"k": "\u212a", "s": "\u017f"}.get(char.lower(), ""))
        for char in map(chr, range(128))
    }
)


def fold(char: str) -> CharSet:
    """All characters that differ from `char` by case only, `char` included: K, k and the Kelvin sign are one orbit."""
    if char in _ASCII_ORBITS:
        return _ASCII_ORBITS[char]
    found = _orbits().get(char)
    return CharSet.of(char) if found is None else found


def folded(charset: CharSet) -> CharSet:
    """The union of the case orbits of the members of `charset`."""
    if charset.ranges and charset.ranges[-1][1] < 128:
        return charset.union(*(fold(char) for char in charset))
    return charset.union(*{orbit for char, orbit in _orbits().items() if char in charset})
