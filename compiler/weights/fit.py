"""Weights of soft rules from judged pairs by convex fitting, with a certificate.

    min over w of  Σ c ℓ(d·w) + (l2/2) |w − reference|²     s.t.  lower ≤ w ≤ upper,  w_i ≥ w_j for (i, j) in monotone

    hinge     ℓ(z) = max(0, m − z)              a tie: max(0, |z| − m)
    logistic  ℓ(z) = log(1 + exp(m − z))        a tie: log(1 + exp(m − z)) + log(1 + exp(m + z)), losing both ways

Scores are φ·w, weights and margins m in nats. The logistic loss is Bradley and Terry's likelihood (1952), with a margin
and ties that of Rao and Kupper (1967) up to a constant; it says how probable a judgement is. The hinge loss asks for a
margin and counts what is missing. Ties with margin 0 press both scores together.

Hinge without L2 is a linear programme (HiGHS), with L2 a quadratic one (interior points); logistic is solved by
primal-dual Newton steps. Each answer carries a bound from Fenchel duality that does not trust the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Required, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from bylaw.compiler.weights.constraints import Constraints, constrain
from bylaw.compiler.weights.interior import Point, Task, hinge_point, logistic_point, sigmoid
from bylaw.compiler.weights.problem import BoolArray, FloatArray, PairProblem
from bylaw.compiler.weights.programmes import (
    NotSolved,
    linear_point,
    nearest_optimum,
    recession_direction,
)
from bylaw.compiler.weights.rows import Loss, Model, losses, lower_bound, rows_of, unjudged_directions
from bylaw.compiler.weights.working_set import by_working_set

__all__ = ["FitOptions", "FittedWeights", "Loss", "NotSolved", "SeparableJudgements", "fit_weights"]

_TOLERANCE = 1e-13  # of the mean loss, asked of the solvers
_CERTIFIED = 1e-6  # a relative gap above this is refused; what is reached is about 1e-11; at least 1e-8 a judgement
_PROXIMAL = (1e-8, *([1e-11] * 20))
_NEARBY = 1e-8  # the gap that a later step of them starts from
_VISIBLE = 1e-7
_NO_RISE = 1e-6  # of a scaled difference: a rise below it is rounding
_RIGHT_ORDER = 1e-9


class FitOptions(TypedDict, total=False):
    """The options of ``fit_weights``, which intervals and held-out accuracy pass on unchanged."""

    loss: Required[Loss]
    l2: float
    reference: npt.ArrayLike | None
    lower: npt.ArrayLike
    upper: npt.ArrayLike
    monotone: Sequence[tuple[int, int]]


class SeparableJudgements(ValueError):
    """The logistic loss has no minimum: some weights improve it for ever.

    Attributes:
        direction: [K] along which the loss falls without end. names: the features that take part in it.
    """

    def __init__(self, direction: FloatArray, names: Sequence[str]) -> None:
        parts = [name for name, part in zip(names, direction, strict=True) if part != 0.0]
        super().__init__(
            "the judgements never disagree about "
            + ", ".join(f"`{name}`" for name in parts)
            + ": under the logistic loss these weights run to infinity; give l2 > 0, an upper bound, or the hinge loss"
        )
        self.direction = direction
        self.names = tuple(parts)


@dataclass(frozen=True, eq=False)
class FittedWeights:
    """Fitted weights with their certificate.

    Where several weights are equally good (``undetermined``, or a flat face of the hinge loss) the ones nearest to the
    reference are given.

    Attributes:
        names: [K]. weights: [K] nats.
        loss: mean loss per judgement. objective: Σ c ℓ + (l2/2)|w − reference|².
        gap: objective minus a lower bound on it over all allowed weights, ≥ 0 up to rounding. Without L2 the bound is
            over those within ten times the largest weight (at least 10, in units of scaled features); by convexity
            weights that are farther by a factor t are better by at most t times the gap.
        iterations: steps of the solver. loss_name: which loss. l2: nats⁻² per feature.
        separable: these weights put every judged pair in its order (ties within their margin).
        undetermined: [K] the judgements do not say this weight on its own: its feature never differs, or only together
            with others in a fixed proportion, and the constraints leave it room.
    """

    names: tuple[str, ...]
    weights: FloatArray
    loss: float
    objective: float
    gap: float
    iterations: int
    loss_name: Loss
    l2: float
    separable: bool
    undetermined: BoolArray


@dataclass(frozen=True, eq=False)
class Solution:
    """What solving a model for one vector of counts yields: weights [K], objective, certified gap, steps."""

    weights: FloatArray
    objective: float
    gap: float
    steps: int


def fit_weights(
    problem: PairProblem,
    *,
    loss: Loss,
    l2: float = 0.0,
    reference: npt.ArrayLike | None = None,
    lower: npt.ArrayLike = 0.0,
    upper: npt.ArrayLike = np.inf,
    monotone: Sequence[tuple[int, int]] = (),
) -> FittedWeights:
    """The weights [K] in nats that minimise the loss of the judged pairs.

    Args:
        loss: "hinge" or "logistic". l2: ≥ 0, strength of the pull. reference: [K] what it pulls towards, 0 if None.
        lower, upper: [K] or one for all, nats; ±inf for none. monotone: (i, j) demands weight i ≥ weight j.

    Raises:
        ValueError: naming the argument that is out of range; no pairs; all margins 0 under the hinge loss.
        SeparableJudgements: logistic loss without l2, and nothing keeps the weights finite.
        NotSolved: the answer could not be certified.
    """
    model = model_of(problem, loss=loss, l2=l2, reference=reference, lower=lower, upper=upper, monotone=monotone)
    solution = solve(model, model.rows.count)
    constraints = model.constraints
    scores = problem.differences @ solution.weights
    missed = losses(loss, model.rows.margin - model.rows.differences @ solution.weights)
    right = np.where(problem.tie, np.abs(scores) <= problem.margin + _RIGHT_ORDER, scores > _RIGHT_ORDER)
    unseen = constraints.expand @ np.abs(unjudged_directions(model.matrix)).max(axis=1, initial=0.0) > _VISIBLE
    solution.weights.setflags(write=False)
    return FittedWeights(
        names=problem.names,
        weights=solution.weights,
        loss=float(model.rows.count @ missed) / problem.judgements,
        objective=solution.objective,
        gap=solution.gap,
        iterations=solution.steps,
        loss_name=loss,
        l2=float(l2),
        separable=bool(right.all()),
        undetermined=unseen | model.idle,
    )


def model_of(
    problem: PairProblem,
    *,
    loss: Loss,
    l2: float = 0.0,
    reference: npt.ArrayLike | None = None,
    lower: npt.ArrayLike = 0.0,
    upper: npt.ArrayLike = np.inf,
    monotone: Sequence[tuple[int, int]] = (),
) -> Model:
    """The checked model behind ``fit_weights``; the same arguments and errors."""
    if loss not in get_args(Loss):
        raise ValueError(f"unknown loss {loss!r}, expected one of {list(get_args(Loss))}")
    if not (isinstance(l2, (int, float)) and np.isfinite(l2) and l2 >= 0.0):
        raise ValueError(f"l2 must be a finite number ≥ 0, got {l2}")
    constraints = constrain(problem.names, reference=reference, lower=lower, upper=upper, monotone=monotone)
    if problem.pairs == 0:
        raise ValueError("the problem holds no judged pairs: there is nothing to fit weights to")
    idle = loss == "hinge" and not problem.margin[~problem.tie].any() and not constraints.reference.any()
    if idle and (constraints.lower <= 0.0).all() and (constraints.upper >= 0.0).all():
        raise ValueError(
            "margin is 0 for every strict pair, so weights of zero have no hinge loss: give a margin > 0, or the "
            "logistic loss"
        )
    return Model.of(rows_of(problem, loss), constraints, loss, float(l2))


def solve(model: Model, count: FloatArray) -> Solution:
    """The minimiser for counts [R] of the model's rows (≥ 0, not all 0); rows with none are left out.

    Raises:
        SeparableJudgements, NotSolved: see ``fit_weights``.
    """
    task = model.task(count)
    point = _solved(model, task)
    weights = model.weights(point.variables)
    short = model.rows.margin - model.rows.differences @ weights
    distance = weights - model.constraints.reference
    # The certificate is about the variables alone: what constants pay for their distance is in both values.
    objective = float(count @ losses(model.loss, short)) + 0.5 * model.l2 * float(distance @ distance)
    total = float(count.sum())
    bound = total * lower_bound(model, task, point) + 0.5 * model.l2 * _constant_distance(model.constraints)
    gap = objective - bound
    if not gap <= _CERTIFIED * max(1e-2 * total, abs(objective)):
        raise NotSolved(
            f"the weights could not be certified (objective {objective:.9g}, gap {gap:.3g}): give l2 > 0, an upper "
            "bound, or features of similar size"
        )
    return Solution(weights, objective, max(gap, 0.0), point.steps)


def _constant_distance(constraints: Constraints) -> float:
    """The part of |w − reference|² that no variable changes: of constants, and within weights that are kept equal."""
    free = constraints.free
    held = constraints.fixed[~free] - constraints.reference[~free]
    apart = (constraints.expand @ constraints.centre - constraints.reference)[free]
    return float(held @ held + apart @ apart)


def _solved(model: Model, task: Task) -> Point:
    if task.pull.size == 0:
        rows = task.count * (task.margin > 0.0) if model.loss == "hinge" else task.count * sigmoid(task.margin)
        return Point(np.zeros(0), rows, np.zeros(0), 0)
    if model.loss == "hinge":
        return _hinge_solved(model, task)
    # Far from zero the loss is flat or straight, which misleads Newton's method; the reference may lie there.
    start = np.clip(np.zeros(task.pull.size), *model.bounds)
    if model.l2 > 0.0:
        return logistic_point(task, start, _TOLERANCE)
    judged = unjudged_directions(task.matrix).shape[1] == 0
    if judged:
        point = logistic_point(task, start, _TOLERANCE)
        if _is_finite_optimum(task, point):
            return point
    direction = recession_direction(task.matrix, task.sides)
    if direction is not None:
        along = model.constraints.expand @ (direction / model.scale)
        along[np.abs(along) <= _VISIBLE * np.abs(along).max()] = 0.0
        raise SeparableJudgements(along, model.constraints.names)
    return point if judged else _proximal(model, task, start)


def _is_finite_optimum(task: Task, point: Point) -> bool:
    """Whether the point itself shows that the loss does not fall for ever along any direction.

    Along such an x with |x| ≤ 1, Σ α (D x) = −ν·(G x) + rest·x ≤ Σ|rest|, so no row could rise by more than Σ|rest|/α.
    """
    rest = point.rows @ task.matrix + point.sides @ task.sides
    return bool(np.abs(rest).sum() <= _NO_RISE * point.rows.min(initial=np.inf))


def _hinge_solved(model: Model, task: Task) -> Point:
    if model.l2 > 0.0:
        point = by_working_set(task, lambda part, near: hinge_point(part, _TOLERANCE, near))
    else:
        point = nearest_optimum(model, task) or linear_point(task)
    if point is None:
        raise NotSolved("the linear programme of the hinge loss was not solved: give l2 > 0 or an upper bound")
    return point


def _proximal(model: Model, task: Task, start: FloatArray) -> Point:
    """The logistic minimiser where some directions are not judged: a gentle pull, whose centre follows (Martinet 1970).

    The first step keeps what is not judged at the reference; the later ones take the pull out of the rest.
    """
    centre, steps, held = start, 0, None
    for strength in _PROXIMAL:
        pull = np.full(task.pull.size, strength)
        gentle = replace(task, pull=pull, centre=centre)
        point = logistic_point(gentle, centre, _TOLERANCE, held, _NEARBY)
        steps, held = steps + point.steps, point.sides
        moved = float(np.abs(point.variables - centre).max())
        centre = point.variables
        if moved * strength <= _TOLERANCE:
            break
    return Point(centre, point.rows, point.sides, steps)
