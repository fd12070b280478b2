"""Values of states inside characters, from the values at the boundaries around them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray

# Up to here states are valued one by one, from here on those with equal automaton states together.
_FEW_CLASSES = 64


@dataclass(frozen=True, eq=False)
class Cells:
    """States inside characters: transducer states `u`, automaton states `places[row]`, `nearest` tokens to an end."""

    u: IntArray
    places: IntArray
    row: IntArray
    nearest: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Inside:
    """log V̂ of states inside characters from its values at boundaries.

    Transducer states that miss as many bytes of the same characters have one shape: `shape_of` [U]; `missing` [shapes]
    bytes; `share` [shapes, K] the weight of each completion, the same for all that are possible. `nearest` [S + 1]: the
    fewest tokens from each composite state to a legal end, more than the twist's `max_tokens` where it cannot be had.
    With `weighed` False a value is 0 or −inf by `nearest` alone.
    """

    automaton: TokenAutomaton
    nearest: NDArray[np.int32]
    shape_of: IntArray
    missing: IntArray
    share: FloatArray
    weighed: bool = True

    @staticmethod
    def of(automaton: TokenAutomaton, nearest: NDArray[np.int32]) -> Inside:
        utf8 = automaton.utf8
        kinds = np.column_stack([utf8.missing, utf8.completions]).astype(np.int64)
        shapes, shape_of = np.unique(kinds, axis=0, return_inverse=True)
        share = shapes[:, 1:] / shapes[:, 1:].sum(axis=1, keepdims=True)
        return Inside(automaton, nearest, shape_of.reshape(-1), shapes[:, 0], share)

    def locate(self, states: NDArray[np.integer]) -> Cells:
        """`states` [n]: composite states, all inside characters."""
        u, q = np.divmod(states.astype(np.int64), self.automaton.size)
        places, row = np.unique(q, return_inverse=True)
        return Cells(u, places, row, self.nearest[states])

    def values(self, log_value: FloatArray, left: int, cells: Cells) -> FloatArray:
        """[n] log V̂ in nats with `left` tokens to go; reads the rows of `log_value` up to `left`."""
        reachable = cells.nearest <= left
        if not self.weighed:
            return np.where(reachable, 0.0, -np.inf)
        found = self._table(log_value, left, cells.places)[cells.row, self.shape_of[cells.u]]
        lost = reachable & np.isneginf(found)
        if lost.any():
            found[lost] = self._nearby(log_value[left], cells.u[lost], cells.places[cells.row[lost]])
        return np.where(reachable, found, -np.inf)

    def of_states(self, log_value: FloatArray, left: int, states: NDArray[np.integer]) -> FloatArray:
        """[n] log V̂ in nats of composite `states` [n], all inside characters, with `left` tokens to go.

        Over a small alphabet each is computed by itself, which is quick for a few.
        """
        classes = self.share.shape[1]
        if not self.weighed or classes > _FEW_CLASSES:
            return self.values(log_value, left, self.locate(states))
        distinct, place = states, slice(None)
        if len(states) > _FEW_CLASSES:
            distinct, place = np.unique(states, return_inverse=True)
        u, q = np.divmod(distinct.astype(np.int64), self.automaton.size)
        shape = self.shape_of[u]
        missing = self.missing[shape]
        terms = log_value[np.maximum(left - missing, 0)[:, None], self.automaton.delta[q]]
        terms += self.automaton.increments[q] + self._log_share[shape]
        terms[missing > left] = -np.inf
        peak = terms.max(axis=1)
        peak[np.isneginf(peak)] = 0.0
        reachable = self.nearest[distinct] <= left
        with np.errstate(divide="ignore"):
            found = np.log(np.exp(terms - peak[:, None]).sum(axis=1)) + peak
        lost = reachable & np.isneginf(found)
        if lost.any():
            found[lost] = self._nearby(log_value[left], u[lost], q[lost])
        found[~reachable] = -np.inf
        return np.asarray(found[place], dtype=np.float64)

    @cached_property
    def _log_share(self) -> FloatArray:
        """[shapes, K]: log of `share`."""
        with np.errstate(divide="ignore"):
            return np.log(self.share)

    def _table(self, log_value: FloatArray, left: int, q: IntArray) -> FloatArray:
        """[n, shapes] log of the mean over completions m of e^increment(q, m)·V̂(δ(q, m), left − bytes missing).

        The token that completes a character pays for it (`TokenAutomaton.exits`), so the increment is still ahead.
        """
        table = np.full((len(q), len(self.missing)), -np.inf)
        following = self.automaton.delta[q]
        paid = self.automaton.increments[q] if self.automaton.increments.any() else None
        for bytes_left in range(1, min(left, 3) + 1):
            at = np.flatnonzero(self.missing == bytes_left)
            classes = np.flatnonzero(self.share[at].any(axis=0))
            row, share = log_value[left - bytes_left], self.share[np.ix_(at, classes)].T
            if paid is None and _range(row) < 600:  # far within what exp can hold: one exp for each state is enough
                peak = row.max(initial=-np.inf, where=np.isfinite(row))
                with np.errstate(divide="ignore"):
                    table[:, at] = np.log(np.exp(row - peak)[following[:, classes]] @ share) + peak
                continue
            terms = row[following[:, classes]] + (0.0 if paid is None else paid[:, classes])
            peaks = terms.max(axis=1, keepdims=True)
            peaks = np.where(np.isfinite(peaks), peaks, 0.0)
            with np.errstate(divide="ignore"):
                table[:, at] = np.log(np.exp(terms - peaks) @ share) + peaks
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


def _range(row: FloatArray) -> float:
    """How far apart the finite values of a row are, in nats; inf where there are none."""
    finite = row[np.isfinite(row)]
    return float(finite.max() - finite.min()) if len(finite) else np.inf
