"""What the tokens of a vocabulary do to all states of an automaton, computed for all tokens together.

Tokens are read character by character, breadth first. What a beginning does to all states is its action; beginnings
that act alike are one from there on, and what a character makes of an action is computed once. Real rules have few
actions (thousands, where a vocabulary has a hundred thousand tokens), so the work grows with these, not with tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.spellings import Source
from bylaw.compiler.automata.utf8 import Bools, Ints

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

# Entries (actions times origins) that are made at once.
STEP_CELLS = 8_000_000
# Entries of all actions that are kept at once.
KEPT_CELLS = 80_000_000
# Keys below this are told apart by a table of this size instead of by sorting.
_TABLE_SIZE: Final = 4_000_000


@dataclass(frozen=True, eq=False)
class Moves:
    """One step of an automaton of Q states over K classes: next states and rewards [Q, K], None where none is paid.

    `hopeless` [Q]: states that no finite value can follow; what is paid on the way there does not matter.
    """

    delta: Ints
    increments: Floats | None
    hopeless: Bools


@dataclass(frozen=True, eq=False)
class Group:
    """N tokens of a source, `members` [N], and their actions: row `action` [N] of `reached` and `paid` [A, R].

    An action on R origins is the states reached and what that pays (None: nothing anywhere).
    """

    members: Longs
    action: Longs
    reached: Ints
    paid: Floats | None


class _TooMany(Exception):
    """More than the cells that are kept."""


class _Actions:
    """The actions met so far, number 0 being that of no character, and what each class makes of each of them."""

    def __init__(self, moves: Moves, origin: Ints, most_cells: int | None) -> None:
        self.moves = moves
        self.most_cells = most_cells
        self.count = 0
        self.reached = np.empty((16, len(origin)), dtype=np.int32)
        self.paid = None if moves.increments is None else np.empty((16, len(origin)))
        self.after = np.full((16, moves.delta.shape[1]), -1, dtype=np.int32)
        self.number: dict[bytes, int] = {}
        self.add(origin[None], None if self.paid is None else np.zeros((1, len(origin))))

    def add(self, reached: Ints, paid: Floats | None) -> list[int]:
        """The numbers of n actions [n, R]. Raises _TooMany where there are too many to keep."""
        numbers: list[int] = []
        fresh: list[int] = []
        for row in range(len(reached)):
            key = digest(reached[row], None if paid is None else paid[row])
            number = self.number.setdefault(key, self.count + len(fresh))
            if number == self.count + len(fresh):
                fresh.append(row)
            numbers.append(number)
        total = self.count + len(fresh)
        if self.most_cells is not None and total * reached.shape[1] > self.most_cells:
            raise _TooMany
        if total > len(self.reached):
            self._grow(2 * total)
        self.reached[self.count : total] = reached[fresh]
        if paid is not None and self.paid is not None:
            self.paid[self.count : total] = paid[fresh]
        self.count = total
        return numbers

    def _grow(self, rows: int) -> None:
        more = rows - len(self.reached)
        width = self.reached.shape[1]
        self.reached = np.concatenate([self.reached, np.empty((more, width), dtype=np.int32)])
        self.after = np.concatenate([self.after, np.full((more, self.after.shape[1]), -1, dtype=np.int32)])
        if self.paid is not None:
            self.paid = np.concatenate([self.paid, np.empty((more, width))])

    def follow(self, action: Longs, label: Ints) -> Longs:
        """The actions [n] one character later. Raises _TooMany."""
        found = self.after[action, label]
        missing = found < 0
        if missing.any():
            classes = self.after.shape[1]
            pairs, _ = distinct(action[missing] * classes + label[missing])
            height = max(1, STEP_CELLS // self.reached.shape[1])
            for top in range(0, len(pairs), height):
                self._extend(*np.divmod(pairs[top : top + height], classes))
            found = self.after[action, label]
        return found.astype(np.int64)

    def _extend(self, action: Longs, label: Longs) -> None:
        before = self.reached[action]
        reached = self.moves.delta[before, label[:, None]]
        paid = None
        if self.paid is not None and self.moves.increments is not None:
            paid = self.paid[action] + self.moves.increments[before, label[:, None]]
            paid[self.moves.hopeless[reached]] = 0.0
        numbers = self.add(reached, paid)
        self.after[action, label] = numbers


def walk(moves: Moves, labels: Ints, source: Source, origin: Ints) -> Iterator[Group]:
    """The tokens of a source, each in one group, with the actions of all their completed characters.

    `labels`: see `Spellings`; `origin` [R]: states. There is one group, unless its actions would have more than
    KEPT_CELLS entries: then the tokens are cut in two, and again.
    """
    order = np.argsort(-source.length, kind="stable").astype(np.int64)
    waiting = [order]
    while waiting:
        members = waiting.pop()
        # one token makes no more actions than it has characters
        most = KEPT_CELLS if len(members) > 1 else None
        try:
            group = _act(_Actions(moves, origin, most), labels, source, members)
        except _TooMany:
            waiting += [members[len(members) // 2 :], members[: len(members) // 2]]
        else:
            yield group


def _act(actions: _Actions, labels: Ints, source: Source, members: Longs) -> Group:
    """The group of `members` [N], longest first. Raises _TooMany."""
    first, begin, length = source.first[members], source.begin[members], source.length[members]
    action = np.zeros(len(members), dtype=np.int64)
    headed = np.flatnonzero(first >= 0)
    if len(headed):
        action[headed] = actions.follow(action[headed], first[headed])
    for position in range(int(length.max(initial=0))):
        going = int(np.searchsorted(-length, -position))  # the first `going` tokens are longer than `position`
        action[:going] = actions.follow(action[:going], labels[begin[:going] + position])
    return Group(members, action, actions.reached[: actions.count], None if actions.paid is None else actions.paid)


def distinct(keys: NDArray[np.integer]) -> tuple[Longs, Longs]:
    """(distinct keys in ascending order, the number of each key among them); keys are not negative."""
    most = int(keys.max(initial=0)) + 1
    if most > _TABLE_SIZE:
        values, number = np.unique(keys, return_inverse=True)
        return values.astype(np.int64), number.reshape(-1).astype(np.int64)
    seen = np.zeros(most, dtype=np.bool_)
    seen[keys] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[keys]


def digest(column: Ints, reward: Floats | None) -> bytes:
    """A key that tells contiguous columns apart without keeping them."""
    hashed = blake2b(column.data, digest_size=16)
    if reward is not None:
        hashed.update(reward.data)
    return hashed.digest()
