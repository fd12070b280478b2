"""The transitions of an automaton at character boundaries, token classes with equal effect added up: a sparse chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist.table import boundary_states

_CHUNK_CELLS = 500_000


@dataclass(frozen=True, eq=False)
class Chain:
    """Sparse rows in order: entry k leads from its row to `column[k]`; the entries of a row begin at `first[row]`.

    Rows are the boundary states. Columns are composite states, and `end` for the end of text, which every row has.
    `log_weight` [E], nats: log Σ P(c)·e^{reward} over the classes c of an entry under the law that it was built with.
    """

    column: IntArray
    log_weight: FloatArray
    first: IntArray
    end: int

    @cached_property
    def row(self) -> IntArray:
        """[E] the row of each entry."""
        sizes = np.diff(np.append(self.first, len(self.column)))
        return np.repeat(np.arange(len(self.first)), sizes)

    def entry(self, rows: IntArray, columns: IntArray) -> IntArray:
        """The numbers of entries that exist, by row and column."""
        keys = self.row * (self.end + 1) + self.column
        return np.searchsorted(keys, rows * (self.end + 1) + columns)

    def apply(self, log_weight: FloatArray, log_value: FloatArray) -> FloatArray:
        """log Σ exp(log_weight + log_value) of each row, both [E]; stable for any range of values."""
        return log_sums(log_weight + log_value, self.first)


def tally(index: NDArray[np.integer], *, weights: FloatArray | None = None, minlength: int = 0) -> FloatArray:
    """[max(index) + 1 or `minlength`] the sum of the weights (None: the number) of each value of `index`."""
    return np.asarray(np.bincount(index, weights=weights, minlength=minlength), dtype=np.float64)


def log_sums(terms: FloatArray, first: IntArray) -> FloatArray:
    """log Σ exp of consecutive stretches of `terms`, which begin at `first`, none of them empty."""
    peak = np.maximum.reduceat(terms, first)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    sizes = np.diff(np.append(first, len(terms)))
    with np.errstate(divide="ignore"):
        total = np.log(np.add.reduceat(np.exp(terms - np.repeat(peak, sizes)), first))
    return np.asarray(peak + total, dtype=np.float64)


def grouped_log_sums(index: IntArray, terms: FloatArray) -> tuple[IntArray, FloatArray]:
    """(the distinct values of `index`, log Σ exp of the terms of each)."""
    if len(index) == 0:
        return index, terms
    order = np.argsort(index, kind="stable")
    first = np.flatnonzero(np.diff(index[order], prepend=-1))
    return index[order][first], log_sums(terms[order], first)


def build_chain(
    automaton: TokenAutomaton, blocks: Mapping[int, Block], log_law: Mapping[int, FloatArray], log_end: float
) -> Chain:
    """The chain under one law of token classes for all states: `log_law[u]` [C_u] and `log_end`, nats."""
    boundary = boundary_states(automaton)
    final = automaton.final(boundary)
    parts = [
        _merged(blocks[u], log_law[u], log_end + final[boundary // automaton.size == u], automaton.state_count)
        for u in sorted(blocks)
    ]
    offsets = np.cumsum([0] + [len(part.column) for part in parts[:-1]])
    return Chain(
        np.concatenate([part.column for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
        np.concatenate([part.first + offset for part, offset in zip(parts, offsets, strict=True)]),
        automaton.state_count,
    )


def _merged(block: Block, log_law: FloatArray, log_stops: FloatArray, end: int) -> Chain:
    """Add up classes that lead to the same state: most tokens lead back to a few states, so the chain is sparse."""
    rows, classes = block.next_state.shape
    columns: list[IntArray] = []
    weights: list[FloatArray] = []
    sizes: list[NDArray[np.intp]] = []
    height = max(1, _CHUNK_CELLS // max(classes, 1))
    for top in range(0, rows, height):
        steps = log_law + block.reward[top : top + height]
        row, label = np.nonzero(np.isfinite(steps))
        target = block.next_state[top : top + height][row, label].astype(np.int64)
        stops = np.arange(len(steps), dtype=np.int64) * (end + 1) + end
        key = np.concatenate([row * (end + 1) + target, stops])
        found, weight = grouped_log_sums(key, np.concatenate([steps[row, label], log_stops[top : top + height]]))
        columns.append(found % (end + 1))
        weights.append(weight)
        sizes.append(np.bincount(found // (end + 1), minlength=len(steps)))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))[:-1]]).astype(np.int64)
    return Chain(np.concatenate(columns), np.concatenate(weights), starts, end)
