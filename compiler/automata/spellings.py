"""The tokens of a vocabulary as characters, computed once and shared by all automata over that vocabulary.

A token has at most three parts: bytes that finish a character begun before it (its head: continuation bytes), whole
characters, and the beginning of a character that it leaves open (its tail). What an alphabet makes of the characters is
one table look-up for all tokens together.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.utf8 import Utf8

Ints = NDArray[np.int32]

_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The parts of V tokens.

    `points[begin[v] : begin[v] + length[v]]` are the code points of token v's whole characters; `heads[head[v]]` and
    `tails[tail[v]]` are the bytes around them, number 0 being no bytes. `head[v]` is -1 for tokens that no text holds:
    special ones (None) and ill-formed bytes. A tail may still be ill-formed (half a surrogate); `Utf8` tells.
    """

    points: NDArray[np.uint32]
    begin: NDArray[np.int64]
    length: Ints
    head: Ints
    tail: Ints
    heads: tuple[bytes, ...]
    tails: tuple[bytes, ...]

    @staticmethod
    def of(token_bytes: Sequence[bytes | None]) -> TokenTable:
        """The parts of all tokens. O(bytes) and a few passes of numpy."""
        heads, tails = {b"": 0}, {b"": 0}
        head, tail = np.full(len(token_bytes), -1, dtype=np.int32), np.zeros(len(token_bytes), dtype=np.int32)
        texts = [""] * len(token_bytes)
        for token, data in enumerate(token_bytes):
            if data is None:
                continue
            if data.isascii():
                texts[token] = data.decode("ascii")
                head[token] = 0
                continue
            rest = data.lstrip(_CONTINUATIONS)
            try:
                texts[token], read = utf_8_decode(rest, "strict", False)
            except UnicodeDecodeError:
                continue
            first = data[: len(data) - len(rest)]
            if len(first) <= 3:
                head[token] = heads.setdefault(first, len(heads))
                tail[token] = tails.setdefault(rest[read:], len(tails))
        lengths = list(map(len, texts))
        points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
        begin = np.array([0, *accumulate(lengths)][:-1], dtype=np.int64)
        return TokenTable(points, begin, np.array(lengths, dtype=np.int32), head, tail, tuple(heads), tuple(tails))

    @cached_property
    def from_boundary(self) -> NDArray[np.int64]:
        """The tokens that can follow a whole character, in ascending order."""
        return np.flatnonzero(self.head == 0)

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """The tokens that can follow a part of a character: they begin with continuation bytes, or spell nothing."""
        nothing = (self.head == 0) & (self.length == 0) & (self.tail == 0)
        return np.flatnonzero((self.head > 0) | nothing)

    @cached_property
    def by_head(self) -> tuple[NDArray[np.int64], ...]:
        """For each head, the tokens of `inside` that have it, in ascending order."""
        own = self.head[self.inside]
        order = np.argsort(own, kind="stable")
        bounds = np.searchsorted(own[order], np.arange(len(self.heads) + 1))
        return tuple(self.inside[order[a:b]] for a, b in pairwise(bounds))


@lru_cache(maxsize=4)
def token_table(token_bytes: tuple[bytes | None, ...]) -> TokenTable:
    """The table of a vocabulary; the last few are kept."""
    return TokenTable.of(token_bytes)


@dataclass(frozen=True, eq=False)
class Source:
    """N tokens as they can be read from one transducer state.

    `first` [N]: the class of the character that the token's head completes, -1 for none. `begin`, `length` [N]: where
    the classes of its whole characters are in `Spellings.labels`. `target` [N]: the transducer state behind it.
    """

    tokens: NDArray[np.int64]
    first: Ints
    begin: NDArray[np.int64]
    length: Ints
    target: Ints


class Spellings:
    """A vocabulary as the classes of an alphabet: `labels` [characters of all tokens]."""

    def __init__(self, utf8: Utf8, table: TokenTable) -> None:
        self.utf8 = utf8
        self.table = table
        self.labels = _labels(utf8.alphabet, table.points)
        ends = [utf8.read(0, tail) for tail in table.tails]
        # a tail completes no character, so only the state behind it matters
        self._tail_state = np.array([-1 if end is None else end[0] for end in ends], dtype=np.int32)

    def source(self, u: int) -> Source:
        """The tokens that are well-formed from transducer state u; u = U is the start of a text that drops a space.

        There a token without bytes stays in that state.
        """
        if 0 < u < self.utf8.size:
            return self._from_inside(u)
        table = self.table
        tokens = table.from_boundary
        begin, length = table.begin[tokens], table.length[tokens]
        target = self._tail_state[table.tail[tokens]]
        if u:
            target = np.where((length == 0) & (table.tail[tokens] == 0), np.int32(u), target)
            spaced = length > 0
            spaced[spaced] = table.points[begin[spaced]] == 0x20
            begin, length = begin + spaced, length - spaced
        return _kept(tokens, np.full(len(tokens), -1, dtype=np.int32), begin, length, target)

    def _from_inside(self, u: int) -> Source:
        table = self.table
        tokens = [np.zeros(0, dtype=np.int64)]
        first, state = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
        for own, reached, labels in self._heads(u):
            tokens.append(own)
            first.append(np.full(len(own), labels[0] if labels else -1, dtype=np.int32))
            state.append(np.full(len(own), reached, dtype=np.int32))
        found, behind = np.concatenate(tokens), np.concatenate(state)
        length, tail = table.length[found], table.tail[found]
        bare = (length == 0) & (tail == 0)
        # after a head that leaves the character open nothing else can follow
        target = np.where(behind == 0, self._tail_state[tail], np.where(bare, behind, np.int32(-1)))
        return _kept(found, np.concatenate(first), table.begin[found], length, target)

    def exits(self, u: int) -> tuple[tuple[tuple[int, ...], int], ...]:
        """What tokens do inside a character (u > 0), each effect once: (classes of completed characters, next u)."""
        found: dict[tuple[tuple[int, ...], int], None] = {}
        for own, reached, labels in self._heads(u):
            for more, target in self._rests[int(self.table.head[own[0]])]:
                if reached == 0:
                    found[labels + more, target] = None
                elif not more and target == 0:
                    found[labels, reached] = None
        return tuple(found)

    def _heads(self, u: int) -> list[tuple[NDArray[np.int64], int, tuple[int, ...]]]:
        """For each head that can be read from u: (its tokens, the state behind the head, classes completed by it)."""
        heads = []
        for data, own in zip(self.table.heads, self.table.by_head, strict=True):
            read = self.utf8.read(u, data) if len(own) else None
            if read is not None:
                heads.append((own, *read))
        return heads

    @cached_property
    def _rests(self) -> tuple[tuple[tuple[tuple[int, ...], int], ...], ...]:
        """For each head, what follows it in its tokens, each once: (classes of whole characters, state of the tail)."""
        table = self.table
        rests = []
        for own in table.by_head:
            kinds: dict[tuple[tuple[int, ...], int], None] = {}
            for token in own:
                begin, target = table.begin[token], int(self._tail_state[table.tail[token]])
                if target >= 0:
                    kinds[tuple(self.labels[begin : begin + table.length[token]].tolist()), target] = None
            rests.append(tuple(kinds))
        return tuple(rests)


def _kept(tokens: NDArray[np.int64], first: Ints, begin: NDArray[np.int64], length: Ints, target: Ints) -> Source:
    """The source without tokens whose tail is ill-formed, in the order of the tokens."""
    order = np.argsort(tokens, kind="stable")
    order = order[target[order] >= 0]
    return Source(tokens[order], first[order], begin[order], length[order], target[order])


def _labels(alphabet: Alphabet, points: NDArray[np.uint32]) -> Ints:
    """The class of each code point."""
    starts = np.array(alphabet.starts, dtype=np.uint32)
    labels = np.array(alphabet.labels, dtype=np.int32)
    ascii_labels = labels[np.searchsorted(starts, np.arange(128, dtype=np.uint32), side="right") - 1]
    found = ascii_labels[np.minimum(points, 127)]
    beyond = np.flatnonzero(points > 127)
    found[beyond] = labels[np.searchsorted(starts, points[beyond], side="right") - 1]
    return found
