"""Sums of many valued automata, state by state in whole arrays: what a policy of hundreds of rules needs.

Small automata are added first, so that each table is rebuilt about log(rules) times and not once for each rule. A sum
that would be too large is not built: its parts stay apart, as factors of the law of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.counts import Valued
from bylaw.compiler.automata.partition import StateLimit

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_Waiting = tuple[int, int, tuple[str, ...], "Tables"]
"""A sum that waits to be added to others: its size, a number that keeps equal sizes apart, its names, its tables."""
_DEAD = -1
_LOOKUP_CELLS = 20_000_000
"""Up to so many pairs of states, their numbers are looked up in an array."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A trimmed valued automaton as arrays, its states numbered breadth-first from the start, state 0.

    `delta` [Q, K], −1 where no finite value can be reached any more; `increments` [Q, K] nats, None where nothing is
    ever paid; `final` [Q] nats, −inf where a text must not end. Q is 0 for an automaton that forbids every text.
    """

    alphabet: Alphabet
    delta: Ints
    increments: Floats | None
    final: Floats

    @property
    def size(self) -> int:
        """Q, the number of states."""
        return len(self.final)

    @property
    def is_zero(self) -> bool:
        """Whether every text has the value 0."""
        return self.size > 0 and self.increments is None and not self.final.any() and bool((self.delta >= 0).all())

    @staticmethod
    def of(valued: Valued) -> Tables:
        """The automaton trimmed."""
        paid = np.array(valued.increments, dtype=np.float64)
        delta = np.array(valued.delta, dtype=np.int32)
        return _trimmed(valued.alphabet, delta, paid if paid.any() else None, np.array(valued.final), valued.start)

    @property
    def may_always_end(self) -> bool:
        """Whether no text is forbidden that could be completed to an allowed one."""
        return bool(np.isfinite(self.final).all())

    def penalty(self, weight: float) -> Tables:
        """−`weight` nats for the texts that a hard rule forbids, and 0 for the others. The rule pays nothing itself."""
        final = np.append(np.where(np.isfinite(self.final), 0.0, -weight), -weight)
        dead = np.full((1, self.alphabet.size), self.size, dtype=np.int32)
        delta = np.concatenate([np.where(self.delta == _DEAD, self.size, self.delta), dead]).astype(np.int32)
        return _trimmed(self.alphabet, delta, None, final, 0)

    def valued(self) -> Valued:
        """The automaton with tuples for tables, as `counts.trim` would number it."""
        width = self.alphabet.size
        if self.size == 0:
            return Valued(self.alphabet, ((0,) * width,), 0, ((0.0,) * width,), (-inf,), 0)
        paid = np.zeros(self.delta.shape) if self.increments is None else self.increments
        delta, final = self.delta, self.final
        dead = None
        if (delta == _DEAD).any():
            # breadth-first, the dead state has the number of the first place at which it is met
            met = np.maximum.accumulate(np.append(0, delta.ravel()))[:-1]
            dead = int(met[np.flatnonzero(delta.ravel() == _DEAD)[0]]) + 1
            delta = np.where(delta == _DEAD, dead, np.where(delta >= dead, delta + 1, delta))
            delta = np.insert(delta, dead, dead, axis=0)
            paid = np.insert(paid, dead, 0.0, axis=0)
            final = np.insert(final, dead, -inf)
        return Valued(
            self.alphabet, tuple(map(tuple, delta.tolist())), 0, tuple(map(tuple, paid.tolist())),
            tuple(final.tolist()), dead,
        )  # fmt: skip


def plus(left: Tables, right: Tables, limit: int) -> Tables:
    """The sum of two automata. Raises StateLimit when more than `limit` pairs of states can be reached."""
    joint, maps = Alphabet.join([left.alphabet, right.alphabet])
    if left.size == 0 or right.size == 0:
        return Tables(joint, np.zeros((0, joint.size), np.int32), None, np.zeros(0))
    first, second = left.delta[:, maps[0]], right.delta[:, maps[1]]

    def after(pairs: Codes) -> Codes:
        one, other = np.divmod(pairs, right.size)
        reached, beside = first[one].astype(np.int64), second[other]
        return np.where((reached < 0) | (beside < 0), _DEAD, reached * right.size + beside)

    pairs, delta = _explore(0, after, left.size * right.size, limit)
    one, other = np.divmod(pairs, right.size)
    paid = None
    if left.increments is not None or right.increments is not None:
        paid = np.zeros(delta.shape)
        for part, labels, at in ((left, maps[0], one), (right, maps[1], other)):
            if part.increments is not None:
                paid += part.increments[:, labels][at]
    return _trimmed(joint, delta, paid, left.final[one] + right.final[other], 0)


def _explore(start: int, after: Callable[[Codes], Codes], codes: int, limit: int = 2**31 - 2) -> tuple[Codes, Ints]:
    """(the codes of all states that can be reached, breadth-first; their moves by number, −1 for none).

    `after` maps codes [n], which are below `codes`, to the codes [n, K] of what follows, −1 for nothing. Raises
    StateLimit past `limit` states.
    """
    numbers = _Numbers.below(codes)
    order, rows, count = [np.array([start], dtype=np.int64)], [], 1
    numbers.give(order[0], 0)
    while len(order[-1]):
        reached = after(order[-1])
        found, where = np.unique(reached, return_index=True)
        found = found[np.argsort(where)]  # in the order of the first meeting
        fresh = found[(numbers.of(found) < 0) & (found >= 0)]
        if count + len(fresh) > limit:
            raise StateLimit(limit)
        numbers.give(fresh, count)
        rows.append(numbers.of(reached))
        order.append(fresh)
        count += len(fresh)
    return np.concatenate(order), np.concatenate(rows)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Numbers of codes, −1 for none: in an array while that fits, else in a dictionary."""

    array: Ints | None
    known: dict[int, int]

    @staticmethod
    def below(codes: int) -> _Numbers:
        return _Numbers(np.full(codes + 1, _DEAD, dtype=np.int32) if codes <= _LOOKUP_CELLS else None, {})

    def give(self, codes: Codes, first: int) -> None:
        if self.array is not None:
            self.array[codes] = np.arange(first, first + len(codes))
        else:
            self.known.update(zip(codes.tolist(), range(first, first + len(codes)), strict=True))

    def of(self, codes: Codes) -> Ints:
        if self.array is not None:
            return self.array[codes]  # code −1 reads the last entry, which no code has
        distinct, place = np.unique(codes, return_inverse=True)
        named = np.array([self.known.get(code, _DEAD) for code in distinct.tolist()], dtype=np.int32)
        return named[place.reshape(codes.shape)]


def _trimmed(alphabet: Alphabet, delta: Ints, paid: Floats | None, final: Floats, start: int) -> Tables:
    """The automaton without states that no text reaches or from which no finite value can be reached."""
    hopeful = _hopeful(delta, np.isfinite(final))
    if not hopeful[start]:
        return Tables(alphabet, np.zeros((0, alphabet.size), np.int32), None, np.zeros(0))
    alive = np.where((delta >= 0) & hopeful[delta], delta, _DEAD)
    states, moves = _explore(start, lambda codes: alive[codes].astype(np.int64), len(final))
    if paid is not None:
        paid = np.where(moves < 0, 0.0, paid[states])
    return Tables(alphabet, moves, paid if paid is not None and paid.any() else None, final[states])


def _hopeful(delta: Ints, ends: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[Q] whether a state with `ends` can be reached."""
    hopeful = ends.copy()
    rest = np.flatnonzero(~hopeful)
    source, target = np.repeat(rest, delta.shape[1]), delta[rest].ravel()
    edges = np.unique(target.astype(np.int64) * len(ends) + source)
    target, source = np.divmod(edges[edges >= 0], len(ends))
    first = np.searchsorted(target, np.arange(len(ends) + 1))
    fresh = np.flatnonzero(hopeful)
    while len(fresh):
        spans = [source[first[state] : first[state + 1]] for state in fresh.tolist()]
        met = np.unique(np.concatenate(spans))
        fresh = met[~hopeful[met]]
        hopeful[fresh] = True
    return hopeful


def merge(parts: Iterable[tuple[str, Tables]], limit: int) -> tuple[tuple[tuple[str, ...], Tables], ...]:
    """Sums of at most `limit` states, with the names of what is in each, the smallest added first.

    Two sums that do not fit into one stay apart, and the larger of them is left as it is. So a policy of n rules takes
    fewer than 2n sums, whatever they are.
    """
    waiting: list[_Waiting] = [(part.size, number, (name,), part) for number, (name, part) in enumerate(parts)]
    done: list[_Waiting] = []
    number = len(waiting)
    heapify(waiting)
    while len(waiting) > 1:
        small, large = heappop(waiting), heappop(waiting)
        try:
            both = plus(small[3], large[3], limit)
        except StateLimit:
            done.append(large)
            heappush(waiting, small)
            continue
        number += 1
        heappush(waiting, (both.size, number, (*small[2], *large[2]), both))
    return tuple((names, part) for _, _, names, part in sorted((*waiting, *done), key=lambda entry: entry[:2]))


def have_a_text(parts: Sequence[Tables], limit: int) -> bool | None:
    """Whether some text has a finite value in all parts; None when `limit` combinations of states were not enough.

    Best-first by how many characters the parts still need, all together: in most policies the first path gets there.
    """
    if any(part.size == 0 for part in parts):
        return False
    _, maps = Alphabet.join([part.alphabet for part in parts])
    moves = [part.delta[:, labels] for part, labels in zip(parts, maps, strict=True)]
    needs = [_distances(part) for part in parts]
    start = (0,) * len(parts)
    seen = {start}
    waiting = [(sum(int(need[0]) for need in needs), 0, start)]
    while waiting:
        left, _, states = heappop(waiting)
        if left == 0:
            return True
        reached = np.stack([move[state] for move, state in zip(moves, states, strict=True)])
        for after in dict.fromkeys(map(tuple, reached.T[(reached >= 0).all(axis=0)].tolist())):
            if after not in seen:
                seen.add(after)
                cost = sum(int(need[state]) for need, state in zip(needs, after, strict=True))
                heappush(waiting, (cost, len(seen), after))
        if len(seen) > limit:
            return None
    return False


def _distances(part: Tables) -> Ints:
    """[Q] the fewest characters to a finite final value."""
    far = np.int32(2**30)
    nearest = np.where(np.isfinite(part.final), 0, far).astype(np.int32)
    while True:
        closer = np.minimum(nearest, 1 + np.append(nearest, far)[part.delta].min(axis=1))
        if np.array_equal(closer, nearest):
            return nearest
        nearest = closer
