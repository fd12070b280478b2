"""Base samples as an automaton sees them: which token class was taken in which state, and how far into the response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist.table import boundary_states

END = -1
"""The label of the end of text among the classes of an event."""


class CountedSample(Protocol):
    """What counting needs of a base sample (`bylaw.runtime.models.BaseSample` has it)."""

    @property
    def tokens(self) -> tuple[int, ...]: ...

    @property
    def ended(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class SamplePool:
    """Base samples as arrays, the longest first: sample i has the tokens `flat[first[i] : first[i] + lengths[i]]`."""

    flat: NDArray[np.int32]
    first: IntArray
    lengths: IntArray
    ended: NDArray[np.bool_]

    @staticmethod
    def of(samples: Iterable[CountedSample] | SamplePool) -> SamplePool:
        """The samples as a pool; a pool is returned as it is."""
        if isinstance(samples, SamplePool):
            return samples
        pool = sorted(samples, key=lambda sample: -len(sample.tokens))
        lengths = np.array([len(sample.tokens) for sample in pool], dtype=np.int64)
        flat = np.fromiter(chain.from_iterable(sample.tokens for sample in pool), np.int32, count=int(lengths.sum()))
        ended = np.array([sample.ended for sample in pool], dtype=np.bool_)
        return SamplePool(flat, np.cumsum(lengths) - lengths, lengths, ended)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b over the tokens, the lengths and the ends of all samples, hexadecimal."""
        hashed = blake2b(digest_size=20)
        for part in (self.lengths, self.ended, self.flat):
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


@dataclass(frozen=True, eq=False)
class Events:
    """What happened at character boundaries, each kind once: `count` [n] times was the token class `label` [n] taken
    (END: the text ended) in the state of `column` [n] of the value table, in `stretch` [n] of the response.

    `tokens` [V]: occurrences of each token, anywhere. Capped samples have no end.
    """

    column: IntArray
    label: IntArray
    stretch: IntArray
    count: FloatArray
    tokens: FloatArray
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
    keys: list[IntArray] = []
    counts: list[IntArray] = []
    states = np.full(len(samples), automaton.start, dtype=np.int32)
    for step in range(int(samples.lengths.max(initial=0)) + 1):
        tokens = samples.at(step)
        going = len(tokens)
        stopped = states[(samples.lengths == step) & samples.ended]
        stopped = stopped[np.isin(stopped, columns)]
        seen = [np.searchsorted(columns, stopped) * width + END + 1]
        u = automaton.split(states[:going])[0]
        for number, block in blocks.items():
            at = np.flatnonzero(u == number)
            column = np.searchsorted(columns, states[at])
            seen.append(column * width + block.class_of[tokens[at]] + 1)
        kinds, often = np.unique(np.concatenate(seen), return_counts=True)
        stretch = int(stretch_of[min(step, len(stretch_of) - 1)])
        keys.append(kinds * len(stretch_of) + stretch)
        counts.append(often)
        states[:going] = automaton.step(states[:going], tokens)[0]
    kinds, place = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.zeros(len(kinds))
    np.add.at(total, place.reshape(-1), np.concatenate(counts))
    event, stretch_at = np.divmod(kinds, len(stretch_of))
    column, label = np.divmod(event, width)
    spoken = np.zeros(len(automaton.token_bytes))
    np.add.at(spoken, samples.flat, 1.0)
    return Events(column, label - 1, stretch_at, total, spoken, len(samples))
