"""Symbolic alphabets: the coarsest partition of all characters that a set of patterns can tell apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count, repeat, takewhile
from operator import sub

from bylaw.spec.charset import LAST, CharSet


@dataclass(frozen=True)
class Alphabet:
    """A partition of all characters into classes (minterms), numbered from 0 in the order of their first members.

    Kept as stretches: `starts[i]` is the first code point of a stretch whose characters are all in class `labels[i]`;
    the first stretch starts at 0 and neighbours differ. `classes` are the same as sets, disjoint and covering
    everything.
    """

    starts: tuple[int, ...]
    labels: tuple[int, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.starts, self.labels)))

    def __hash__(self) -> int:
        return self._hash

    @staticmethod
    def of(charsets: Iterable[CharSet]) -> Alphabet:
        """The coarsest alphabet in which every given set is a union of classes."""
        toggles: dict[int, int] = {}
        for number, charset in enumerate(dict.fromkeys(charsets)):
            bit = 1 << number
            for first, last in charset.ranges:
                toggles[first] = toggles.get(first, 0) ^ bit
                toggles[last + 1] = toggles.get(last + 1, 0) ^ bit
        # A set that goes on after the surrogates has a gap there which is no difference between characters.
        toggles[0xE000] = toggles.pop(0xD800, 0) ^ toggles.get(0xE000, 0)
        signature = toggles.pop(0, 0)
        starts, signatures = [0], [signature]
        for point in sorted(toggles):
            signature ^= toggles[point]
            if point <= LAST:
                starts.append(point)
                signatures.append(signature)
        return _numbered(starts, signatures)

    @staticmethod
    def join(alphabets: Sequence[Alphabet]) -> tuple[Alphabet, tuple[tuple[int, ...], ...]]:
        """(the coarsest alphabet that refines all given ones, for each of these its class for each joint class)."""
        distinct = list(dict.fromkeys(alphabets))
        if len(distinct) == 1:
            identity = tuple(range(distinct[0].size))
            return distinct[0], (identity,) * len(alphabets)
        starts, columns = _side_by_side(distinct)
        numbers = dict(zip(dict.fromkeys(zip(*columns, strict=True)), count()))
        # Neighbours differ, since at each start some alphabet goes on to another class.
        joint = Alphabet(tuple(starts), tuple(map(numbers.__getitem__, zip(*columns, strict=True))))
        maps = dict(zip(distinct, zip(*numbers, strict=True), strict=True))
        return joint, tuple(maps[alphabet] for alphabet in alphabets)

    def map_to(self, coarser: Alphabet) -> tuple[int, ...]:
        """For each class, the class of `coarser` that holds it. Raises ValueError if `coarser` is not coarser."""
        _, columns = _side_by_side([self, coarser])
        pairs = dict.fromkeys(zip(*columns, strict=True))
        if len(pairs) > self.size:
            raise ValueError("the alphabet does not refine the other one")
        return tuple(label for _, label in sorted(pairs))

    def merged(self, groups: Sequence[int]) -> Alphabet:
        """The alphabet in which classes are one whose number in `groups` is the same."""
        return _numbered(self.starts, [groups[label] for label in self.labels])

    @cached_property
    def size(self) -> int:
        """The number of classes."""
        return max(self.labels) + 1

    @cached_property
    def classes(self) -> tuple[CharSet, ...]:
        """The classes as character sets."""
        ranges: list[list[tuple[int, int]]] = [[] for _ in range(self.size)]
        ends = (*self.starts[1:], LAST + 1)
        for first, end, label in zip(self.starts, ends, self.labels, strict=True):
            ranges[label].append((first, end - 1))
        return tuple(map(CharSet.of_ranges, ranges))

    @cached_property
    def representatives(self) -> tuple[str, ...]:
        """One readable character of each class."""
        return tuple(charset.pick() for charset in self.classes)

    @cached_property
    def _ascii(self) -> tuple[int, ...]:
        bounds = (*self.starts[1:], LAST + 1)
        stretches = zip(self.starts, bounds, self.labels, strict=True)
        early = takewhile(lambda stretch: stretch[0] < 128, stretches)
        return tuple(label for first, end, label in early for _ in range(first, min(end, 128)))

    def index(self, char: str) -> int:
        """The class of a character. Raises ValueError for half of a surrogate pair, which is not a character."""
        point = ord(char)
        if point < 128:
            return self._ascii[point]
        if 0xD800 <= point <= 0xDFFF:
            raise ValueError(f"half of a surrogate pair is not a character: {char!a}")
        return self.labels[self.stretch(point)]

    def stretch(self, point: int) -> int:
        """The number of the stretch that holds a code point."""
        return bisect_right(self.starts, point) - 1

    def indices(self, text: str) -> list[int]:
        """The class of every character of a text. Raises ValueError as `index` does."""
        return [self.index(char) for char in text]

    def classes_in(self, charset: CharSet) -> frozenset[int]:
        """The classes that make up `charset`. Raises ValueError when a class is partly inside."""
        inside = frozenset(label for label, own in enumerate(self.classes) if charset.has(own.ranges[0][0]))
        if CharSet(()).union(*(self.classes[label] for label in inside)) != charset:
            raise ValueError("the set is not a union of classes of this alphabet")
        return inside


def _side_by_side(alphabets: Sequence[Alphabet]) -> tuple[list[int], list[list[int]]]:
    """(where a class of any of the alphabets starts, for each alphabet its class from there on)."""
    starts = sorted(set().union(*(alphabet.starts for alphabet in alphabets)))
    places = dict(zip(starts, count()))
    columns = []
    for alphabet in alphabets:
        own = [*map(places.__getitem__, alphabet.starts), len(starts)]
        lengths = map(sub, own[1:], own)
        columns.append(list(chain.from_iterable(map(repeat, alphabet.labels, lengths))))
    return starts, columns


def _numbered(starts: Sequence[int], signatures: Sequence[Hashable]) -> Alphabet:
    """The alphabet whose classes are the stretches of equal signature."""
    numbers: dict[Hashable, int] = {}
    kept: list[int] = []
    labels: list[int] = []
    for start, signature in zip(starts, signatures, strict=True):
        label = numbers.setdefault(signature, len(numbers))
        if not labels or labels[-1] != label:
            kept.append(start)
            labels.append(label)
    return Alphabet(tuple(kept), tuple(labels))
