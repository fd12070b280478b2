"""A logistic model of many sparse features in single precision, by Newton's method with conjugate gradients.

Models of text need no more than a few digits, and there are three of them for each concept and fold: this takes about a
third of the time of the solvers of scikit-learn, whose optimum it finds (tests/test_concept_features.py). Method:
Nocedal and Wright, *Numerical Optimization*, 2nd ed., 2006, algorithm 7.1 (line search Newton-CG).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.features import FloatArray, Matrix
from bylaw.runtime.concepts.folds import BoolArray

TOLERANCE: Final = 0.02
"""Where to stop: the length of the gradient, as a share of that at the start."""
_STEPS: Final = 12
_INNER_STEPS: Final = 10
_INNER_TOLERANCE: Final = 0.2
_SingleArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """weights [D] and an intercept, in nats."""

    weights: FloatArray
    intercept: float

    def times(self, factor: float) -> Linear:
        """The model with all of its numbers times `factor`."""
        return Linear(self.weights * factor, self.intercept * factor)


def fit_logistic(
    rows: Matrix, does: BoolArray, weights: FloatArray, strength: float, tolerance: float = TOLERANCE
) -> Linear:
    """The w and b that minimise (|w|² + b²) / 2 + strength · Σ weight · ln(1 + exp(∓(x·w + b))).

    `rows` [N, D] sparse, `does` [N] the classes, `weights` [N] of the examples.
    """
    problem = _Problem.of(rows, does, weights * strength)
    found, margin = np.zeros(rows.shape[1] + 1, dtype=np.float32), np.zeros(rows.shape[0], dtype=np.float32)
    value, start = problem.value(found, margin), 0.0
    for _ in range(_STEPS):
        share = problem.wrong(margin)
        gradient = problem.gradient(found, share)
        length = float(np.sqrt(gradient @ gradient))
        start = start or length
        if length <= tolerance * start or not length:
            break
        step, change = problem.newton(gradient, problem.weight * share * (1 - share))
        size = np.float32(1.0)
        while (new := problem.value(found + size * step, margin + size * change)) > value and size > 1e-3:
            size /= np.float32(2)
        found, margin, value = found + size * step, margin + size * change, new
    return Linear(found[:-1].astype(float), float(found[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """`rows` [N, D], `across` its transpose; `sign` [N] is 1 or -1, `weight` [N]. The intercept is last in vectors."""

    rows: Any
    across: Any
    sign: _SingleArray
    weight: _SingleArray

    @staticmethod
    def of(rows: Matrix, does: BoolArray, weights: FloatArray) -> _Problem:
        held = rows.astype(np.float32)
        sign = np.where(does, np.float32(1), np.float32(-1))
        return _Problem(held, held.T, sign, weights.astype(np.float32))

    def value(self, found: _SingleArray, margin: _SingleArray) -> float:
        lost = self.weight * np.logaddexp(np.float32(0), -self.sign * margin)
        return float(found @ found) / 2 + float(lost.sum(dtype=np.float64))

    def wrong(self, margin: _SingleArray) -> _SingleArray:
        """[N] the probability of the class that an example does not have."""
        found: _SingleArray = np.exp(-np.logaddexp(np.float32(0), self.sign * margin))
        return found

    def gradient(self, found: _SingleArray, share: _SingleArray) -> _SingleArray:
        return self._across(-self.weight * self.sign * share) + found

    def _across(self, each: _SingleArray) -> _SingleArray:
        return np.append(self.across @ each, each.sum(dtype=np.float32)).astype(np.float32)

    def newton(self, gradient: _SingleArray, curvature: _SingleArray) -> tuple[_SingleArray, _SingleArray]:
        """(a step that about solves Newton's equations, what it changes of the margins [N])."""
        step, change = np.zeros_like(gradient), np.zeros_like(curvature)
        left = -gradient
        direction, size = left.copy(), float(left @ left)
        enough = _INNER_TOLERANCE**2 * size
        for _ in range(_INNER_STEPS):
            along = self.rows @ direction[:-1] + direction[-1]
            bent = self._across(curvature * along) + direction
            length = np.float32(size / float(direction @ bent))
            step, change, left = step + length * direction, change + length * along, left - length * bent
            before, size = size, float(left @ left)
            if size <= enough:
                break
            direction = left + np.float32(size / before) * direction
        return step, change
