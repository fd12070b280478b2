"""The twist: an estimate of the value function V (LAW.md §3) for one automaton, from samples of the base model.

The policy sees the model through its automaton only, so the model is summarised as a Markov chain on automaton states:
the chance of each token class (tokens with equal columns) given the state, counted on base samples. A backward
programme over (state × tokens left) then gives log V̂ exactly for that chain. Errors of the summary cost variance,
never bias: whoever proposes with a twist weighs by p0·e^R/q.

Reachability is exact: log V̂ is −inf just where no sequence of regular tokens within the tokens left is accepted,
because every class with a regular token has positive probability. States inside a UTF-8 character are states like all
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary

StateArray: TypeAlias = NDArray[np.int32]

MAX_CELLS = 50_000_000
"""Most cells of one block of transitions (states × classes) or of the value table (states × tokens): 400 MB each."""

_CHUNK_CELLS = 2_000_000
_CONTINUATION = range(0x80, 0xC0)


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
    """Base samples as the automaton sees them.

    `classes[u]` [rows, C_u]: how often each token class was taken in each state of block u. `ends` [S]: ends of text by
    composite state. `tokens` [V]: occurrences of each token. Capped samples have no end.
    """

    classes: Mapping[int, FloatArray]
    ends: FloatArray
    tokens: FloatArray


@dataclass(frozen=True, eq=False)
class Twist:
    """log V̂ of one automaton for up to `max_tokens` tokens.

    `log_value` [max_tokens + 1, S + 1], nats: by tokens left and composite state of the automaton (S = `state_count`).
    The last column is −inf: index −1, the automaton's mark for forbidden, lands there.
    """

    automaton: TokenAutomaton
    max_tokens: int
    log_value: FloatArray

    def log_z(self, max_tokens: int | None = None) -> float:
        """log V̂ of the empty response in nats: the Markov estimate of log Z of this group alone; −inf means
        infeasible.
        """
        left = self.max_tokens if max_tokens is None else max_tokens
        return float(self.log_value[left, self.automaton.start])

    def look_ahead(self, states: StateArray, left: int) -> FloatArray:
        """[N, V], nats: reward of each token plus log V̂ of the state behind it with `left` tokens to go; −inf
        forbidden.

        `states` [N]: composite states, none forbidden. Columns of tokens without bytes are −inf.
        """
        u, rows = self.automaton.split(states)
        value = self.log_value[left]
        blocks = np.unique(u)
        if len(blocks) == 1:
            return _factors(self.automaton.block(int(blocks[0])), rows, value)
        result = np.empty((len(states), len(self.automaton.token_bytes)))
        for number in blocks:
            at = u == number
            result[at] = _factors(self.automaton.block(int(number)), rows[at], value)
        return result


def _factors(block: Block, rows: StateArray, value: FloatArray) -> FloatArray:
    by_class = block.reward[rows] + value[block.next_state[rows]]
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
    blocks = _reachable_blocks(automaton, max_tokens)
    return _solve(automaton, vocabulary, count_samples(automaton, samples, blocks), smoothing, max_tokens)


def uniform_twist(automaton: TokenAutomaton, vocabulary: Vocabulary, max_tokens: int) -> Twist:
    """V̂ = 1 where an accepted text can still be reached and 0 elsewhere; needs no samples."""
    blocks = _reachable_blocks(automaton, max_tokens)
    twist = _solve(automaton, vocabulary, count_samples(automaton, (), blocks), 1.0, max_tokens)
    return Twist(automaton, max_tokens, np.where(np.isfinite(twist.log_value), 0.0, -np.inf))


def _reachable_blocks(automaton: TokenAutomaton, max_tokens: int) -> dict[int, Block]:
    """The blocks of transitions that some text can meet, by transducer state."""
    if max_tokens < 1:
        raise TwistError("a twist looks one token ahead at least")
    if (automaton.state_count + 1) * (max_tokens + 1) > MAX_CELLS:
        raise TwistError(
            f"the rules need {automaton.state_count} states and {max_tokens} tokens of look-ahead, more than "
            f"{MAX_CELLS} cells; split them into groups or shorten the response"
        )
    blocks: dict[int, Block] = {}
    waiting = [automaton.start // automaton.size]
    while waiting:
        u = waiting.pop()
        if u in blocks:
            continue
        try:
            block = automaton.block(u)
        except StateLimit as error:
            raise TwistError(f"the rules need too many token classes; split them into groups ({error})") from error
        if block.next_state.size > MAX_CELLS:
            rows, classes = block.next_state.shape
            raise TwistError(f"the rules need {rows} states × {classes} token classes, more than {MAX_CELLS} cells")
        blocks[u] = block
        waiting.extend(int(v) for v in np.unique(block.next_state // automaton.size) if v >= 0)
    return blocks


def count_samples(
    automaton: TokenAutomaton, samples: Iterable[CountedSample], blocks: Mapping[int, Block]
) -> TwistCounts:
    """Walk all samples through the automaton in parallel. A sample that breaks a hard rule counts up to there."""
    classes = {u: np.zeros(block.next_state.shape) for u, block in blocks.items()}
    counts = TwistCounts(classes, np.zeros(automaton.state_count), np.zeros(len(automaton.token_bytes)))
    pool = sorted(samples, key=lambda sample: -len(sample.tokens))
    lengths = np.array([len(sample.tokens) for sample in pool], dtype=np.int64)
    ended = np.array([sample.ended for sample in pool], dtype=np.bool_)
    states = np.full(len(pool), automaton.start, dtype=np.int32)
    for step in range(int(lengths.max(initial=0)) + 1):
        stops = (lengths == step) & ended & (states >= 0)
        np.add.at(counts.ends, states[stops], 1)
        going = int(np.searchsorted(-lengths, -step))  # the first `going` samples are longer than `step`
        tokens = np.array([sample.tokens[step] for sample in pool[:going]], dtype=np.int32)
        np.add.at(counts.tokens, tokens, 1)
        u, rows = automaton.split(states[:going])
        for number in np.unique(u[u >= 0]):
            at = np.flatnonzero(u == number)
            taken = blocks[int(number)].class_of[tokens[at]]
            np.add.at(classes[int(number)], (rows[at], taken), 1)
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
    """The backward programme: V̂(0, s) = e^{final(s)}, V̂(ℓ, s) = P̂(end|s) e^{final(s)} + Σ_c P̂(c|s) e^{r} V̂(ℓ−1,
    next).
    """
    count = automaton.state_count
    final = automaton.final(np.arange(count, dtype=np.int32))
    law = _unconditional(vocabulary, counts)
    states: list[IntArray] = []
    parts: list[_Chain] = []
    for u in counts.classes:
        own = np.arange(u * automaton.size, min((u + 1) * automaton.size, count), dtype=np.int64)
        log_classes, log_ends = _markov_law(automaton, vocabulary, counts, law, u, own, smoothing)
        parts.append(_merged(automaton.block(u), log_classes, log_ends + final[own], count))
        states.append(own)
    offsets = np.cumsum([0] + [len(part.column) for part in parts[:-1]])
    chain = _Chain(
        np.concatenate([part.column for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
        np.concatenate([part.first + offset for part, offset in zip(parts, offsets, strict=True)]),
    )
    order = np.concatenate(states)
    log_value = np.full((max_tokens + 1, count + 1), -np.inf)
    log_value[0, :count] = final
    column = np.zeros(count + 1)  # its last entry stands for the end of text: value 1, paid by the entry's own weight
    for left in range(1, max_tokens + 1):
        column[:count] = log_value[left - 1, :count]
        log_value[left, order] = chain.apply(column)
    return Twist(automaton, max_tokens, log_value)


def _markov_law(
    automaton: TokenAutomaton,
    vocabulary: Vocabulary,
    counts: TwistCounts,
    law: FloatArray,
    u: int,
    own: IntArray,
    smoothing: float,
) -> tuple[FloatArray, FloatArray]:
    """(log P̂(class | state) [rows, C_u], log P̂(end | state) [rows]) of block u, whose composite states are `own`."""
    class_of = automaton.block(u).class_of
    mass, end = law[:-1], float(law[-1])
    if 0 < u < automaton.utf8.size:
        # inside a character a model goes on with the character, which the law of all tokens knows nothing of
        going_on = [data is not None and data[0] in _CONTINUATION for data in automaton.token_bytes]
        mass = np.where(going_on, mass, 0.0)
        mass, end = mass / max(mass.sum(), np.finfo(np.float64).tiny), 0.0
    seen = counts.classes[u]
    base = np.bincount(class_of[vocabulary.regular], weights=mass[vocabulary.regular], minlength=seen.shape[1])
    total = seen.sum(axis=1) + counts.ends[own] + smoothing
    with np.errstate(divide="ignore"):
        return np.log((seen + smoothing * base) / total[:, None]), np.log((counts.ends[own] + smoothing * end) / total)


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
