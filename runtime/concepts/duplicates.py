"""Texts that are nearly the same: examples that count twice, and test texts that a model has seen.

Texts are compared as people would: in one case, one form of Unicode, with punctuation and spaces as one space. Two
texts are *the same* if nothing is left to tell them apart, *near* if they share most of their shingles (runs of five
characters), and one is *contained* if most of its shingles are in the other.

Pairs are found without comparing all: each text keeps a few fingerprints, such that two texts with a common run of 31
characters keep one in common (winnowing), and only texts with a common one are compared, exactly. What very many texts
share (a greeting) leads to the first of them only. So the time grows with the length of all texts together. Where more
than a few texts are nearly the same, each is paired with some, not with all, of the others; `duplicate_groups` joins
them.

Sources: Broder, "On the resemblance and containment of documents", 1997; Schleimer, Wilkerson and Aiken, "Winnowing",
SIGMOD 2003.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.performance import group_numbers

Hashes: TypeAlias = npt.NDArray[np.uint64]
RESEMBLANCE = 0.8
"""The share of the shingles of both texts together that near-duplicates have in common."""
CONTAINMENT = 0.9
"""The share of its shingles that a contained text has in the other."""
LEAST_CONTAINED = 40
"""Characters: a shorter text in a longer one is a phrase that both use."""
_SHINGLE, _RUN = 5, 12
# Texts of fewer characters than this: windows of so many runs.
_WINDOWS = ((100, 4), (300, 8), (sys.maxsize, 20))
_IN_A_BUCKET, _COMPARED, _REMEMBERED = 8, 16, 4096
# An edit takes 5 shingles and up to 31 places of fingerprints, mostly far fewer: texts that share nine tenths of the
# one share a quarter of the other.
_LEAST_SHARED = 0.25
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_BASE, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A pair of texts, by their places: `first` < `second`. `resemblance`: the share of the shingles of both together
    that they share; `containment`: the share of those of the one with fewer."""

    first: int
    second: int
    kind: Literal["same", "near", "contained"]
    resemblance: float
    containment: float


def near_duplicates(
    texts: Sequence[str], *, resemblance: float = RESEMBLANCE, containment: float = CONTAINMENT
) -> tuple[Duplicate, ...]:
    """Pairs of texts that are nearly the same, in order. Texts without letters and digits are compared as written."""
    return tuple(_pairs(texts, None, resemblance, containment))


def leakage(
    texts: Sequence[str],
    sets: Sequence[Hashable],
    *,
    resemblance: float = RESEMBLANCE,
    containment: float = CONTAINMENT,
) -> tuple[Duplicate, ...]:
    """Pairs of nearly the same texts that are in different `sets` [N] (a few folds; examples and audited texts).

    Raises ValueError for lengths that differ.
    """
    if len(sets) != len(texts):
        raise ValueError(f"there are {len(texts)} texts and {len(sets)} sets; each text is in one set")
    return tuple(_pairs(texts, sets, resemblance, containment))


def duplicate_groups(texts: Sequence[str], groups: Sequence[object] | None = None) -> tuple[int, ...]:
    """[N] a group for each text: texts of one of the given `groups` ("" and None: none) and near-duplicates are in one,
    and so is all that is joined by them. For folds that leak nothing. Raises ValueError for lengths that differ."""
    if groups is not None and len(groups) != len(texts):
        raise ValueError(f"there are {len(texts)} texts and {len(groups)} groups; each text has one group")
    links = ((pair.first, pair.second) for pair in near_duplicates(texts))
    return joined_groups(_linked(len(texts), links), group_numbers(groups, len(texts)).tolist())


def joined_groups(one: Sequence[Hashable], other: Sequence[Hashable]) -> tuple[int, ...]:
    """[N] a group for each text: texts that are of one group in `one` [N] or in `other` [N] are in one, and so is all
    that is joined by them."""
    links = []
    for groups in (one, other):
        first: dict[Hashable, int] = {}
        links += [(first.setdefault(group, at), at) for at, group in enumerate(groups)]
    return _linked(len(one), links)


def _linked(count: int, links: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """[N] the number of what each of N things hangs together with, in the order of the first ones."""
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for pair in links:
        one, other = sorted(map(root, pair))
        parent[other] = one
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(root(at), len(numbers)) for at in range(count))


# ------------------------------------------------------------------------------------------------------------- finding
def _pairs(
    texts: Sequence[str], sets: Sequence[Hashable] | None, resemblance: float, containment: float
) -> Iterator[Duplicate]:
    """Of each text with earlier ones; where `sets` are given, with those of other sets."""
    same: dict[str, dict[Hashable, int]] = {}
    index: dict[Hashable, dict[int, list[int]]] = {}
    forms: dict[int, tuple[str, tuple[int, ...]]] = {}
    shingles = lru_cache(maxsize=_REMEMBERED)(lambda at: np.unique(_hashes(forms[at][0], _SHINGLE)))
    for at, text in enumerate(texts):
        normal, mine = normal_form(text), None if sets is None else sets[at]
        copies = same.setdefault(normal, {})
        for where, first in copies.items():
            if sets is None or where != mine:
                yield Duplicate(first, at, "same", 1.0, 1.0)
        if mine in copies or not normal:
            # the first of its copies stands for it
            copies.setdefault(mine, at)
            continue
        (prints, counts), known = _fingerprints(normal), set(copies.values())
        copies[mine], forms[at] = at, (normal, counts)
        near: Counter[int] = Counter()
        for where, buckets in index.items():
            if sets is None or where != mine:
                near.update(chain.from_iterable(buckets.get(each, ()) for each in prints))
        for other, shared in sorted(near.most_common(_COMPARED)):
            if other not in known and shared >= _LEAST_SHARED * _fewer(forms[other][1], counts):
                pair = _compared(other, at, shingles, resemblance, containment)
                if pair is not None:
                    yield pair
        mates = index.setdefault(mine, {})
        for each in prints:
            members = mates.setdefault(each, [])
            if len(members) < _IN_A_BUCKET:
                members.append(at)


def _fewer(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """The fingerprints of the text with fewer, both with the wider of their windows."""
    at = -min(len(one), len(other))
    return min(one[at], other[at])


def _compared(
    first: int, second: int, shingles: Callable[[int], Hashes], resemblance: float, containment: float
) -> Duplicate | None:
    one, other = shingles(first), shingles(second)
    common = len(np.intersect1d(one, other, assume_unique=True))
    smaller = min(len(one), len(other))
    like, inside = common / (len(one) + len(other) - common), common / smaller
    if like >= resemblance:
        return Duplicate(first, second, "near", like, inside)
    if inside >= containment and smaller >= LEAST_CONTAINED - _SHINGLE + 1:
        return Duplicate(first, second, "contained", like, inside)
    return None


def normal_form(text: str) -> str:
    """What a text is compared by: NFKC, case folded, what is neither letter nor digit as one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _BETWEEN_WORDS.sub(" ", folded).strip() or folded.strip()


def _hashes(text: str, length: int) -> Hashes:
    """[n − length + 1] a hash of 64 bits of each run of `length` characters; of a shorter text, of all of it."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    length = min(length, len(codes))
    found = np.zeros(len(codes) - length + 1 if length else 0, dtype=np.uint64)
    # unsigned arithmetic wraps, as it should
    for at in range(length):
        found = (found + codes[at : at + len(found)] + np.uint64(1)) * _BASE
        found ^= found >> np.uint64(29)
    found = found * _MIX
    return found ^ (found >> np.uint64(32))


def _fingerprints(text: str) -> tuple[list[int], tuple[int, ...]]:
    """The least hash of each window of runs (neighbours mostly have the same), and how many there are with each width
    of windows from the text's own on. Those of a wide window are among those of a narrow one, so that short texts can
    have narrow ones and still be found in long ones."""
    runs = _hashes(text, _RUN)
    widths = [min(len(runs), width) for length, width in _WINDOWS if len(text) < length]
    found: list[list[int]] = []
    for width in widths:
        rows = (len(runs) - width + 1, width)
        windows = np.lib.stride_tricks.as_strided(runs, rows, runs.strides * 2, writeable=False)
        found.append(list(set(windows.min(axis=1).tolist())))
    return found[0], tuple(map(len, found))
