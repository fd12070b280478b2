"""From characters to bytes and tokens: where an automaton meets the vocabulary of a model.

Automata read characters; tokens are bytes, and may begin or end inside a character. The only bridge is a small
transducer that reads UTF-8 and reports the class of each completed character (`utf8`). A composite state is a pair of
an automaton state q and a transducer state u, numbered u * Q + q, so that 0..Q-1 are the states at a boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Final

import numpy as np

from bylaw.compiler.automata.actions import STEP_CELLS, Floats, Longs, Moves, digest, distinct, walk
from bylaw.compiler.automata.counts import Valued, support, trim
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.spellings import Spellings, token_table
from bylaw.compiler.automata.utf8 import Bools, Ints, Utf8

__all__ = ["Block", "TokenAutomaton", "Utf8"]

# Entries (states times token classes) of one table; just under 1 GB with its rewards.
MAX_CELLS: Final = 80_000_000


@dataclass(frozen=True)
class Block:
    """Transitions from the states of one transducer state: token v in class `class_of[v]` acts as column class_of[v].

    `class_of` has shape [V] (int64: an index that numpy need not convert); `next_state` (int32, composite, -1 for
    forbidden) and `reward` (-inf for forbidden) have shape [Q, C]. The block of the extra start state has one row.
    """

    class_of: Longs
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
        # [Q + 1]: what ending pays; the last entry stands for states that are inside a character, or none
        self._ends = np.array([*self.valued.final, -inf], dtype=np.float64)
        self._paying = bool(self._increments.any())
        hopeful = np.array([distance is not None for distance in self.valued.distance])
        # [U, Q]: whether some character that u may become leads q to a state with a finite value ahead of it.
        self._open = self.utf8.completions.astype(np.float32) @ hopeful[self._delta].T.astype(np.float32) > 0
        self._open[0] = hopeful
        self._spaced = drop_leading_space
        self._blocks: dict[int, Block] = {}

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
    def class_of(self) -> Longs:
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
        return self._spellings.exits(u)

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
        cells: Callable[[Block, Ints, Longs], tuple[Ints, Floats]],
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
        values: Floats = self._ends[np.where((states >= 0) & (states < self.size), states, self.size)]
        if self._spaced:
            values[states == self.start] = self._ends[self.valued.start]
        return values

    def completions(self, u: int) -> Bools:
        """Shape [K]: which classes the character that transducer state u is inside may still turn out to have."""
        possible: Bools = self.utf8.completions[u]
        return possible

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self.utf8, token_table(self.token_bytes))

    def _build(self, u: int) -> Block:
        """Classes are numbered by their first tokens; class 0 is that of the tokens forbidden everywhere."""
        origin = np.arange(self.size) if u < self.utf8.size else np.array([self.valued.start])
        columns = _Columns(len(origin))
        class_of = np.zeros(len(self.token_bytes), dtype=np.int64)
        source = self._spellings.source(u)
        moves = Moves(self._delta, self._increments if self._paying else None, np.logical_not(self._open[0]))
        height = max(1, STEP_CELLS // len(origin))
        for group in walk(moves, self._spellings.labels, source, origin.astype(np.int32)):
            ends = self.utf8.size + 1
            kinds, kind_of = distinct(group.action * ends + source.target[group.members])
            actions, targets = np.divmod(kinds, ends)
            numbers = np.empty(len(kinds), dtype=np.int32)
            for top in range(0, len(kinds), height):
                part = slice(top, top + height)
                paid = None if group.paid is None else group.paid[actions[part]]
                numbers[part] = columns.add(*self._columns(targets[part], group.reached[actions[part]], paid))
            class_of[source.tokens[group.members]] = numbers[kind_of]
        return columns.block(class_of)

    def _columns(self, targets: Longs, reached: Ints, paid: Floats | None) -> tuple[Ints, Floats | None]:
        """(composite next states, rewards) [n, R] of actions that end in transducer states `targets` [n]."""
        outside = targets == self.utf8.size
        u = np.where(outside, 0, targets).astype(np.int32)[:, None]
        allowed = self._open[u, reached]
        following = np.where(allowed, reached + u * np.int32(self.size), np.int32(-1))
        following[outside] = self.start
        return following, None if paid is None else np.where(allowed & ~outside[:, None], paid, 0.0)


class _Columns:
    """The distinct columns of a block of R rows, the first of them all forbidden."""

    def __init__(self, rows: int) -> None:
        nowhere = np.full(rows, -1, dtype=np.int32)
        self.kept: list[tuple[Ints, Floats | None]] = [(nowhere, None)]
        self.number = {digest(nowhere, None): 0}

    def add(self, following: Ints, paid: Floats | None) -> list[int]:
        """The numbers of n columns [n, R]. Raises StateLimit."""
        pays = [False] * len(following) if paid is None else np.any(paid, axis=1).tolist()
        numbers = []
        for row in range(len(following)):
            reward = paid[row] if paid is not None and pays[row] else None
            number = self.number.setdefault(digest(following[row], reward), len(self.kept))
            if number == len(self.kept):
                if number * following.shape[1] >= MAX_CELLS:
                    raise StateLimit(MAX_CELLS)
                self.kept.append((following[row].copy(), None if reward is None else reward.copy()))
            numbers.append(number)
        return numbers

    def block(self, class_of: Longs) -> Block:
        """The block in which token v has column `class_of[v]`."""
        met, first = np.unique(class_of, return_index=True)
        order = np.concatenate([[0], met[met > 0][np.argsort(first[met > 0])]]).astype(np.int64)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        next_state = np.stack([self.kept[column][0] for column in order], axis=1)
        rewards = np.where(next_state < 0, -inf, 0.0)
        for number, column in enumerate(order):
            reward = self.kept[column][1]
            if reward is not None:
                rewards[:, number] += reward
        block = Block(place[class_of], next_state, rewards)
        for table in (block.class_of, block.next_state, block.reward):
            table.flags.writeable = False
        return block


def _cells(block: Block, rows: Ints, classes: Longs) -> tuple[Ints, Floats]:
    return block.next_state[rows, classes], block.reward[rows, classes]
