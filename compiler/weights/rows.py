"""Judged pairs as rows of one convex loss, merged, scaled and expressed in the free variables of the constraints.

A strict pair is one row (d, m). A tie is two:

    hinge     max(0, |z| − m) = max(0, −m + z) + max(0, −m − z)              rows (±d, −m): a band without loss, |z| ≤ m
    logistic  log(1 + e^{m−z}) + log(1 + e^{m+z})                            rows (±d, +m)

The second is the model of Rao and Kupper with threshold m, P(better) = σ(z − m) and P(tie) = (e^{2m} − 1) σ(z − m)
σ(−z − m), without its constant −log(e^{2m} − 1), which no weight changes. Both are convex in z = d·w. Davidson's model
of ties is convex too, but puts its threshold into the strict pairs in another way than a margin does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from bylaw.compiler.weights.constraints import Constraints
from bylaw.compiler.weights.interior import Point, Task, softplus
from bylaw.compiler.weights.problem import BoolArray, FloatArray, IntArray, PairProblem, distinct_rows

Loss: TypeAlias = Literal["hinge", "logistic"]

_NO_INFORMATION = 1e-12  # relative eigenvalue of the differences below which a direction is not judged
_RADIUS = 10.0


@dataclass(frozen=True, eq=False)
class Rows:
    """R distinct rows of the loss.

    Attributes:
        differences: [R, K]. margin: [R] nats, negative for ties under the hinge loss. count: [R].
        kind: [E] the row of each entry; source: [E] the pair of the problem that the entry comes from (E = P + ties).
    """

    differences: FloatArray
    margin: FloatArray
    count: FloatArray
    kind: IntArray
    source: IntArray


def rows_of(problem: PairProblem, loss: Loss) -> Rows:
    """The rows of a problem's loss; equal ones are added up whatever their prompt."""
    strict, tied = np.flatnonzero(~problem.tie), np.flatnonzero(problem.tie)
    source = np.concatenate([strict, tied, tied])
    sign = np.concatenate([np.ones(strict.size + tied.size), -np.ones(tied.size)])
    margin = problem.margin[source] * np.where(problem.tie[source], -1.0 if loss == "hinge" else 1.0, 1.0)
    whole = np.empty((source.size, problem.features + 1))
    whole[:, -1] = margin
    np.multiply(problem.differences[source] if tied.size else problem.differences, sign[:, None], out=whole[:, :-1])
    first, kind = distinct_rows(whole)
    count = np.bincount(kind, weights=problem.count[source], minlength=first.size).astype(np.float64)
    return Rows(whole[first, :-1] + 0.0, margin[first], count, kind, source)


@dataclass(frozen=True, eq=False)
class Model:
    """Rows and constraints together, in scaled variables x = v · scale, so that one tolerance fits counts and rates.

    Attributes:
        matrix: [R, V] D E / scale. margin: [R] m − D f. scale: [V] powers of two.
        idle: [K] weights that no row and no order is about; they stay at the reference (or next to it in their bounds).
    """

    rows: Rows
    constraints: Constraints
    loss: Loss
    l2: float
    matrix: FloatArray
    margin: FloatArray
    scale: FloatArray
    idle: BoolArray

    @classmethod
    def of(cls, rows: Rows, constraints: Constraints, loss: Loss, l2: float) -> Model:
        """Express the rows in the variables of the constraints."""
        matrix = rows.differences @ constraints.expand
        unused: BoolArray = np.logical_not(np.vstack([matrix, constraints.order]).any(axis=0))
        idle: BoolArray = np.asarray(constraints.expand[:, unused].any(axis=1))
        constraints, matrix = constraints.settled(unused), matrix[:, ~unused]
        largest = np.abs(matrix).max(axis=0, initial=0.0)
        scale = np.exp2(np.round(np.log2(np.where(largest > 0.0, largest, 1.0))))
        margin = rows.margin - rows.differences @ constraints.fixed
        return cls(rows, constraints, loss, l2, matrix / scale, margin, scale, idle)

    def task(self, count: FloatArray) -> Task:
        """The loss with these counts [R] as shares of their sum; rows with none are left out."""
        used = np.flatnonzero(count > 0.0)
        sides, limits = self.constraints.sides
        total = float(count.sum())
        pull = self.l2 / total * self.constraints.share / self.scale**2
        return Task(
            matrix=self.matrix[used],
            margin=self.margin[used],
            count=count[used] / total,
            pull=pull,
            centre=self.nearest,
            sides=sides / self.scale,
            limits=limits,
            slope=np.zeros(pull.size),
        )

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """([V], [V]) the bounds of the scaled variables."""
        return self.constraints.low * self.scale, self.constraints.high * self.scale

    @property
    def nearest(self) -> FloatArray:
        """[V] the centre of the pull, in scaled variables."""
        return self.constraints.centre * self.scale

    def weights(self, variables: FloatArray) -> FloatArray:
        """[K] nats, allowed by the constraints, of scaled variables [V]."""
        return self.constraints.weights(variables / self.scale)


def losses(loss: Loss, short: FloatArray) -> FloatArray:
    """The loss of each row, from how much it misses its margin, m − d·w, in nats."""
    return np.maximum(short, 0.0) if loss == "hinge" else softplus(short)


def lower_bound(model: Model, task: Task, point: Point) -> float:
    """A bound from below on the mean loss + pull over all allowed weights, from multipliers (Fenchel duality).

    Σ α m + conjugate + min over the box of ½ q (x − r)² − (Dᵀα + Mᵀν)·x. Without a pull the box is cut to a distance
    of 10 (or 10 times the largest weight) around the point: if nothing there is better by more than the gap, then by
    convexity nothing anywhere is better by more than the gap times its relative distance.
    """
    low, high = model.bounds
    order = model.constraints.order.shape[0]
    held = np.maximum(point.sides[point.sides.size - order :], 0.0)
    rows = np.clip(point.rows, 0.0, task.count)
    slope = rows @ task.matrix + held @ task.sides[task.sides.shape[0] - order :]
    value = float(rows @ task.margin)
    if model.loss == "logistic":
        value += float(task.count @ _entropy(rows / task.count))
    radius = _RADIUS * max(1.0, float(np.abs(point.variables).max(initial=0.0)))
    low, high = np.where(task.pull > 0.0, low, np.maximum(low, point.variables - radius)), high
    high = np.where(task.pull > 0.0, high, np.minimum(high, point.variables + radius))
    pull = np.where(task.pull > 0.0, task.pull, 1.0)
    best = np.where(task.pull > 0.0, np.clip(task.centre + slope / pull, low, high), np.where(slope > 0.0, high, low))
    return value + float((0.5 * task.pull * (best - task.centre) ** 2 - slope * best).sum())


def _entropy(share: FloatArray) -> FloatArray:
    inner = np.clip(share, 1e-300, 1.0)
    outer = np.clip(1.0 - share, 1e-300, 1.0)
    result: FloatArray = -share * np.log(inner) - (1.0 - share) * np.log(outer)
    return result


def unjudged_directions(matrix: FloatArray) -> FloatArray:
    """[V, Q] an orthonormal basis of the directions along which no row of D [R, V] changes."""
    size = matrix.shape[1]
    if matrix.shape[0] == 0 or size == 0:
        return np.eye(size)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    result: FloatArray = vectors[:, values <= _NO_INFORMATION * float(values[-1])]
    return result
