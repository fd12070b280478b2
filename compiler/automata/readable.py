"""How readable characters are, and a readable character for each thing that several automata can tell apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Final

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.spec.charset import LAST, CharSet
from bylaw.spec.normal import forms, plain

# Kinds of characters, the most readable first: those of ASCII, those that may be foreign to an author, and those that
# do not show or that matching reads as others.
(
    _SMALL,
    _CAPITAL,
    _DIGIT,
    _SPACE,
    _STOP,
    _MARK,
    _BREAK,
    _FAMILIAR,
    _FAMILIAR_CAPITAL,
    _LETTER,
    _LETTER_CAPITAL,
    _NUMBER,
    _PRINTED,
    _ACCENT,
    _STRANGE,
) = range(15)
_LETTERS: Final = (_SMALL, _CAPITAL, _FAMILIAR, _FAMILIAR_CAPITAL, _LETTER, _LETTER_CAPITAL)
_CATEGORIES: Final = MappingProxyType(
    {
        **dict.fromkeys(("Ll", "Lm", "Lo"), _LETTER),
        **dict.fromkeys(("Lu", "Lt"), _LETTER_CAPITAL),
        **dict.fromkeys(("Nd", "Nl", "No"), _NUMBER),
        **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"), _PRINTED),
        **dict.fromkeys(("Mn", "Mc", "Me"), _ACCENT),
        **dict.fromkeys(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"), _STRANGE),
    }
)
_RANGES: Final = (
    (0x61, 0x7A, _SMALL),
    (0x41, 0x5A, _CAPITAL),
    (0xE0, 0xF6, _FAMILIAR),
    (0xC0, 0xD6, _FAMILIAR_CAPITAL),
    (0x3B1, 0x3C9, _FAMILIAR),
    (0x391, 0x3A1, _FAMILIAR_CAPITAL),
    (0x3A3, 0x3A9, _FAMILIAR_CAPITAL),
    (0x430, 0x44F, _FAMILIAR),
    (0x410, 0x42F, _FAMILIAR_CAPITAL),
    (0x30, 0x39, _DIGIT),
    (0x2E, 0x2E, _STOP),
    (0x2C, 0x2C, _STOP),
    (0x21, 0x2B, _MARK),
    (0x2D, 0x2D, _MARK),
    (0x2F, 0x2F, _MARK),
    (0x3A, 0x40, _MARK),
    (0x5B, 0x60, _MARK),
    (0x7B, 0x7E, _MARK),
    (0x20, 0x20, _SPACE),
    (0x0A, 0x0A, _BREAK),
    (0x09, 0x09, _BREAK),
)
# Characters outside are unassigned or private, but for some that show nothing.
_ASSIGNED: Final = ((0, 0xD800), (0xE000, 0x40000))


@cache
def _known_kinds() -> Mapping[str, int]:
    """The kinds of the characters in _RANGES."""
    return MappingProxyType({chr(point): kind for first, last, kind in _RANGES for point in range(first, last + 1)})


def _kind(char: str) -> int:
    """The kind of one character, without the tables of all characters."""
    known = _known_kinds().get(char)
    if known is not None:
        return known
    return _CATEGORIES[unicodedata.category(char)] if plain(char) == char else _STRANGE


@cache
def _kinds() -> tuple[Alphabet, tuple[int, ...]]:
    """(an alphabet that tells the kinds apart, the kind of each of its classes); built in about 0.05 s."""
    known = bytearray([_STRANGE]) * (LAST + 1)
    for first, end in _ASSIGNED:
        known[first:end] = bytes(map(_CATEGORIES.__getitem__, map(unicodedata.category, map(chr, range(first, end)))))
    for _, chars in forms():
        for char in chars:
            known[ord(char)] = _STRANGE
    for char, kind in _known_kinds().items():
        known[ord(char)] = kind
    sets: dict[int, list[tuple[int, int]]] = {}
    for run in re.finditer(rb"(?s)(.)\1*", bytes(known)):
        sets.setdefault(known[run.start()], []).append((run.start(), run.end() - 1))
    alphabet = Alphabet.of([CharSet.of_ranges(ranges) for ranges in sets.values()])
    return alphabet, tuple(known[charset.ranges[0][0]] for charset in alphabet.classes)


@dataclass(frozen=True, slots=True)
class Joint:
    """What several automata can tell apart, with one readable character for each class.

    `maps[i]` are the classes of alphabet number i, one for each joint class; the cheapest come first, and of these the
    most readable. `chars` are the readable characters, and `ends` those for the ends of a text: not white space where a
    class has another character as cheap. `costs` is what each of them costs in a text that is shown to an author, and
    `least[i]` the same for the classes of alphabet number i, each by itself; None for one that no joint class is in.
    """

    maps: tuple[tuple[int, ...], ...]
    chars: tuple[str, ...]
    ends: tuple[str, ...]
    costs: tuple[int, ...]
    least: tuple[tuple[int | None, ...], ...]


FOREIGN: Final = 1 << 24
"""What a character costs that is neither ASCII nor the author's: as much as any number of those."""
STRANGE: Final = 1 << 48
"""What one costs that does not show, or that matching reads as others (`\u33b1` as `ns`)."""

_Signature = tuple[int, ...]
_Classes = Mapping[_Signature, tuple[int, int]]
_ASCII: Final = "".join(map(chr, (9, 10, *range(0x20, 0x7F))))


def familiar(alphabets: Sequence[Alphabet], letters: str = "") -> Joint:
    """The joint classes of at least one alphabet that have a character of the author: printed ASCII, or of `letters`.

    Where a class has characters of `letters` that are as readable as any of its others, its character is the first of
    these; and such classes come before others of this kind, in the order of `letters`.
    """
    distinct = tuple(dict.fromkeys(alphabets))
    best: dict[_Signature, tuple[int, int]] = {}
    solid: dict[_Signature, tuple[int, int]] = {}
    for char, *own in zip(_ASCII, *(alphabet.indices(_ASCII) for alphabet in distinct), strict=True):
        _note(tuple(own), (_known_kinds()[char], ord(char)), best, solid)
    return _joint(alphabets, distinct, best, solid, letters)


def all_classes(alphabets: Sequence[Alphabet]) -> Joint:
    """All joint classes of at least one alphabet, each with some character, and each as cheap as any other."""
    alphabet, maps = Alphabet.join(alphabets)
    first = dict(zip(reversed(alphabet.labels), reversed(alphabet.starts), strict=True))
    chars = tuple(chr(first[label]) for label in range(alphabet.size))
    return Joint(maps, chars, chars, (1,) * alphabet.size, tuple((1,) * own.size for own in alphabets))


def joined(alphabets: Sequence[Alphabet], letters: str = "") -> Joint:
    """All joint classes of at least one alphabet, with characters chosen as in `familiar`."""
    distinct = tuple(dict.fromkeys(alphabets))
    return _joint(alphabets, distinct, *_best(distinct), letters)


def _joint(
    alphabets: Sequence[Alphabet], distinct: tuple[Alphabet, ...], best: _Classes, solid: _Classes, letters: str
) -> Joint:
    ranks = {one: (_cost(kind), _group(kind), len(letters), kind, point) for one, (kind, point) in best.items()}
    chars = {one: chr(point) for one, (_, point) in best.items()}
    for place, letter in enumerate(letters):
        kind = _kind(letter)
        if kind != _STRANGE:
            one = tuple([own.index(letter) for own in distinct])
            rank = 1, _group(kind), place, kind, ord(letter)
            if one not in ranks or rank < ranks[one]:
                ranks[one], chars[one] = rank, letter
    ends = {
        one: chr(solid[one][1])
        for one, char in chars.items()
        if char.isspace() and one in solid and _cost(solid[one][0]) == ranks[one][0]
    }
    order = sorted(ranks, key=ranks.__getitem__)
    costs = tuple(ranks[one][0] for one in order)
    maps = dict(zip(distinct, zip(*order, strict=True), strict=True))
    return Joint(
        tuple(maps[own] for own in alphabets),
        tuple(chars[one] for one in order),
        tuple(ends.get(one, chars[one]) for one in order),
        costs,
        tuple(_least(own, maps[own], costs) for own in alphabets),
    )


def _note(
    signature: _Signature,
    found: tuple[int, int],
    best: dict[_Signature, tuple[int, int]],
    solid: dict[_Signature, tuple[int, int]],
) -> None:
    """Keeps a kind with a character of it if it is the best so far, of all and of those that are no white space."""
    if signature not in best or found < best[signature]:
        best[signature] = found
    if found[0] not in (_SPACE, _BREAK) and (signature not in solid or found < solid[signature]):
        solid[signature] = found


def _cost(kind: int) -> int:
    return 1 + (STRANGE if kind == _STRANGE else FOREIGN if kind > _BREAK else 0)


def _group(kind: int) -> int:
    return _SMALL if kind in _LETTERS else kind


def _least(alphabet: Alphabet, labels: Sequence[int], costs: Sequence[int]) -> tuple[int | None, ...]:
    """For each class of one alphabet, the least cost of a joint class in it; joint classes come in rising order."""
    found = dict(zip(reversed(labels), reversed(costs), strict=True))
    return tuple(found.get(label) for label in range(alphabet.size))


@lru_cache(maxsize=256)
def _best(distinct: tuple[Alphabet, ...]) -> tuple[_Classes, _Classes]:
    """For each joint class, given by the class of each alphabet: its best kind and the first character of that kind.

    Then the same without white space, for the classes that have anything else.
    """
    alphabet, kinds = _kinds()
    joint, maps = Alphabet.join((*distinct, alphabet))
    first = dict(zip(reversed(joint.labels), reversed(joint.starts), strict=True))
    best: dict[_Signature, tuple[int, int]] = {}
    solid: dict[_Signature, tuple[int, int]] = {}
    for label, (*own, kind_label) in enumerate(zip(*maps, strict=True)):
        _note(tuple(own), (kinds[kind_label], first[label]), best, solid)
    return MappingProxyType(best), MappingProxyType(solid)
