"""From characters to bytes and tokens: where an automaton meets the vocabulary of a model.

Automata read characters; tokens are bytes, and may begin or end inside a character. The only bridge is a small
transducer that reads UTF-8 and reports the class of each completed character. A composite state is a pair of an
automaton state q and a transducer state u, numbered u * Q + q, so that 0..Q-1 are the states at a character boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.counts import Valued, support, trim
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Entries (states times token classes) of one table; just under 1 GB with its rewards.
MAX_CELLS: Final = 80_000_000
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


@dataclass(frozen=True)
class Block:
    """Transitions from the states of one transducer state: token v in class `class_of[v]` acts as column class_of[v].

    `class_of` has shape [V]; `next_state` (int32, composite, -1 for forbidden) and `reward` (-inf for forbidden) have
    shape [Q, C]. The block of the extra start state has one row.
    """

    class_of: Ints
    next_state: Ints
    reward: Floats


class TokenAutomaton:
    """A valued automaton, or a language, over the tokens of a vocabulary.

    `token_bytes[v]` is what token v spells, None for special tokens that must never occur inside a text. A transition
    is forbidden (next state -1, reward -inf) when its bytes are ill-formed, the token is special, or no text can be
    reached any more that has a finite value. With `drop_leading_space` the first byte of the whole text, if it is a
    space, is not part of the text (as with sentencepiece models); that takes an extra start state.

    Arrays: Q automaton states, U transducer states, V tokens, C token classes, K character classes. Raises StateLimit
    when a table would have more than MAX_CELLS entries.
    """

    def __init__(
        self, automaton: Valued | Dfa, token_bytes: Sequence[bytes | None], drop_leading_space: bool = False
    ) -> None:
        self.valued = support(automaton) if isinstance(automaton, Dfa) else trim(automaton)
        self.token_bytes = tuple(token_bytes)
        self.utf8 = Utf8.of(self.valued.alphabet)
        self._delta = np.array(self.valued.delta, dtype=np.int32)
        self._increments = np.array(self.valued.increments, dtype=np.float64)
        self._final = np.array(self.valued.final, dtype=np.float64)
        self._paying = bool(self._increments.any())
        hopeful = np.array([distance is not None for distance in self.valued.distance])
        # [U, Q]: whether some character that u may become leads q to a state with a finite value ahead of it.
        self._open = self.utf8.completions.astype(np.float32) @ hopeful[self._delta].T.astype(np.float32) > 0
        self._open[0] = hopeful
        self._spaced = drop_leading_space
        self._blocks: dict[int, Block] = {}
        # The only tokens that can follow inside a character: they begin with a continuation byte, or spell nothing.
        self._continuing = [
            v for v, data in enumerate(self.token_bytes) if data is not None and (not data or 0x80 <= data[0] < 0xC0)
        ]

    @property
    def size(self) -> int:
        """Q, the number of automaton states."""
        return self.valued.size

    @property
    def state_count(self) -> int:
        """The number of composite states: ids are below it."""
        return self.size * self.utf8.size + self._spaced

    @property
    def start(self) -> int:
        """The composite state of the empty text."""
        return self.size * self.utf8.size if self._spaced else self.valued.start

    @property
    def delta(self) -> Ints:
        """Shape [Q, K]: next automaton states by character class."""
        return self._delta

    @property
    def increments(self) -> Floats:
        """Shape [Q, K]: what a character of a class pays, in nats."""
        return self._increments

    @property
    def class_of(self) -> Ints:
        """Shape [V]: the token class at a character boundary."""
        return self.block(0).class_of

    @property
    def next_state(self) -> Ints:
        """Shape [Q, C]: next composite states at a character boundary, -1 for forbidden."""
        return self.block(0).next_state

    @property
    def reward(self) -> Floats:
        """Shape [Q, C]: what a token pays at a character boundary, -inf for forbidden."""
        return self.block(0).reward

    def block(self, u: int) -> Block:
        """The transitions at transducer state u, computed when first asked for; u = U is the extra start state."""
        if u not in self._blocks:
            self._blocks[u] = self._build(u)
        return self._blocks[u]

    def exits(self, u: int) -> tuple[tuple[tuple[int, ...], int], ...]:
        """What tokens do inside a character (u != 0), each effect once: (classes of completed characters, next u).

        The first completed character is the pending one, so the token that completes it pays for it.
        """
        return tuple((labels, target) for labels, targets in self._effects(u).items() for target in targets)

    def after(self, labels: Sequence[int]) -> Ints:
        """Shape [Q]: the automaton state that characters of the given classes lead to from each state."""
        states = np.arange(self.size, dtype=np.int32)
        for label in labels:
            states = self._delta[states, label]
        return states

    def split(self, states: Ints) -> tuple[Ints, Ints]:
        """(u, row within block u) of composite states."""
        u, row = np.divmod(states, np.int32(self.size))
        return u, row

    def step(self, states: Ints, tokens: Ints) -> tuple[Ints, Floats]:
        """(next states, rewards) of N states under N tokens; a state of -1 stays -1 and pays -inf."""
        return self._apply(states, lambda block, rows, at: _cells(block, rows, block.class_of[tokens[at]]), ())

    def rows(self, states: Ints) -> tuple[Ints, Floats]:
        """(next states, rewards) of N states under every token, of shape [N, V]; a state of -1 has all forbidden."""
        width = (len(self.token_bytes),)
        return self._apply(states, lambda block, rows, at: _cells(block, rows[:, None], block.class_of[None, :]), width)

    def row(self, state: int) -> tuple[Ints, Floats]:
        """(next states, rewards) of one state under every token, of shape [V]."""
        following, rewards = self.rows(np.array([state], dtype=np.int32))
        return following[0], rewards[0]

    def _apply(
        self,
        states: Ints,
        cells: Callable[[Block, Ints, NDArray[np.intp]], tuple[Ints, Floats]],
        width: tuple[int, ...],
    ) -> tuple[Ints, Floats]:
        """Fills arrays of shape [N, *width] with `cells` of each block that the states are in."""
        states = np.asarray(states, dtype=np.int32)
        following = np.full((len(states), *width), -1, dtype=np.int32)
        rewards = np.full((len(states), *width), -inf)
        u, rows = self.split(states)
        for number in np.unique(u):
            if number >= 0:
                at = np.flatnonzero(u == number)
                following[at], rewards[at] = cells(self.block(int(number)), rows[at], at)
        return following, rewards

    def final(self, states: Ints) -> Floats:
        """What ending the text pays in each of N states: -inf inside a character and where a hard rule is broken."""
        states = np.asarray(states, dtype=np.int32)
        values = np.full(states.shape, -inf)
        whole = (states >= 0) & (states < self.size)
        values[whole] = self._final[states[whole]]
        if self._spaced:
            values[states == self.start] = self._final[self.valued.start]
        return values

    def completions(self, u: int) -> Bools:
        """Shape [K]: which classes the character that transducer state u is inside may still turn out to have."""
        possible: Bools = self.utf8.completions[u]
        return possible

    def _build(self, u: int) -> Block:
        origin = np.arange(self.size) if u < self.utf8.size else np.array([self.valued.start])
        nowhere = np.full(len(origin), -1, dtype=np.int32)
        columns: list[tuple[Ints, Floats | None]] = [(nowhere, None)]
        column_of = {_digest(nowhere, None): 0}
        class_of = np.zeros(len(self.token_bytes), dtype=np.int32)
        for target, tokens, reached, paid in self._walk(self._effects(u), origin.astype(np.int32)):
            column, reward = self._column(target, reached, paid)
            number = column_of.setdefault(_digest(column, reward), len(columns))
            if number == len(columns):
                if number * len(origin) >= MAX_CELLS:
                    raise StateLimit(MAX_CELLS)
                columns.append((column, reward))
            class_of[tokens] = number
        next_state = np.stack([column for column, _ in columns], axis=1)
        rewards = np.where(next_state < 0, -inf, 0.0)
        for number, (_, reward) in enumerate(columns):
            if reward is not None:
                rewards[:, number] += reward
        for table in (class_of, next_state, rewards):
            table.flags.writeable = False
        return Block(class_of, next_state, rewards)

    def _column(self, target: int, reached: Ints, paid: Floats) -> tuple[Ints, Floats | None]:
        """(composite next states, rewards) of one effect; None for a column that pays nothing anywhere."""
        if target == self.utf8.size:
            return np.full(len(reached), self.start, dtype=np.int32), None
        allowed = self._open[target][reached]
        column = np.where(allowed, reached + np.int32(target * self.size), np.int32(-1))
        reward = np.where(allowed, paid, 0.0)
        return column, reward if reward.any() else None

    def _effects(self, u: int) -> dict[tuple[int, ...], dict[int, list[int]]]:
        """Tokens by what they do from transducer state u: the classes of the characters they complete, the state after.

        Ill-formed tokens are left out. From the extra start state (u = U) a token without bytes stays in that state.
        """
        at_start = u == self.utf8.size
        labels = self.valued.alphabet.indices("".join(map(chr, range(128))))
        table = bytes(labels) + bytes(128) if self.valued.alphabet.size <= 256 else None
        effects: dict[tuple[int, ...], dict[int, list[int]]] = {}
        candidates = self._continuing if 0 < u < self.utf8.size else range(len(self.token_bytes))
        for token in candidates:
            data = self.token_bytes[token]
            if data is None:
                continue
            found: tuple[int, tuple[int, ...]] | None
            if at_start and not data:
                found = u, ()
            else:
                data = data[1:] if at_start and data[0] == 0x20 else data
                if table is not None and (u == 0 or at_start) and data.isascii():
                    found = 0, tuple(data.translate(table))
                else:
                    found = self.utf8.read(0 if at_start else u, data)
            if found is not None:
                effects.setdefault(found[1], {}).setdefault(found[0], []).append(token)
        return effects

    def _walk(
        self, effects: dict[tuple[int, ...], dict[int, list[int]]], origin: Ints
    ) -> Iterator[tuple[int, list[int], Ints, Floats]]:
        """For each effect: (transducer state after, tokens, states reached from all of `origin`, what that pays).

        Walks the trie of the class sequences depth first, all origins at once, so shared beginnings are read once.
        """
        trail: list[tuple[Ints, Floats]] = [(origin, np.zeros(len(origin)))]
        before: tuple[int, ...] = ()
        for labels in sorted(effects):
            shared = 0
            while shared < min(len(before), len(labels)) and before[shared] == labels[shared]:
                shared += 1
            del trail[shared + 1 :]
            for label in labels[shared:]:
                states, paid = trail[-1]
                if self._paying:
                    paid = paid + self._increments[states, label]
                trail.append((self._delta[states, label], paid))
            before = labels
            for target, tokens in effects[labels].items():
                yield target, tokens, *trail[-1]


def _digest(column: Ints, reward: Floats | None) -> bytes:
    """A key that tells columns apart without keeping them."""
    hashed = blake2b(np.ascontiguousarray(column).data, digest_size=16)
    if reward is not None:
        hashed.update(np.ascontiguousarray(reward).data)
    return hashed.digest()


def _cells(block: Block, rows: Ints, classes: Ints) -> tuple[Ints, Floats]:
    return block.next_state[rows, classes], block.reward[rows, classes]
