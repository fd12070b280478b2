"""Boxes and monotone constraints on weights, reduced to free variables with a strict interior where there is one.

w_i ≥ w_j chains carry bounds along: a lower bound of j is one of i, an upper bound of i is one of j. Weights that the
chains make equal become one variable, weights whose bounds meet become constants. What is left is

    w = E v + f,     low ≤ v ≤ high,     M v ≥ 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bylaw.compiler.weights.problem import BoolArray, FloatArray, IntArray, checked_array


@dataclass(frozen=True, eq=False)
class Constraints:
    """The set of allowed weights, in K weights and in the V free variables behind them.

    Attributes:
        names: [K]. lower, upper: [K] nats, tightened along the monotone chains.
        expand: [K, V] E, each row at most one 1. fixed: [K] f.
        low, high: [V] bounds of the variables (±inf where there is none), low < high.
        order: [O, V] M, rows +1 and −1.
        share: [V] how many weights a variable stands for. centre: [V] the mean of their references.
        reference: [K] what L2 pulls towards, and what weights that nothing else decides stay closest to.
    """

    names: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray
    expand: FloatArray
    fixed: FloatArray
    low: FloatArray
    high: FloatArray
    order: FloatArray
    share: FloatArray
    centre: FloatArray
    reference: FloatArray

    @property
    def free(self) -> BoolArray:
        """[K] which weights are not constants."""
        return np.asarray(self.expand.any(axis=1), dtype=np.bool_)

    @property
    def sides(self) -> tuple[FloatArray, FloatArray]:
        """(G [J, V], h [J]) of all constraints as G v ≥ h: finite lower bounds, finite upper bounds, then the order."""
        unit = np.eye(self.low.size)
        below, above = np.isfinite(self.low), np.isfinite(self.high)
        rows = np.vstack([unit[below], -unit[above], self.order])
        return rows, np.concatenate([self.low[below], -self.high[above], np.zeros(self.order.shape[0])])

    def settled(self, columns: BoolArray) -> Constraints:
        """The constraints with these variables [V] (in no order) made constants, as near to their centre as allowed."""
        value = np.clip(self.centre, self.low, self.high)
        left = ~columns
        return replace(
            self,
            expand=self.expand[:, left],
            fixed=self.fixed + self.expand[:, columns] @ value[columns],
            low=self.low[left],
            high=self.high[left],
            order=self.order[:, left],
            share=self.share[left],
            centre=self.centre[left],
        )

    def weights(self, variables: FloatArray) -> FloatArray:
        """[K] the allowed weights next to variables [V], which may miss bounds and order by rounding."""
        kept = variables.copy()
        for _ in range(kept.size):
            broken = np.flatnonzero(self.order @ kept < 0.0)
            for row in self.order[broken]:
                kept[row > 0.0] = max(float(kept[row > 0.0][0]), float(kept[row < 0.0][0]))
            if broken.size == 0:
                break
        # The bounds grow along the order, so clipping to them keeps it.
        result: FloatArray = np.clip(self.expand @ kept + self.fixed, self.lower, self.upper)
        return result


def constrain(
    names: Sequence[str],
    *,
    reference: npt.ArrayLike | None,
    lower: npt.ArrayLike,
    upper: npt.ArrayLike,
    monotone: Sequence[tuple[int, int]],
) -> Constraints:
    """The reduced constraints on K weights; ``lower`` and ``upper`` are [K] or one for all, in nats.

    Raises:
        ValueError: naming the argument that is NaN, of a wrong shape or out of range, or the two weights whose bounds
            and order contradict each other.
    """
    size = len(names)
    target = np.zeros(size) if reference is None else checked_array(reference, "reference", (size,))
    below, above = _bounds(lower, "lower", size), _bounds(upper, "upper", size)
    if (below == np.inf).any() or (above == -np.inf).any():
        raise ValueError("lower must be below +inf and upper above −inf")
    links = _checked_order(monotone, size)
    reach = np.eye(size, dtype=bool)
    for over, under in links:
        reach[over, under] = True
    for middle in range(size):
        reach |= np.outer(reach[:, middle], reach[middle])
    tight_low = np.array([below[reach[i]].max() for i in range(size)]) if size else below
    tight_high = np.array([above[reach[:, i]].min() for i in range(size)]) if size else above
    for index in np.flatnonzero(tight_low > tight_high).tolist():
        floor = next(j for j in np.flatnonzero(reach[index]).tolist() if below[j] == tight_low[index])
        roof = next(j for j in np.flatnonzero(reach[:, index]).tolist() if above[j] == tight_high[index])
        raise ValueError(
            f"no weight is allowed for `{names[index]}`: lower of `{names[floor]}` is {below[floor]:g} and upper of "
            f"`{names[roof]}` is {above[roof]:g}; change one of the bounds or the monotone order"
        )
    return _reduced(tuple(names), target, tight_low, tight_high, reach, links)


def _reduced(
    names: tuple[str, ...],
    target: FloatArray,
    low: FloatArray,
    high: FloatArray,
    reach: BoolArray,
    links: Sequence[tuple[int, int]],
) -> Constraints:
    size = target.size
    leader: IntArray = np.argmax(reach & reach.T, axis=1) if size else np.zeros(0, np.int64)
    free = low < high
    heads = [index for index in range(size) if free[index] and leader[index] == index]
    column = {head: position for position, head in enumerate(heads)}
    expand = np.zeros((size, len(heads)))
    for index in np.flatnonzero(free):
        expand[index, column[int(leader[index])]] = 1.0
    pairs = {(int(leader[i]), int(leader[j])) for i, j in links if free[i] and free[j] and leader[i] != leader[j]}
    order = np.zeros((len(pairs), len(heads)))
    for row, (over, under) in enumerate(sorted(pairs)):
        order[row, column[over]], order[row, column[under]] = 1.0, -1.0
    share = expand.sum(axis=0)
    return Constraints(
        names=names,
        lower=low,
        upper=high,
        expand=expand,
        fixed=np.where(free, 0.0, low),
        low=low[heads],
        high=high[heads],
        order=order,
        share=share,
        centre=expand.T @ target / np.maximum(share, 1.0),
        reference=target,
    )


def _bounds(values: npt.ArrayLike, name: str, size: int) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {size} numbers or one for all: {error}") from None
    if array.ndim == 0:
        array = np.full(size, float(array))
    if array.shape != (size,):
        raise ValueError(f"{name} must be {size} numbers or one for all, got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} contains NaN")
    return array


def _checked_order(monotone: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    links = []
    for entry in monotone:
        over, under = (int(part) for part in entry)
        if not (0 <= over < size and 0 <= under < size):
            raise ValueError(
                f"monotone names weight {max(over, under, key=abs)}, but there are {size} (0 to {size - 1})"
            )
        if over != under:
            links.append((over, under))
    return links
