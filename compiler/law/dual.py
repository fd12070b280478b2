"""Multipliers of population budgets: Newton's method on the dual, with intervals, LAW.md §2.

    min over μ of  φ(μ) = mean_x log Ẑ_x(μ) + μ·b,     ∇φ = b − E_μ f,     ∇²φ = mean_x Cov_{x,μ}(f)

subject to the sign that each sense fixes (at most: μ ≥ 0, at least: μ ≤ 0, exactly: free) and an optional elastic box
|μ_j| ≤ ρ_j. φ is convex and smooth. Sources: Bertsekas 1982 (projected Newton with an active set), Levenberg damping
for singular covariances, Shapiro's sample-average approximation for the sandwich H⁻¹SH⁻¹. Prompts are a fixed suite:
S holds the Monte-Carlo error within prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.feasibility import (
    Certificate,
    Sense,
    achievable_range,
    checked_budgets,
    conflict_among,
    hard_budgets,
    infeasibility,
)
from bylaw.compiler.law.numerics import NORMAL_95, BoolArray, FloatArray, LowEffectiveSampleSize, as_vector
from bylaw.compiler.law.samples import Moments, Population

__all__ = ["Certificate", "DualSolution", "Sense", "Status", "hard_budgets", "infeasibility", "solve_dual"]

Status: TypeAlias = Literal[
    "met",  # μ = 0: the budget holds for free (or is redundant given the others)
    "binding",  # the bound is attained with a multiplier strictly inside its limits
    "saturated",  # μ stands at its elastic box and the budget is still missed: the slack is paid for
    "infeasible on the sampled support",
    "hard rule",  # only a restriction of the support can meet it (b = 0): compile it as one
    "undetermined",  # it shares the file with budgets that have no law, so there is none to evaluate
]

DEFAULT_ESS_FLOOR = 100.0

_ITERATIONS = 500
_RETRIES = 60
_ARMIJO = 1e-4
_SAFE_PIVOT = 1e-11
_SINGULAR = 1e-10  # relative eigenvalue of the scaled covariance below which a direction has no information


@dataclass(frozen=True, eq=False)
class DualSolution:
    """What solving the J budgets yields. Where there is no law (infeasible or hard) μ, rates and prices are NaN.

    Attributes:
        mu: [J] nats per unit of feature, ≥ 0 for "at most", ≤ 0 for "at least".
        mu_interval: [J, 2] 95 %. Interior: the sandwich interval clipped to the sign and box. At an active limit: from
            the limit to where the multiplier would lie (upper end, one-sided) were it freed together with the interior
            ones; zero width when the slack exceeds its Monte-Carlo error. A direction without information is infinite.
        rate, rate_interval: [J], [J, 2] E_{p*} f and its 95 % Monte-Carlo interval.
        rate_bias: [J] first-order self-normalisation bias of ``rate``; compare with the interval's half-width.
        base_rate, base_rate_interval: the same under μ = 0 (hard and soft rules only).
        prompt_rate: [X, J] the per-prompt spread behind ``rate``.
        slack: [J] room left in the feature's unit: b − rate, rate − b, or −|rate − b| for "exactly".
        status: [J], see ``Status``.
        log_z: mean_x log Ẑ_x(μ) in nats. dual_value: φ(μ) in nats.
        budget_kl: nats that the budgets cost on top of hard and soft rules, mean_x KL(p*‖p at μ = 0).
        converged, iterations, gradient_norm: gradient_norm is the largest projected slope in scaled units.
        ess, ess_min, base_ess: pooled and worst-prompt effective sample size at μ, and pooled at μ = 0.
        certificate: why there is no law, None when there is one.
    """

    mu: FloatArray
    mu_interval: FloatArray
    rate: FloatArray
    rate_interval: FloatArray
    rate_bias: FloatArray
    base_rate: FloatArray
    base_rate_interval: FloatArray
    prompt_rate: FloatArray
    slack: FloatArray
    status: tuple[Status, ...]
    log_z: float
    dual_value: float
    budget_kl: float
    converged: bool
    iterations: int
    gradient_norm: float
    ess: float
    ess_min: float
    base_ess: float
    certificate: Certificate | None


@dataclass(frozen=True, eq=False)
class _Problem:
    """The dual in scaled units ν_j = μ_j s_j, so that one tolerance fits token counts and rates alike."""

    population: Population
    bounds: FloatArray
    scale: FloatArray
    limits: tuple[FloatArray, FloatArray]
    idle: BoolArray  # [J] constant within every prompt and on its bound: a slope there would be rounding

    def value(self, point: FloatArray) -> float:
        mu = point / self.scale
        log_z, _ = self.population.normalised(mu)
        return float(self.population.weights @ log_z + mu @ self.bounds)

    def slope(self, point: FloatArray) -> tuple[FloatArray, FloatArray, Moments]:
        moments = self.population.moments(point / self.scale)
        gradient = np.where(self.idle, 0.0, (self.bounds - moments.mean) / self.scale)
        return gradient, moments.covariance / np.outer(self.scale, self.scale), moments

    def multipliers(self, point: FloatArray) -> FloatArray:
        """μ = ν/s, landing exactly on a limit when ν does."""
        low, high = self.limits
        result: FloatArray = np.where(
            point <= self.lower, low, np.where(point >= self.upper, high, np.clip(point / self.scale, low, high))
        )
        return result

    @property
    def lower(self) -> FloatArray:
        return self.limits[0] * self.scale

    @property
    def upper(self) -> FloatArray:
        return self.limits[1] * self.scale

    def project(self, point: FloatArray) -> FloatArray:
        return np.clip(point, self.lower, self.upper)

    def held(self, point: FloatArray, gradient: FloatArray) -> BoolArray:
        """[J] bool: at a limit with the slope pressing against it."""
        result: BoolArray = ((point <= self.lower) & (gradient >= 0.0)) | ((point >= self.upper) & (gradient <= 0.0))
        return result


def solve_dual(
    population: Population,
    bounds: npt.ArrayLike,
    senses: Sequence[Sense],
    box: npt.ArrayLike | None = None,
    tolerance: float = 1e-9,
    ess_floor: float = DEFAULT_ESS_FLOOR,
) -> DualSolution:
    """Solve for one multiplier per budget over the whole population.

    Args:
        population: X prompts with J features.
        bounds: [J] b in the features' units.
        senses: J of "at most", "at least", "exactly".
        box: [J] ρ_j ≥ 0, the elastic price per unit of slack (inf: not elastic); None means no box.
        tolerance: on the projected gradient, relative to the largest |f_j − b_j| of each feature.
        ess_floor: refuse when the pooled effective sample size under the solved law, less what the normalisation of
            each prompt uses up (``Moments.freedom``), is below this.

    Raises:
        ValueError: shapes, senses or box do not fit.
        LowEffectiveSampleSize: the solved law rests on too few samples to be stated.
    """
    vector, kinds = checked_budgets(population, bounds, senses)
    limits = np.full(vector.size, np.inf) if box is None else as_vector(box, "box")
    if limits.shape != vector.shape or (limits < 0).any():
        raise ValueError(f"box must be {vector.size} nonnegative numbers")
    base = population.moments(np.zeros(vector.size))
    rigid = tuple(int(index) for index in np.flatnonzero(np.isinf(limits)))
    certificate = conflict_among(population, vector, kinds, rigid)
    if certificate is not None:
        return _no_law(vector, base, certificate, certificate.conflict, "infeasible on the sampled support")
    hard = hard_budgets(population, vector, kinds, rigid)
    if hard:
        empty = Certificate(np.zeros(vector.size), 0.0, (), population.size)
        return _no_law(vector, base, empty, hard, "hard rule")
    problem = _scaled(population, vector, kinds, limits)
    point, iterations = _minimise(problem, tolerance)
    return _solution(problem, kinds, base, point, iterations, tolerance, ess_floor)


def _scaled(population: Population, bounds: FloatArray, senses: Sequence[Sense], limits: FloatArray) -> _Problem:
    largest = np.abs(population.features - bounds).max(axis=0, initial=0.0)
    scale = np.where(largest > 0.0, largest, 1.0)
    low, high = achievable_range(population)
    idle = np.maximum(np.abs(low - bounds), np.abs(high - bounds)) <= 1e-12 * np.maximum(scale, np.abs(bounds))
    lower = np.array([0.0 if sense == "at most" else -limit for sense, limit in zip(senses, limits, strict=True)])
    upper = np.array([0.0 if sense == "at least" else limit for sense, limit in zip(senses, limits, strict=True)])
    return _Problem(population, bounds, scale, (lower, upper), idle)


def _minimise(problem: _Problem, tolerance: float) -> tuple[FloatArray, int]:
    """Projected Newton in scaled units from ν = 0: (ν [J], iterations).

    Where the law rests on few samples φ is nearly piecewise linear and pure Newton steps overshoot. The Levenberg term
    then works as a trust region: raised until Armijo's condition holds, lowered while the quadratic model is good.
    """
    point = problem.project(np.zeros(problem.bounds.size))
    value, damping = problem.value(point), 0.0
    for iteration in range(_ITERATIONS):
        gradient, hessian, _ = problem.slope(point)
        if _stationarity(problem, point, gradient) <= tolerance:
            return point, iteration
        free = ~(problem.held(point, gradient) | problem.idle)
        curvature = hessian[np.ix_(free, free)]
        smallest = max(1e-8 * float(np.diag(curvature).max(initial=0.0)), 1e-14)
        for _ in range(_RETRIES):
            trial = point.copy()
            trial[free] += _newton_step(curvature + damping * np.eye(len(curvature)), gradient[free])
            trial = problem.project(trial)
            reached = _acceptable(problem, point, value, gradient, trial)
            if reached is not None:
                break
            damping = max(10.0 * damping, smallest)
        else:
            return point, iteration
        move = trial - point
        promised = -float(gradient @ move + 0.5 * move @ hessian @ move)
        gain = (value - reached) / promised if promised > 1e-12 * max(1.0, abs(value)) else 1.0
        if gain > 0.7:
            damping = 0.1 * damping if damping > smallest else 0.0
        elif gain < 0.25:
            damping = max(4.0 * damping, smallest)
        point, value = trial, reached
    return point, _ITERATIONS


def _acceptable(
    problem: _Problem, point: FloatArray, value: float, gradient: FloatArray, trial: FloatArray
) -> float | None:
    """φ(trial) if it satisfies Armijo's condition along the projected step, None otherwise."""
    predicted = float(gradient @ (trial - point))
    if predicted >= 0.0:
        return None
    noise = 8.0 * np.finfo(np.float64).eps * max(1.0, abs(value))
    reached = problem.value(trial)
    if reached <= value + _ARMIJO * predicted and value - reached > noise:
        return reached
    # Near the optimum the decrease drowns in rounding; then the slope itself must shrink.
    if abs(reached - value) <= noise:
        before = _stationarity(problem, point, gradient)
        after = _stationarity(problem, trial, problem.slope(trial)[0])
        return reached if after < before else None
    return None


def _stationarity(problem: _Problem, point: FloatArray, gradient: FloatArray) -> float:
    """‖ν − P(ν − ∇)‖∞: zero exactly at the solution."""
    return float(np.abs(point - problem.project(point - gradient)).max(initial=0.0))


def _newton_step(hessian: FloatArray, gradient: FloatArray) -> FloatArray:
    """−(H + εD)⁻¹ g, D = diag H, with the smallest ε that makes the correlation matrix safely positive definite."""
    # A feature without spread has no curvature: the floor gives it a long step, which the box or its sign cuts short.
    deviation = np.sqrt(np.maximum(np.diag(hessian), 1e-14))
    correlation = hessian / np.outer(deviation, deviation)
    extra = 0.0
    while extra < 1e6:
        try:
            factor = np.linalg.cholesky(correlation + extra * np.eye(gradient.size))
            if np.square(np.diag(factor)).min(initial=1.0) > _SAFE_PIVOT:
                half = np.linalg.solve(factor, -gradient / deviation)
                result: FloatArray = np.linalg.solve(factor.T, half) / deviation
                return result
        except np.linalg.LinAlgError:
            pass
        extra = max(10.0 * extra, 10.0 * _SAFE_PIVOT)
    return -gradient


def _solution(
    problem: _Problem,
    senses: Sequence[Sense],
    base: Moments,
    point: FloatArray,
    iterations: int,
    tolerance: float,
    ess_floor: float,
) -> DualSolution:
    gradient, _, moments = problem.slope(point)
    if moments.freedom < ess_floor:
        raise LowEffectiveSampleSize(moments.freedom, ess_floor)
    population, mu = problem.population, problem.multipliers(point)
    gradient_norm = _stationarity(problem, point, gradient)
    slack = np.array(
        [
            {"at most": b - rate, "at least": rate - b, "exactly": -abs(rate - b)}[sense]
            for sense, rate, b in zip(senses, moments.mean, problem.bounds, strict=True)
        ]
    )
    log_z = float(population.weights @ moments.log_z)
    return DualSolution(
        mu=mu,
        mu_interval=_multiplier_intervals(problem, point, gradient, moments),
        rate=moments.mean,
        rate_interval=_interval(moments.mean, moments.mean_variance),
        rate_bias=moments.bias,
        base_rate=base.mean,
        base_rate_interval=_interval(base.mean, base.mean_variance),
        prompt_rate=moments.prompt_mean,
        slack=slack,
        status=_statuses(problem, point, slack, tolerance),
        log_z=log_z,
        dual_value=log_z + float(mu @ problem.bounds),
        budget_kl=float(population.weights @ (base.log_z - moments.log_z - moments.prompt_mean @ mu)),
        converged=gradient_norm <= tolerance,
        iterations=iterations,
        gradient_norm=gradient_norm,
        ess=moments.ess,
        ess_min=float(moments.prompt_ess.min()),
        base_ess=base.ess,
        certificate=None,
    )


def _interval(mean: FloatArray, variance: FloatArray) -> FloatArray:
    half_width = NORMAL_95 * np.sqrt(np.diag(variance))
    return np.stack([mean - half_width, mean + half_width], axis=1)


def _statuses(problem: _Problem, point: FloatArray, slack: FloatArray, tolerance: float) -> tuple[Status, ...]:
    missed = slack < -tolerance * problem.scale
    found: list[Status] = []
    for index, value in enumerate(point):
        if missed[index] and value in (problem.lower[index], problem.upper[index]):
            found.append("saturated")
        else:
            found.append("met" if value == 0.0 else "binding")
    return tuple(found)


def _multiplier_intervals(problem: _Problem, point: FloatArray, gradient: FloatArray, moments: Moments) -> FloatArray:
    """[J, 2] 95 % intervals for μ as documented at ``DualSolution.mu_interval``."""
    scaled = np.outer(problem.scale, problem.scale)
    hessian, middle = moments.covariance / scaled, moments.mean_variance / scaled
    interior = np.flatnonzero((point > problem.lower) & (point < problem.upper))
    result = np.stack([point, point], axis=1)
    errors = _sandwich_errors(hessian, middle, interior)
    result[interior, 0] -= NORMAL_95 * errors
    result[interior, 1] += NORMAL_95 * errors
    for index in np.setdiff1d(np.arange(point.size), interior):
        together = np.append(interior, index)
        block = hessian[np.ix_(together, together)]
        if block[-1, -1] <= _SINGULAR:  # a constant feature: its budget holds or fails for certain
            continue
        shift = float((np.linalg.pinv(block, rcond=_SINGULAR, hermitian=True) @ -gradient[together])[-1])
        error = NORMAL_95 * float(_sandwich_errors(hessian, middle, together)[-1])
        result[index] = min(point[index], point[index] + shift - error), max(point[index], point[index] + shift + error)
    low, high = problem.limits
    return np.clip(result / problem.scale[:, None], low[:, None], high[:, None])


def _sandwich_errors(hessian: FloatArray, middle: FloatArray, members: npt.NDArray[np.intp]) -> FloatArray:
    """[K] standard errors √diag(H⁻¹SH⁻¹) of the K members; inf for those in a direction that H does not see."""
    if members.size == 0:
        return np.zeros(0)
    block = hessian[np.ix_(members, members)]
    values, vectors = np.linalg.eigh(block)
    seen = values > _SINGULAR * max(float(values[-1]), np.finfo(np.float64).tiny)
    inverse = (vectors[:, seen] / values[seen]) @ vectors[:, seen].T
    errors = np.sqrt(np.maximum(np.diag(inverse @ middle[np.ix_(members, members)] @ inverse), 0.0))
    blind = np.square(vectors[:, ~seen]).sum(axis=1) > 1e-8
    errors[blind] = np.inf
    return errors


def _no_law(
    bounds: FloatArray, base: Moments, certificate: Certificate, members: tuple[int, ...], status: Status
) -> DualSolution:
    """The answer when no finite multipliers exist: base rates, statuses and the certificate; the rest is NaN."""
    nothing = np.full(bounds.size, np.nan)
    statuses: list[Status] = [status if index in members else "undetermined" for index in range(bounds.size)]
    return DualSolution(
        mu=nothing,
        mu_interval=np.full((bounds.size, 2), np.nan),
        rate=nothing,
        rate_interval=np.full((bounds.size, 2), np.nan),
        rate_bias=nothing,
        base_rate=base.mean,
        base_rate_interval=_interval(base.mean, base.mean_variance),
        prompt_rate=np.full(base.prompt_mean.shape, np.nan),
        slack=nothing,
        status=tuple(statuses),
        log_z=float("nan"),
        dual_value=float("nan"),
        budget_kl=float("nan"),
        converged=False,
        iterations=0,
        gradient_norm=float("nan"),
        ess=float("nan"),
        ess_min=float("nan"),
        base_ess=base.ess,
        certificate=certificate,
    )
