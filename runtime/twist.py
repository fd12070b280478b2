"""The twist: an estimate of the value function V (LAW.md §3) for one automaton, from samples of the base model.

The policy sees the model through its automaton only, so the model is summarised as a Markov chain on automaton states:
the chance of each token class (tokens with equal columns) given the state, counted on base samples. A backward
programme over (state × tokens left) then gives log V̂. Errors of the summary cost variance, never bias: whoever
proposes with a twist weighs by p0·e^R/q.

Values are stored at character boundaries only. A state inside a character has the mean of the values that its possible
completions have, one token for each byte that is missing. With U transducer states (hundreds once a rule asks for the
letters of all scripts) that makes the table U times smaller.

Reachability is exact, inside characters too: `Inside.nearest` counts the fewest tokens to a legal end with the tokens
that there are, whether they finish characters byte by byte, many bytes at once, or not at all. log V̂ is −inf just where
a legal end is further away than the tokens left, so that the proposal covers the law and never walks into a dead end
of its own. The exception is a vocabulary that has no end of text at all, where a response has `max_tokens` tokens
exactly: states inside characters know only that no more than these are needed, and a path may die (weight zero).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary

StateArray: TypeAlias = NDArray[np.int32]

MAX_CELLS = 50_000_000
"""Most cells of the transitions (Q states × C classes) or of the values (Q states × tokens): 400 MB in float64."""

_CHUNK_CELLS = 500_000


class TwistError(Exception):
    """A twist cannot be built: root of the errors of this module."""


class CountedSample(Protocol):
    """What counting needs of a base sample (`bylaw.runtime.models.BaseSample` has it)."""

    @property
    def tokens(self) -> tuple[int, ...]: ...

    @property
    def ended(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class TwistCounts:
    """Base samples as the automaton sees them at character boundaries.

    `classes[u]` [rows, C_u]: how often each token class was taken in each state of block u, 0 or the extra start state.
    `ends` [columns]: ends of text by column of the value table. `tokens` [V]: occurrences of each token, anywhere.
    Capped samples have no end.
    """

    classes: Mapping[int, FloatArray]
    ends: FloatArray
    tokens: FloatArray


@dataclass(frozen=True, eq=False)
class _Cells:
    """States inside characters: transducer states `u`, automaton states `places[row]`, `nearest` tokens to an end."""

    u: IntArray
    places: IntArray
    row: IntArray
    nearest: StateArray


@dataclass(frozen=True, eq=False)
class Inside:
    """log V̂ of states inside characters from its values at boundaries.

    Transducer states that miss as many bytes of the same characters have one shape: `shape_of` [U]; `missing` [shapes]
    bytes; `share` [shapes, K] the weight of each completion, the same for all that are possible. `nearest` [S + 1]: the
    fewest tokens from each composite state to a legal end, more than the twist's `max_tokens` where it cannot be had.
    With `weighed` False a value is 0 or −inf by `nearest` alone.
    """

    automaton: TokenAutomaton
    nearest: StateArray
    shape_of: IntArray
    missing: IntArray
    share: FloatArray
    weighed: bool = True

    @staticmethod
    def of(automaton: TokenAutomaton, nearest: StateArray) -> Inside:
        utf8 = automaton.utf8
        kinds = np.column_stack([utf8.missing, utf8.completions]).astype(np.int64)
        shapes, shape_of = np.unique(kinds, axis=0, return_inverse=True)
        share = shapes[:, 1:] / shapes[:, 1:].sum(axis=1, keepdims=True)
        return Inside(automaton, nearest, shape_of.reshape(-1), shapes[:, 0], share)

    def locate(self, states: NDArray[np.integer]) -> _Cells:
        """`states` [n]: composite states, all inside characters."""
        u, q = np.divmod(states.astype(np.int64), self.automaton.size)
        places, row = np.unique(q, return_inverse=True)
        return _Cells(u, places, row, self.nearest[states])

    def values(self, log_value: FloatArray, left: int, cells: _Cells) -> FloatArray:
        """[n] log V̂ in nats with `left` tokens to go; reads the rows of `log_value` up to `left`."""
        reachable = cells.nearest <= left
        if not self.weighed:
            return np.where(reachable, 0.0, -np.inf)
        found = self._table(log_value, left, cells.places)[cells.row, self.shape_of[cells.u]]
        lost = reachable & np.isneginf(found)
        if lost.any():
            found[lost] = self._nearby(log_value[left], cells.u[lost], cells.places[cells.row[lost]])
        return np.where(reachable, found, -np.inf)

    def _table(self, log_value: FloatArray, left: int, q: IntArray) -> FloatArray:
        """[n, shapes] log of the mean over completions m of e^increment(q, m)·V̂(δ(q, m), left − bytes missing).

        The token that completes a character pays for it (`TokenAutomaton.exits`), so the increment is still ahead.
        """
        table = np.full((len(q), len(self.missing)), -np.inf)
        following, paid = self.automaton.delta[q], self.automaton.increments[q]
        for bytes_left in range(1, min(left, 3) + 1):
            at = np.flatnonzero(self.missing == bytes_left)
            terms = log_value[left - bytes_left][following] + paid
            peak = terms.max(axis=1, keepdims=True)
            peak = np.where(np.isfinite(peak), peak, 0.0)
            with np.errstate(divide="ignore"):
                table[:, at] = np.log(np.exp(terms - peak) @ self.share[at].T) + peak
        return table

    def _nearby(self, row: FloatArray, u: IntArray, q: IntArray) -> FloatArray:
        """Values of states that reach an end although byte by byte they do not: tokens of many bytes lead there.

        Any positive number keeps the weights right. The best completion, as if it cost no token, has the scale of its
        neighbours; where there is none, the lowest value around makes the way rare but possible.
        """
        terms = row[self.automaton.delta[q]] + self.automaton.increments[q]
        best = np.where(self.share[self.shape_of[u]] > 0, terms, -np.inf).max(axis=1)
        around = row[np.isfinite(row)]
        return np.where(np.isfinite(best), best, around.min() if len(around) else 0.0)


@dataclass(frozen=True, eq=False)
class Twist:
    """log V̂ of one automaton for up to `max_tokens` tokens.

    `log_value` [max_tokens + 1, columns], nats: by tokens left and state at a character boundary. The columns are the
    automaton's Q states, then its extra start state if it has one, then a last one of −inf: index −1, the automaton's
    mark for forbidden, lands there. States inside characters are valued by `inside`.
    """

    automaton: TokenAutomaton
    max_tokens: int
    log_value: FloatArray
    inside: Inside

    def log_z(self, max_tokens: int | None = None) -> float:
        """log V̂ of the empty response in nats: the Markov estimate of this group's log Z; −inf means infeasible."""
        left = self.max_tokens if max_tokens is None else max_tokens
        return float(self.value(np.array([self.automaton.start], dtype=np.int32), left)[0])

    def value(self, states: StateArray, left: int) -> FloatArray:
        """log V̂ in nats of composite states (−1: forbidden) in an array of any shape, with `left` tokens to go."""
        row = self.log_value[left]
        beyond = states >= self.automaton.size
        if not beyond.any():
            return np.asarray(row[states], dtype=np.float64)
        result: FloatArray = row[np.where(beyond, -1, states)]
        if self.automaton.start >= self.automaton.size:
            begun = states != self.automaton.start
            result[~begun] = row[self.automaton.size]
            beyond &= begun
        result[beyond] = self.inside.values(self.log_value, left, self.inside.locate(states[beyond]))
        return result

    def look_ahead(self, states: StateArray, left: int) -> FloatArray:
        """[N, V], nats: reward of each token plus log V̂ of the state behind it with `left` tokens to go.

        `states` [N]: composite states, none forbidden. Forbidden tokens and tokens without bytes have −inf.
        """
        u, rows = self.automaton.split(states)
        blocks = np.unique(u)
        if len(blocks) == 1:  # nearly always: everyone is at a boundary
            return self._factors(self.automaton.block(int(blocks[0])), rows, left)
        result = np.empty((len(states), len(self.automaton.token_bytes)))
        for number in blocks:
            at = u == number
            result[at] = self._factors(self.automaton.block(int(number)), rows[at], left)
        return result

    def _factors(self, block: Block, rows: StateArray, left: int) -> FloatArray:
        by_class = block.reward[rows] + self.value(block.next_state[rows], left)
        return np.take(by_class, block.class_of, axis=1)


def build_twist(
    automaton: TokenAutomaton,
    vocabulary: Vocabulary,
    samples: Iterable[CountedSample],
    max_tokens: int,
    *,
    smoothing: float = 4.0,
) -> Twist:
    """The twist of one group from base samples of all prompts.

    P̂(class | state) = (N(state, class) + κ·P̂(class)) / (N(state) + κ) with κ = `smoothing` in tokens, and likewise
    for the end of text as one more class; the unconditional law is Witten–Bell smoothed (Witten and Bell 1991), so
    every regular token has mass. Raises `TwistError` when the tables would be too large.
    """
    if not smoothing > 0:
        raise TwistError("smoothing must be positive, or tokens never sampled could not be proposed")
    blocks = _boundary_blocks(automaton, max_tokens)
    return _solve(automaton, vocabulary, count_samples(automaton, samples, blocks), smoothing, max_tokens)


def uniform_twist(automaton: TokenAutomaton, vocabulary: Vocabulary, max_tokens: int) -> Twist:
    """V̂ = 1 where an accepted text can still be reached and 0 elsewhere; needs no samples."""
    blocks = _boundary_blocks(automaton, max_tokens)
    twist = _solve(automaton, vocabulary, count_samples(automaton, (), blocks), 1.0, max_tokens)
    flat = np.where(np.isfinite(twist.log_value), 0.0, -np.inf)
    return Twist(automaton, max_tokens, flat, replace(twist.inside, weighed=False))


def _boundary_states(automaton: TokenAutomaton) -> StateArray:
    """The composite states of the value table's columns, in order, but for the last column."""
    return np.unique(np.append(np.arange(automaton.size), automaton.start)).astype(np.int32)


def _boundary_blocks(automaton: TokenAutomaton, max_tokens: int) -> dict[int, Block]:
    """The blocks of transitions from boundaries, by transducer state: 0, and the extra start state if there is one."""
    if max_tokens < 1:
        raise TwistError("a twist looks one token ahead at least")
    if (automaton.size + 2) * (max_tokens + 1) > MAX_CELLS:
        raise TwistError(
            f"the rules need {automaton.size} states and {max_tokens} tokens of look-ahead, more than "
            f"{MAX_CELLS} cells; split them into groups or shorten the response"
        )
    blocks: dict[int, Block] = {}
    for u in sorted({0, automaton.start // automaton.size}):
        try:
            block = automaton.block(u)
        except StateLimit as error:
            raise TwistError(f"the rules need too many token classes; split them into groups ({error})") from error
        if block.next_state.size > MAX_CELLS:
            rows, classes = block.next_state.shape
            raise TwistError(f"the rules need {rows} states × {classes} token classes, more than {MAX_CELLS} cells")
        blocks[u] = block
    return blocks


def count_samples(
    automaton: TokenAutomaton, samples: Iterable[CountedSample], blocks: Mapping[int, Block]
) -> TwistCounts:
    """Walk all samples through the automaton in parallel. A sample that breaks a hard rule counts up to there.

    What happens inside characters is walked through and not counted.
    """
    classes = {u: np.zeros(block.next_state.shape) for u, block in blocks.items()}
    columns = _boundary_states(automaton)
    counts = TwistCounts(classes, np.zeros(len(columns)), np.zeros(len(automaton.token_bytes)))
    pool = sorted(samples, key=lambda sample: -len(sample.tokens))
    lengths = np.array([len(sample.tokens) for sample in pool], dtype=np.int64)
    ended = np.array([sample.ended for sample in pool], dtype=np.bool_)
    states = np.full(len(pool), automaton.start, dtype=np.int32)
    for step in range(int(lengths.max(initial=0)) + 1):
        stops = states[(lengths == step) & ended]
        np.add.at(counts.ends, np.searchsorted(columns, stops[np.isin(stops, columns)]), 1)
        going = int(np.searchsorted(-lengths, -step))  # the first `going` samples are longer than `step`
        tokens = np.array([sample.tokens[step] for sample in pool[:going]], dtype=np.int32)
        np.add.at(counts.tokens, tokens, 1)
        u, rows = automaton.split(states[:going])
        for number, seen in classes.items():
            at = np.flatnonzero(u == number)
            np.add.at(seen, (rows[at], blocks[number].class_of[tokens[at]]), 1)
        states[:going] = automaton.step(states[:going], tokens)[0]
    return counts


def _unconditional(vocabulary: Vocabulary, counts: TwistCounts) -> FloatArray:
    """[V + 1] probability of each token, the end of text last; 0 for tokens that no response can hold."""
    events = np.append(np.where(vocabulary.regular, counts.tokens, 0.0), counts.ends.sum())
    possible = np.append(vocabulary.regular, len(vocabulary.eos_ids) > 0)
    kinds = max(int((events > 0).sum()), 1)
    return np.where(possible, (events + kinds / possible.sum()) / (events.sum() + kinds), 0.0)


@dataclass(frozen=True, eq=False)
class _Chain:
    """Sparse rows in order: entry k leads from its row to `column[k]` with `log_weight[k]`; rows start at `first`."""

    column: IntArray
    log_weight: FloatArray
    first: IntArray

    def apply(self, log_value: FloatArray) -> FloatArray:
        """log Σ exp(log_weight + log_value[column]) of each row; stable for any range of values."""
        terms = self.log_weight + log_value[self.column]
        peak = np.maximum.reduceat(terms, self.first)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        sizes = np.diff(np.append(self.first, len(terms)))
        with np.errstate(divide="ignore"):
            total = np.log(np.add.reduceat(np.exp(terms - np.repeat(peak, sizes)), self.first))
        return np.asarray(peak + total, dtype=np.float64)


def _solve(
    automaton: TokenAutomaton, vocabulary: Vocabulary, counts: TwistCounts, smoothing: float, max_tokens: int
) -> Twist:
    """The backward programme over boundary states s: V̂(0, s) = e^{final(s)}, V̂(ℓ, s) = P̂(end|s) e^{final(s)}
    + Σ_c P̂(c|s) e^{r} V̂(ℓ−1, next).
    """
    boundary = _boundary_states(automaton)
    final = automaton.final(boundary)
    law = _unconditional(vocabulary, counts)
    parts: list[_Chain] = []
    for u in sorted(counts.classes):
        own = np.flatnonzero(boundary // automaton.size == u)
        log_classes, log_ends = _markov_law(automaton.block(u), vocabulary, counts, law, u, own, smoothing)
        parts.append(_merged(automaton.block(u), log_classes, log_ends + final[own], automaton.state_count))
    offsets = np.cumsum([0] + [len(part.column) for part in parts[:-1]])
    chain = _Chain(
        np.concatenate([part.column for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
        np.concatenate([part.first + offset for part, offset in zip(parts, offsets, strict=True)]),
    )
    inside = Inside.of(automaton, _nearest(automaton, boundary, chain, max_tokens))
    log_value = np.full((max_tokens + 1, len(boundary) + 1), -np.inf)
    log_value[0, :-1] = final
    targets, column = np.unique(chain.column, return_inverse=True)
    compact = _Chain(column, chain.log_weight, chain.first)
    ahead = np.zeros(len(targets))  # its last entry stands for the end of text: value 1, paid by the entry's own weight
    whole = np.isin(targets, boundary)
    within = ~whole & (targets < automaton.state_count)
    cells = inside.locate(targets[within])
    read = np.searchsorted(boundary, targets[whole])
    for left in range(1, max_tokens + 1):
        ahead[whole] = log_value[left - 1, read]
        ahead[within] = inside.values(log_value, left - 1, cells)
        log_value[left, :-1] = compact.apply(ahead)
    return Twist(automaton, max_tokens, log_value, inside)


def _nearest(automaton: TokenAutomaton, boundary: StateArray, chain: _Chain, max_tokens: int) -> StateArray:
    """[S + 1] the fewest tokens from each composite state to a legal end, at most `max_tokens` + 1, which means none.

    Shortest paths by relaxation (Bellman 1958): boundaries first until nothing changes, then the insides of characters,
    and again. Most rules are settled by whole characters, so two rounds do.
    """
    nearest = np.full(automaton.state_count + 1, max_tokens + 1, dtype=np.int32)
    nearest[boundary[np.isfinite(automaton.final(boundary))]] = 0
    exits = _inner_exits(automaton, chain.column)
    after = {labels: automaton.after(labels) for labels in {labels for ways in exits.values() for labels, _ in ways}}
    size = automaton.size
    settled = False
    while not settled:
        while True:
            closer = np.minimum(nearest[boundary], 1 + np.minimum.reduceat(nearest[chain.column], chain.first))
            if np.array_equal(closer, nearest[boundary]):
                break
            nearest[boundary] = closer
        settled = True
        # the builder numbers a state after those it leads to, so ascending order settles a character in one pass
        for u in sorted(exits):
            own = nearest[u * size : (u + 1) * size]
            before = own.copy()
            for labels, target in exits[u]:
                np.minimum(own, 1 + nearest[target * size : (target + 1) * size][after[labels]], out=own)
            settled = settled and np.array_equal(own, before)
    return nearest


def _inner_exits(automaton: TokenAutomaton, targets: IntArray) -> dict[int, tuple[tuple[tuple[int, ...], int], ...]]:
    """`TokenAutomaton.exits` of every transducer state inside a character that can be met from `targets`."""
    exits: dict[int, tuple[tuple[tuple[int, ...], int], ...]] = {}
    waiting = {int(u) for u in np.unique(targets[targets < automaton.state_count] // automaton.size)}
    while waiting:
        u = waiting.pop()
        if 0 < u < automaton.utf8.size and u not in exits:
            exits[u] = automaton.exits(u)
            waiting.update(target for _, target in exits[u])
    return exits


def _markov_law(
    block: Block,
    vocabulary: Vocabulary,
    counts: TwistCounts,
    law: FloatArray,
    u: int,
    own: IntArray,
    smoothing: float,
) -> tuple[FloatArray, FloatArray]:
    """(log P̂(class | state) [rows, C_u], log P̂(end | state) [rows]) of block u, whose states have columns `own`."""
    regular = vocabulary.regular
    seen = counts.classes[u]
    base = np.bincount(block.class_of[regular], weights=law[:-1][regular], minlength=seen.shape[1])
    total = seen.sum(axis=1) + counts.ends[own] + smoothing
    with np.errstate(divide="ignore"):
        log_classes = np.log((seen + smoothing * base) / total[:, None])
        return log_classes, np.log((counts.ends[own] + smoothing * law[-1]) / total)


def _merged(block: Block, log_classes: FloatArray, log_stops: FloatArray, end: int) -> _Chain:
    """Add up classes that lead to the same state: most tokens lead back to a few states, so the chain is sparse.

    The end of text is the entry of column `end`, in every row.
    """
    rows, classes = block.next_state.shape
    columns: list[IntArray] = []
    weights: list[FloatArray] = []
    sizes: list[IntArray] = []
    height = max(1, _CHUNK_CELLS // max(classes, 1))
    for top in range(0, rows, height):
        steps = log_classes[top : top + height] + block.reward[top : top + height]
        row, label = np.nonzero(np.isfinite(steps))
        target = block.next_state[top : top + height][row, label].astype(np.int64)
        stops = np.arange(len(steps), dtype=np.int64) * (end + 1) + end
        key = np.concatenate([row * (end + 1) + target, stops])
        weight = np.concatenate([steps[row, label], log_stops[top : top + height]])
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        weights.append(_Chain(np.zeros(len(key), dtype=np.int64), weight[order], first).apply(np.zeros(1)))
        columns.append(key[order][first] % (end + 1))
        sizes.append(np.bincount(key[order][first] // (end + 1), minlength=len(steps)))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))[:-1]]).astype(np.int64)
    return _Chain(np.concatenate(columns), np.concatenate(weights), starts)
