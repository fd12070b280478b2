"""UTF-8 as a transducer: it reads bytes and reports the class of each completed character."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.alphabet import Alphabet

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

_NO_CLASS: Final = -1

# Well-formed byte sequences of two to four bytes, from Table 3-7 of the Unicode Standard: first bytes, second bytes,
# and how many bytes follow these two. Every later byte is in 80..BF.
_LEADS: Final = (
    (range(0xC2, 0xE0), range(0x80, 0xC0), 0),
    (range(0xE0, 0xE1), range(0xA0, 0xC0), 1),
    (range(0xE1, 0xED), range(0x80, 0xC0), 1),
    (range(0xED, 0xEE), range(0x80, 0xA0), 1),
    (range(0xEE, 0xF0), range(0x80, 0xC0), 1),
    (range(0xF0, 0xF1), range(0x90, 0xC0), 2),
    (range(0xF1, 0xF4), range(0x80, 0xC0), 2),
    (range(0xF4, 0xF5), range(0x80, 0x90), 2),
)


@dataclass(frozen=True)
class Utf8:
    """The transducer from bytes to the classes of an alphabet.

    State 0 is a character boundary; every other state is a set of partial sequences with the same future.
    `step[u][byte]` is (next state, class), with class -1 while a character is incomplete; a byte that is missing is
    ill-formed.
    """

    alphabet: Alphabet
    step: tuple[dict[int, tuple[int, int]], ...]

    @staticmethod
    def of(alphabet: Alphabet) -> Utf8:
        """The transducer of an alphabet; states with equal futures are one."""
        return Utf8(alphabet, _Sharing(alphabet).build())

    @property
    def size(self) -> int:
        """The number of states."""
        return len(self.step)

    def read(self, state: int, data: bytes) -> tuple[int, tuple[int, ...]] | None:
        """(state after `data`, classes of the characters completed on the way); None if the bytes are ill-formed."""
        classes = []
        for byte in data:
            found = self.step[state].get(byte)
            if found is None:
                return None
            state, label = found
            if label != _NO_CLASS:
                classes.append(label)
        return state, tuple(classes)

    @cached_property
    def completions(self) -> Bools:
        """Shape [U, K]: which class the character that a state is inside may still turn out to have.

        At a character boundary (state 0) that is every class.
        """
        possible = np.zeros((self.size, self.alphabet.size), dtype=np.bool_)
        for state in self._inner_first():
            for target, label in self.step[state].values():
                if label == _NO_CLASS:
                    possible[state] |= possible[target]
                else:
                    possible[state, label] = True
        return possible

    @cached_property
    def missing(self) -> Ints:
        """Shape [U]: how many bytes complete the character that a state is inside; 0 at a character boundary."""
        counts = np.zeros(self.size, dtype=np.int32)
        for state in range(1, self.size):
            # a first byte fixes the length, so all moves agree, and the builder numbers targets before their sources
            target, _ = next(iter(self.step[state].values()))
            counts[state] = counts[target] + 1
        return counts

    def _inner_first(self) -> Iterator[int]:
        """All states, those that fewer bytes complete first: the builder numbers them that way, 0 excepted."""
        yield from range(1, self.size)
        yield 0


class _Sharing:
    """Builds the transducer's states from the last byte backwards, and gives equal states one number."""

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.states: list[dict[int, tuple[int, int]]] = [{}]
        self.numbers: dict[tuple[tuple[int, tuple[int, int]], ...], int] = {}
        self.whole: dict[tuple[int, int], int] = {}

    def build(self) -> tuple[dict[int, tuple[int, int]], ...]:
        labels = self.alphabet.indices("".join(map(chr, range(0x80))))
        boundary = {byte: (0, label) for byte, label in enumerate(labels)}
        for firsts, seconds, following in _LEADS:
            for first in firsts:
                bits = (first & (0x1F, 0x0F, 0x07)[following]) << 6 * (following + 1)
                boundary[first] = self.tail(bits, seconds, following), _NO_CLASS
        self.states[0] = boundary
        return tuple(self.states)

    def tail(self, bits: int, continuations: range, following: int) -> int:
        """The state that waits for one of `continuations` and `following` more; `bits` are the known high bits."""
        width = 6 * following
        low = bits + ((continuations[0] & 0x3F) << width)
        high = bits + ((continuations[-1] & 0x3F) << width) + (1 << width) - 1
        label = self.uniform(low, high)
        key = (label, following)
        full = len(continuations) == 64 and label != _NO_CLASS
        if full and key in self.whole:
            return self.whole[key]
        moves = {}
        for byte in continuations:
            beyond = bits | (byte & 0x3F) << width
            if following:
                moves[byte] = self.tail(beyond, range(0x80, 0xC0), following - 1), _NO_CLASS
            else:
                moves[byte] = 0, self.alphabet.index(chr(beyond))
        number = self.numbers.setdefault(tuple(moves.items()), len(self.states))
        if number == len(self.states):
            self.states.append(moves)
        if full:
            self.whole[key] = number
        return number

    def uniform(self, low: int, high: int) -> int:
        """The class of all characters from `low` to `high`, or -1 if they differ."""
        first, last = self.alphabet.stretch(low), self.alphabet.stretch(high)
        return self.alphabet.labels[first] if first == last else _NO_CLASS
