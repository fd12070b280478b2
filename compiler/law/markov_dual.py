"""Multipliers of budgets on a Markov model, exactly: Newton's method with means and covariances by recursion.

    min over μ of  φ(μ) = log Z(μ) + μ·b,     ∇φ = b − E_μ f,     ∇²φ = Cov_μ(f)

under the signs of the senses. Feasibility is decided first and without enumerating: in Kelley's cutting planes for
v* = max_d min_y d·(f(y) − b) the inner minimum is a shortest path (Viterbi 1967) over the same joint states.
Sources: LAW.md §2; Bertsekas 1982 (projected Newton with an active set); Kelley 1960.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.feasibility import Sense, solve_matrix_game
from bylaw.compiler.law.markov import MarkovLaw, RegulatedChain
from bylaw.compiler.law.numerics import FloatArray, as_vector

_ITERATIONS = 200
_HALVINGS = 60
_ARMIJO = 1e-4
_CUTS = 1000
_RELATIVE = 1e-9


class NoMarkovLaw(ValueError):
    """No finite multipliers meet the budgets.

    Attributes:
        direction: [J] d*, the combination of budgets that shows it: positive presses an "at most" side.
        value: v* in the features' units: above 0, no law meets them; 0, only a hard rule would.
    """

    def __init__(self, message: str, direction: FloatArray, value: float) -> None:
        super().__init__(message)
        self.direction, self.value = direction, value


@dataclass(frozen=True, eq=False)
class MarkovSolution:
    """The solved law of J budgets on a Markov model.

    Attributes:
        law: the law at ``mu`` [J], nats per unit of feature.
        rate: [J] E_{p*} f. base_rate: [J] the same at μ = 0, hard and soft rules only.
        slack: [J] room left in the feature's unit.
        dual_value: φ(μ) in nats. budget_kl: nats that the budgets cost on top of hard and soft rules.
        iterations: Newton steps taken. gradient_norm: the largest projected slope, relative to the features' spread.
    """

    law: MarkovLaw
    rate: FloatArray
    base_rate: FloatArray
    slack: FloatArray
    dual_value: float
    budget_kl: float
    iterations: int
    gradient_norm: float

    @property
    def mu(self) -> FloatArray:
        """[J] the multipliers, in nats per unit of feature."""
        return self.law.mu


def solve_markov_dual(
    space: RegulatedChain, bounds: npt.ArrayLike, senses: Sequence[Sense], tolerance: float = 1e-11
) -> MarkovSolution:
    """One multiplier per budget of a Markov model's law, without sampling and without enumerating.

    Args:
        space: the base model with its automaton; J features.
        bounds: [J] b in the features' units.
        senses: J of "at most", "at least", "exactly".
        tolerance: on the projected slope, relative to the standard deviation of each feature under μ = 0.

    Raises:
        ValueError: bounds or senses do not fit the features.
        NoMarkovLaw: the budgets cannot all hold, or only by forbidding responses, with the certificate.
        RuntimeError: Newton's method did not converge (budgets very near the edge of what is possible).
    """
    vector, kinds = _checked(space, bounds, senses)
    free = space.law()
    base_mean, covariance = free.moments()
    _require_interior(space, vector, kinds)
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    # A constant feature has no multiplier to find: a slope there would be rounding.
    scale = np.where(scale > 1e-12 * (1.0 + np.abs(base_mean)), scale, np.inf)
    lower = np.array([0.0 if kind == "at most" else -np.inf for kind in kinds])
    upper = np.array([0.0 if kind == "at least" else np.inf for kind in kinds])
    law, mean, iterations, norm = _newton(space, vector, (lower, upper), scale, tolerance)
    if norm > max(1e3 * tolerance, 1e-8):
        raise RuntimeError(f"Newton's method stopped at a relative slope of {norm:.2g} after {iterations} steps")
    dual = law.log_z + float(law.mu @ vector)
    room = {"at most": vector - mean, "at least": mean - vector, "exactly": -np.abs(mean - vector)}
    return MarkovSolution(
        law=law,
        rate=mean,
        base_rate=base_mean,
        slack=np.array([room[kind][index] for index, kind in enumerate(kinds)]),
        dual_value=dual,
        budget_kl=free.log_z - law.log_z - float(law.mu @ mean),
        iterations=iterations,
        gradient_norm=norm,
    )


def extreme(space: RegulatedChain, direction: npt.ArrayLike) -> tuple[float, FloatArray]:
    """(min_y d·f(y), f [J] of a response that attains it) over the allowed responses that p0 can produce.

    Args:
        direction: [J] d.

    Raises:
        ValueError: the direction is not J finite numbers.
    """
    weights = as_vector(direction, "direction")
    if weights.shape != (space.automaton.budgets,) or not np.isfinite(weights).all():
        raise ValueError(f"direction must be {space.automaton.budgets} finite numbers")
    graph, longest = space.graph, space.chain.max_tokens
    cost = graph.features @ weights
    possible = (graph.log_p > -np.inf) & (graph.reward > -np.inf)
    step = np.where(possible, cost, np.inf)
    ends = np.where(graph.reward[:, -1] > -np.inf, cost[:, -1], np.inf)  # at the cap the end has no factor
    best = np.empty((longest + 1, graph.size))
    best[0] = ends
    for left in range(1, longest + 1):
        best[left] = np.minimum((step[:, :-1] + best[left - 1][graph.target]).min(axis=1, initial=np.inf), step[:, -1])
    node, total = 0, np.zeros(weights.size)
    for left in range(longest, 0, -1):
        ahead = np.append(step[node, :-1] + best[left - 1][graph.target[node]], step[node, -1])
        token = int(np.argmin(ahead))
        if token == graph.target.shape[1]:
            break
        total += graph.features[node, token]
        node = int(graph.target[node, token])
    total += graph.features[node, -1]
    return float(best[longest, 0]), total


def _checked(
    space: RegulatedChain, bounds: npt.ArrayLike, senses: Sequence[Sense]
) -> tuple[FloatArray, tuple[Sense, ...]]:
    vector, kinds = as_vector(bounds, "bounds"), tuple(senses)
    budgets = space.automaton.budgets
    if vector.shape != (budgets,) or len(kinds) != budgets or not np.isfinite(vector).all():
        raise ValueError(f"{budgets} features need as many finite bounds and senses, got {vector.size}, {len(kinds)}")
    unknown = sorted(set(kinds) - set(get_args(Sense)))
    if unknown:
        raise ValueError(f"unknown sense(s) {unknown}, expected one of {list(get_args(Sense))}")
    return vector, kinds


def _require_interior(space: RegulatedChain, bounds: FloatArray, senses: tuple[Sense, ...]) -> None:
    """Raises NoMarkovLaw unless some law with full support meets every budget."""
    unit = np.eye(bounds.size)
    low = np.array([extreme(space, row)[0] for row in unit])
    high = np.array([-extreme(space, -row)[0] for row in unit])
    size = np.maximum(np.abs(low - bounds), np.abs(high - bounds))
    sides: list[tuple[int, float]] = []
    for index, sense in enumerate(senses):
        tolerance = _RELATIVE * max(size[index], abs(bounds[index]), 1e-300)
        constant = high[index] - low[index] <= tolerance
        needed = {"at most": (1.0,), "at least": (-1.0,), "exactly": (1.0, -1.0)}[sense]
        for sign in needed:
            # The least that the feature can be above the bound, over all responses.
            least = sign * ((low if sign > 0 else high)[index] - bounds[index])
            if least > tolerance:
                _refuse(sign * unit[index], least)
            if least >= -tolerance and not constant:
                _refuse(sign * unit[index], 0.0)
            if not constant:
                sides.append((index, sign))
    if len({index for index, _ in sides}) > 1:
        _require_joint(space, bounds, sides, float(size.max()), any(sense == "exactly" for sense in senses))


def _require_joint(
    space: RegulatedChain, bounds: FloatArray, sides: list[tuple[int, float]], size: float, equalities: bool
) -> None:
    """Cutting planes on v* = max over weights of the sides of min_y; stops as soon as its sign is certain."""
    signed = np.zeros((len(sides), bounds.size))
    for row, (index, sign) in enumerate(sides):
        signed[row, index] = sign
    tolerance = _RELATIVE * size
    points = [np.full(len(sides), 1.0 / len(sides)), *np.eye(len(sides))]
    cuts: list[FloatArray] = []
    best, value = points[0], -np.inf
    while len(cuts) < _CUTS:
        for point in points:
            _, features = extreme(space, point @ signed)
            cut = signed @ (features - bounds)
            cuts.append(cut)
            if cut @ point > value:
                best, value = point, float(cut @ point)
        point, upper = solve_matrix_game(np.array(cuts))
        if value > tolerance:
            _refuse(best @ signed, value)
        if upper < -tolerance or (equalities and upper <= tolerance):
            return  # opposite sides of one equality cancel, so v* is never below 0 where there is one
        if upper - value <= 0.1 * tolerance:
            # v* = 0: a face, unless the features are the same thing said twice and d·(f − b) is 0 everywhere.
            if -extreme(space, -(best @ signed))[0] - float(best @ signed @ bounds) > tolerance:
                _refuse(best @ signed, 0.0)
            return
        points = [point]
    raise RuntimeError(f"cutting planes did not close within {_CUTS} cuts")


def _refuse(direction: FloatArray, value: float) -> None:
    places = ", ".join(str(index) for index in np.flatnonzero(np.abs(direction) > _RELATIVE))
    if value > 0.0:
        message = f"no law meets budget(s) {places}: they are missed by at least {value:.6g}"
    else:
        message = f"only a hard rule can meet budget(s) {places}: write them as `must`, or leave room"
    raise NoMarkovLaw(message, direction, value)


def _newton(
    space: RegulatedChain,
    bounds: FloatArray,
    limits: tuple[FloatArray, FloatArray],
    scale: FloatArray,
    tolerance: float,
) -> tuple[MarkovLaw, FloatArray, int, float]:
    """Projected Newton in units of ``scale`` (inf: leave out): (law, its mean, steps, relative slope)."""
    lower, upper = limits
    idle = np.isinf(scale)
    law = space.law()
    mean, covariance = law.moments()
    value = law.log_z
    for iteration in range(_ITERATIONS):
        gradient = np.where(idle, 0.0, bounds - mean)
        held = idle | ((law.mu <= lower) & (gradient >= 0.0)) | ((law.mu >= upper) & (gradient <= 0.0))
        norm = float(np.abs(np.where(held, 0.0, gradient) / scale).max(initial=0.0))
        if norm <= tolerance:
            return law, mean, iteration, norm
        free = ~held
        full, plain = np.zeros_like(bounds), np.zeros_like(bounds)
        full[free] = _solve(covariance[np.ix_(free, free)], -gradient[free])
        # Cut off at the signs, Newton's direction may point uphill; along the diagonal it never does.
        plain[free] = -gradient[free] / np.maximum(np.diag(covariance)[free], 1e-300)
        reached, trial = _descend(law, value, bounds, gradient, limits, (full, plain))
        if trial is None:
            return law, mean, iteration, norm
        new_mean, new_covariance = trial.moments()
        # Where the decrease of φ drowns in rounding, only a smaller slope is progress.
        if value - reached <= 1e-14 * max(1.0, abs(value)):
            slope = np.where(idle, 0.0, bounds - new_mean)
            pressed = ((trial.mu <= lower) & (slope >= 0.0)) | ((trial.mu >= upper) & (slope <= 0.0))
            if np.abs(np.where(pressed, 0.0, slope) / scale).max(initial=0.0) >= norm:
                return law, mean, iteration, norm
        law, mean, covariance, value = trial, new_mean, new_covariance, reached
    return law, mean, _ITERATIONS, norm


def _descend(
    law: MarkovLaw,
    value: float,
    bounds: FloatArray,
    gradient: FloatArray,
    limits: tuple[FloatArray, FloatArray],
    steps: tuple[FloatArray, ...],
) -> tuple[float, MarkovLaw | None]:
    """(φ, the law) at the first point along one of the projected ``steps`` that meets Armijo's condition, or None."""
    for step in steps:
        length = 1.0
        for _ in range(_HALVINGS):
            mu = np.clip(law.mu + length * step, *limits)
            promised = float(gradient @ (mu - law.mu))
            if promised < 0.0:
                trial = law.space.law(mu)
                reached = trial.log_z + float(mu @ bounds)
                if reached <= value + _ARMIJO * promised:
                    return reached, trial
            length *= 0.5
    return value, None


def _solve(covariance: FloatArray, right: FloatArray) -> FloatArray:
    """The Newton step, of least length where copied features leave it open; no longer than 50 nats a deviation."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(deviation, deviation)
    step = np.linalg.lstsq(correlation, right / deviation, rcond=1e-11)[0]
    longest = float(np.abs(step).max(initial=0.0))
    result: FloatArray = step * min(1.0, 50.0 / max(longest, 1e-300)) / deviation
    return result
