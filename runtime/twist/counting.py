"""Base samples as an automaton sees them: which token class was taken in which state, and how far into the response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist.chain import tally
from bylaw.runtime.twist.table import boundary_states

END = -1
"""The label of the end of text among the classes of an event."""


class CountedSample(Protocol):
    """What counting needs of a base sample (`bylaw.runtime.models.BaseSample` has it)."""

    @property
    def tokens(self) -> tuple[int, ...]: ...

    @property
    def ended(self) -> bool: ...

    # `beside` (bytes), further draws at every place, is counted too where a sample has it


@dataclass(frozen=True, eq=False)
class SamplePool:
    """Base samples as arrays, the longest first: sample i has the tokens `flat[first[i] : first[i] + lengths[i]]`.

    `beside` [places, m]: further draws from the next-token law at each place of each sample, the first of sample i in
    row `place[i]`; a sample has a place before each token and, if it ended by itself, one at its end. m is 0 unless all
    samples have them.
    """

    flat: NDArray[np.int32]
    first: IntArray
    lengths: IntArray
    ended: NDArray[np.bool_]
    beside: NDArray[np.int32]
    place: IntArray

    @staticmethod
    def of(samples: Iterable[CountedSample] | SamplePool) -> SamplePool:
        """The samples as a pool; a pool is returned as it is."""
        if isinstance(samples, SamplePool):
            return samples
        pool = sorted(samples, key=lambda sample: -len(sample.tokens))
        lengths = np.array([len(sample.tokens) for sample in pool], dtype=np.int64)
        flat = np.fromiter(chain.from_iterable(sample.tokens for sample in pool), np.int32, count=int(lengths.sum()))
        ended = np.array([sample.ended for sample in pool], dtype=np.bool_)
        places = lengths + ended
        beside = _beside(pool, places)
        return SamplePool(flat, np.cumsum(lengths) - lengths, lengths, ended, beside, np.cumsum(places) - places)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b over the tokens, the lengths and the ends of all samples, hexadecimal."""
        hashed = blake2b(digest_size=20)
        for part in (self.lengths, self.ended, self.flat, self.beside):
            hashed.update(np.ascontiguousarray(part).data)
        return hashed.hexdigest()

    def at(self, step: int) -> NDArray[np.int32]:
        """[n] token number `step` of the first n samples, those that are longer than `step`."""
        going = int(np.searchsorted(-self.lengths, -step))
        return self.flat[self.first[:going] + step]

    def states(self, automaton: TokenAutomaton) -> NDArray[np.int32]:
        """[N] the composite state of each whole sample, −1 where it was forbidden on the way."""
        states = np.full(len(self), automaton.start, dtype=np.int32)
        for step in range(int(self.lengths.max(initial=0))):
            tokens = self.at(step)
            states[: len(tokens)] = automaton.step(states[: len(tokens)], tokens)[0]
        return states


def _beside(pool: Sequence[CountedSample], places: IntArray) -> NDArray[np.int32]:
    """[places of all samples, m] the draws beside the responses; m is 0 where some sample has none."""
    parts = [np.frombuffer(getattr(sample, "beside", b""), dtype="<i4") for sample in pool]
    total = int(places.sum())
    wide = {len(part) // own for part, own in zip(parts, places.tolist(), strict=True) if own}
    width = wide.pop() if len(wide) == 1 else 0
    if not width or sum(map(len, parts)) != total * width:
        return np.zeros((total, 0), dtype=np.int32)
    return np.concatenate(parts).astype(np.int32).reshape(total, width)


@dataclass(frozen=True, eq=False)
class Events:
    """What happened at character boundaries, each kind once: `count` [n] times was the token class `label` [n] taken
    (END: the text ended) in the state of `column` [n] of the value table, in `stretch` [n] of the response.

    A place of a response counts once in all: shared by what was said and what was drawn beside it. `own` [n]: what a
    place that has a part in a kind gives to it in the mean, at most 1. `tokens` [V]: occurrences of each token,
    anywhere, shared likewise; `kinds`: how many different ones were said, the end of text among them. Capped samples
    have no end.
    """

    column: IntArray
    label: IntArray
    stretch: IntArray
    count: FloatArray
    own: FloatArray
    tokens: FloatArray
    kinds: int
    samples: int

    @property
    def ends(self) -> float:
        """How many samples ended at a character boundary that the automaton allows."""
        return float(self.count[self.label == END].sum())


def count_samples(
    automaton: TokenAutomaton, samples: SamplePool, blocks: Mapping[int, Block], stretch_of: IntArray
) -> Events:
    """Walk all samples through the automaton in parallel. A sample that breaks a hard rule counts up to there.

    `blocks` are those of the boundaries, by transducer state; what happens inside characters is walked through and not
    counted. `stretch_of` [T + 1]: the stretch of the response that an event after so many tokens lies in;
    later places count for the last one.
    """
    columns = boundary_states(automaton)
    width = 2 + max(block.next_state.shape[1] for block in blocks.values())
    every = len(columns) * width * len(stretch_of)
    keys: list[IntArray] = []
    shares: list[FloatArray] = []
    squares: list[FloatArray] = []
    states = np.full(len(samples), automaton.start, dtype=np.int32)
    for step in range(int(samples.lengths.max(initial=0)) + 1):
        tokens = samples.at(step)
        going = len(tokens)
        rows = np.flatnonzero((samples.lengths > step) | ((samples.lengths == step) & samples.ended))
        rows = rows[np.isin(states[rows], columns)]
        events, drawn = _drawn_at(samples, rows, step)
        column = np.searchsorted(columns, states[rows])[events]
        label = np.full(len(drawn), END, dtype=np.int64)
        u = automaton.split(states[rows])[0][events]
        for number, block in blocks.items():
            at = np.flatnonzero((u == number) & (drawn >= 0))
            label[at] = block.class_of[drawn[at]]
        stretch = int(stretch_of[min(step, len(stretch_of) - 1)])
        kind = (column * width + label + 1) * len(stretch_of) + stretch
        # how often each kind was drawn at each place
        both, often = np.unique(events * every + kind, return_counts=True)
        share = often / (1 + samples.beside.shape[1])
        keys.append(both % every)
        shares.append(share)
        squares.append(share**2)
        states[:going] = automaton.step(states[:going], tokens)[0]
    kinds, place = np.unique(np.concatenate(keys), return_inverse=True)
    total = tally(place.reshape(-1), weights=np.concatenate(shares), minlength=len(kinds))
    own = tally(place.reshape(-1), weights=np.concatenate(squares), minlength=len(kinds)) / total
    event, stretch_at = np.divmod(kinds, len(stretch_of))
    column, label = np.divmod(event, width)
    said = len(np.unique(samples.flat)) + bool(samples.ended.any())
    return Events(column, label - 1, stretch_at, total, own, _tokens(automaton, samples), said, len(samples))


def _drawn_at(samples: SamplePool, rows: IntArray, step: int) -> tuple[IntArray, IntArray]:
    """(position in `rows` [d], token [d], −1 for the end) of all draws at place `step` of some samples.

    `rows` [n] are samples that have this place.
    """
    said = np.full(len(rows), -1, dtype=np.int64)
    longer = samples.lengths[rows] > step
    said[longer] = samples.flat[samples.first[rows[longer]] + step]
    beside = samples.beside[samples.place[rows] + step].astype(np.int64)
    drawn = np.column_stack([said, beside])
    return np.repeat(np.arange(len(rows)), drawn.shape[1]), drawn.reshape(-1)


def _tokens(automaton: TokenAutomaton, samples: SamplePool) -> FloatArray:
    """[V] occurrences of each token: what was said, or in its place a share of all that was drawn there."""
    size = len(automaton.token_bytes)
    said = tally(samples.flat, minlength=size)
    if not samples.beside.shape[1]:
        return said
    beside = tally(samples.beside[samples.beside >= 0], minlength=size)
    return np.asarray((said + beside) / (1 + samples.beside.shape[1]), dtype=np.float64)
