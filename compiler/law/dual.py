"""Multipliers of budgets, over the population or of each prompt, with intervals and verdicts, LAW.md §2.

    min over μ of  φ(μ) = mean_x log Ẑ_x(μ) + μ·b,     ∇φ = b − E_μ f,     ∇²φ = mean_x Cov_{x,μ}(f)

subject to the sign that each sense fixes (at most: μ ≥ 0, at least: μ ≤ 0, exactly: free) and an optional elastic box
|μ_j| ≤ ρ_j. φ is convex and smooth. The search comes first: where it ends with a curvature that sees every direction,
that proves that the budgets can hold; elsewhere linear programmes decide. Prompts are a fixed suite: intervals hold the
Monte-Carlo error within prompts only. Sources: see ``dual_newton``, ``dual_intervals`` and ``feasibility``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.dual_intervals import own_intervals, shared_intervals
from bylaw.compiler.law.dual_newton import Solved, minimise, quasi_newton
from bylaw.compiler.law.dual_problem import Dense, Problem, State
from bylaw.compiler.law.feasibility import (
    Certificate,
    Sense,
    checked_budgets,
    conflict_among,
    hard_budgets,
    infeasibility,
)
from bylaw.compiler.law.numerics import NORMAL_95, BoolArray, FloatArray, LowEffectiveSampleSize, as_vector
from bylaw.compiler.law.samples import Moments, Population, row_moments

__all__ = ["Certificate", "DualSolution", "Sense", "Status", "hard_budgets", "infeasibility", "solve_dual"]

Method: TypeAlias = Literal["auto", "newton", "lbfgs"]
Status: TypeAlias = Literal[
    "met",  # μ = 0: the budget holds for free (or is redundant given the others)
    "binding",  # the bound is attained with a multiplier strictly inside its limits
    "saturated",  # μ stands at its elastic box and the budget is still missed: the slack is paid for
    "infeasible on the sampled support",
    "hard rule",  # only a restriction of the support can meet it (b = 0): compile it as one
    "undetermined",  # it shares the file with budgets that have no law, so there is none to evaluate
]

DEFAULT_ESS_FLOOR = 100.0

MOST_FOR_NEWTON = 64  # shared multipliers; beyond, L-BFGS-B
_NEAR_ZERO = 4.0  # features up to so many scales from zero lose no digits by being left as they are
_FLAT = 1e-7  # scaled variance below which a direction is left to the linear programmes


@dataclass(frozen=True, eq=False)
class DualSolution:
    """What solving the J budgets yields. Where there is no law (infeasible or hard) μ, rates and prices are NaN.

    Attributes:
        mu: [J] nats per unit of feature, ≥ 0 for "at most", ≤ 0 for "at least".
        mu_interval: [J, 2] 95 %. Interior: the sandwich interval clipped to the sign and box. At an active limit: from
            the limit to where the multiplier would lie (upper end, one-sided) were it freed together with the interior
            ones; zero width when the slack exceeds its Monte-Carlo error. A direction without information is infinite.
            For what never fired: up to the multiplier that a rate of ``never_fired_ceiling`` would need, infinite where
            the samples are weighted (of another proposal).
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
        prompt_mu, prompt_mu_interval: [X, J], [X, J, 2] what acts on each prompt: its own μ_x for a budget of each
            prompt, the shared μ otherwise. For a budget of each prompt ``mu`` is the π-weighted mean of μ_x (the price
            of moving its bound in all prompts at once), ``slack`` the least over prompts, and ``status`` the gravest.
        each_prompt: [J] which budgets hold for every prompt.
        never_fired: [J] the feature is 0 on every sample of positive weight: vacuous on the sample.
        never_fired_ceiling: [J] for these the 95 % upper bound 3/N_eff on their rate under the law that the samples
            were drawn from (rule of three, for features within [0, 1]), NaN for the others.
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
    prompt_mu: FloatArray
    prompt_mu_interval: FloatArray
    each_prompt: tuple[bool, ...]
    never_fired: tuple[bool, ...]
    never_fired_ceiling: FloatArray


def solve_dual(
    population: Population,
    bounds: npt.ArrayLike,
    senses: Sequence[Sense],
    box: npt.ArrayLike | None = None,
    tolerance: float = 1e-9,
    ess_floor: float = DEFAULT_ESS_FLOOR,
    each_prompt: Sequence[bool] | None = None,
    is_rate: Sequence[bool] | None = None,
    method: Method = "auto",
) -> DualSolution:
    """Solve for the multipliers of J budgets.

    Args:
        population: X prompts with J features.
        bounds: [J] b in the features' units.
        senses: J of "at most", "at least", "exactly".
        box: [J] ρ_j ≥ 0, the elastic price per unit of slack (inf: not elastic); None means no box.
        tolerance: on the projected gradient, relative to the largest |f_j − b_j| of each feature.
        ess_floor: refuse when the pooled effective sample size under the solved law, less what the normalisation of
            each prompt uses up (``Moments.freedom``), is below this; with budgets of each prompt, the worst prompt's.
        each_prompt: [J] True where a budget holds for every prompt by its own multiplier μ_x, instead of on average
            over the population by one multiplier; None means never.
        is_rate: [J] True where the feature is a share: bounds outside [0, 1] are then refused.
        method: "newton", "lbfgs" (L-BFGS-B), or "auto": Newton up to 64 shared multipliers.

    Raises:
        ValueError: shapes, senses, box, method or a rate's bound do not fit, or a prompt of weight 0 has own budgets.
        LowEffectiveSampleSize: the solved law rests on too few samples to be stated.
    """
    vector, kinds = checked_budgets(population, bounds, senses, is_rate)
    limits = np.full(vector.size, np.inf) if box is None else as_vector(box, "box")
    if limits.shape != vector.shape or (limits < 0).any():
        raise ValueError(f"box must be {vector.size} nonnegative numbers")
    each = _checked_each(population, each_prompt, vector.size)
    if method not in get_args(Method):
        raise ValueError(f"unknown method {method!r}, expected one of {list(get_args(Method))}")
    problem = _scaled(population, vector, kinds, limits, each)
    start = np.zeros(problem.idle.size)
    quasi = method == "lbfgs" or (method == "auto" and problem.shared.size > MOST_FOR_NEWTON)
    search = quasi_newton if quasi else minimise
    solved = search(problem, start, tolerance, _lowest_value(problem, limits))
    rigid = np.isinf(limits)
    # A curvature that sees every direction proves that a law of full support meets the budgets; else ask the LP.
    proven = _proven(solved, (problem.flat(rigid) > 0.0) & problem.varies)
    if solved.state.stationarity > tolerance or not proven:
        members = tuple(int(index) for index in np.flatnonzero(rigid))
        certificate = conflict_among(population, vector, kinds, members, each)
        if certificate is not None:
            return _no_law(
                vector, population, certificate, certificate.conflict, "infeasible on the sampled support", problem
            )
        hard = hard_budgets(population, vector, kinds, members, each)
        if hard:
            empty = Certificate(np.zeros(vector.size), 0.0, (), population.size)
            return _no_law(vector, population, empty, hard, "hard rule", problem)
    return _solution(population, kinds, solved, tolerance, ess_floor)


def _proven(solved: Solved, members: BoolArray) -> bool:
    """Whether the curvature certainly sees every direction over ``members`` [U]; the slope there is its error."""
    state, error = solved.state, 8.0 * solved.state.problem.scale.size
    if solved.curvature.exceeds(max(_FLAT, error * solved.curvature_slope), members):
        return True
    least = max(_FLAT, error * state.stationarity)
    return state.stationarity < solved.curvature_slope and state.curvature().exceeds(least, members)


def _checked_each(population: Population, each_prompt: Sequence[bool] | None, budgets: int) -> BoolArray:
    each = np.zeros(budgets, dtype=np.bool_) if each_prompt is None else np.array(each_prompt, dtype=np.bool_)
    if each.shape != (budgets,):
        raise ValueError(f"each_prompt must be {budgets} booleans")
    unweighted = np.flatnonzero(population.weights <= 0.0)
    if each.any() and unweighted.size:
        raise ValueError(
            f"prompt(s) {unweighted.tolist()} have weight 0: a budget of each prompt needs positive weights; "
            "leave these prompts out or give them weight"
        )
    return each


def _scaled(
    population: Population, bounds: FloatArray, senses: Sequence[Sense], limits: FloatArray, each: BoolArray
) -> Problem:
    rows, share = population.rows, population.weights
    low, high = rows.extremes
    reach = np.maximum(np.abs(low - bounds[:, None]), np.abs(high - bounds[:, None]))
    scale = np.where(reach.any(axis=1), reach.max(axis=1), 1.0)
    smallest = 1e-12 * np.maximum(scale, np.abs(bounds))
    farthest = np.maximum(np.abs(low @ share - bounds), np.abs(high @ share - bounds))
    idle = np.concatenate([(farthest <= smallest)[~each], (smallest[each] >= reach[each].T).ravel()])
    spread = high - low > smallest[:, None]
    varies = np.concatenate([spread[~each].any(axis=1), spread[each].T.ravel()])
    lower = np.array([0.0 if sense == "at most" else -limit for sense, limit in zip(senses, limits, strict=True)])
    upper = np.array([0.0 if sense == "at least" else limit for sense, limit in zip(senses, limits, strict=True)])
    plain = not each.any() and bool((np.maximum(np.abs(low), np.abs(high)).max(axis=1) <= _NEAR_ZERO * scale).all())
    zero, one = np.zeros(bounds.size), np.ones(bounds.size)
    kept, offset, unit = (rows, bounds, scale) if plain else (rows.standardised(bounds, scale), zero, one)
    return Problem(kept, share, bounds, scale, (lower, upper), each, idle, varies, offset, unit)


def _lowest_value(problem: Problem, limits: FloatArray) -> float:
    """φ cannot fall below this (nats) if the rigid budgets can hold: φ(μ) ≥ −KL(q‖p₀) − Σ ρ_j s_j for such a law q."""
    rows = problem.rows
    lightest = np.minimum.reduceat(rows.log_weight, rows.starts) - rows.log_sizes
    elastic = np.isfinite(limits)
    return float(problem.share @ lightest - limits[elastic] @ problem.scale[elastic]) - 1.0


def _solution(
    population: Population,
    senses: Sequence[Sense],
    solved: Solved,
    tolerance: float,
    ess_floor: float,
) -> DualSolution:
    base, state, curvature, problem = population.base, solved.state, solved.curvature, solved.state.problem
    known = curvature.matrix * np.outer(problem.scale, problem.scale) if isinstance(curvature, Dense) else None
    moments = _moments(population, state, known)
    _refuse_few_samples(moments, ess_floor, bool(problem.own.size))
    mu = problem.multipliers(state.point)
    mean_mu = population.weights @ mu if problem.own.size else mu[0]
    own_interval, interval = _multiplier_intervals(population, senses, solved, moments)
    rate = np.where(problem.each, moments.prompt_mean, moments.mean)
    room = rate - problem.bounds
    for index, sense in enumerate(senses):
        room[:, index] = _room(sense, room[:, index])
    log_z = population.weights @ moments.log_z
    never = population.rows.never
    return DualSolution(
        mu=mean_mu,
        mu_interval=_around(interval, mean_mu),
        rate=moments.mean,
        rate_interval=_interval(moments.mean, moments.mean_variance),
        rate_bias=moments.bias,
        base_rate=base.mean,
        base_rate_interval=_interval(base.mean, base.mean_variance),
        prompt_rate=moments.prompt_mean,
        slack=room.min(axis=0),
        status=_statuses(problem, state.point, room, tolerance),
        log_z=float(log_z),
        dual_value=float(log_z + population.weights @ (mu @ problem.bounds)),
        budget_kl=float(
            population.weights @ (base.log_z - moments.log_z - np.einsum("xj,xj->x", moments.prompt_mean, mu))
        ),
        converged=state.stationarity <= tolerance,
        iterations=solved.iterations,
        gradient_norm=state.stationarity,
        ess=moments.ess,
        ess_min=float(moments.prompt_ess.min()),
        base_ess=base.ess,
        certificate=None,
        prompt_mu=mu,
        prompt_mu_interval=_around(own_interval, mu),
        each_prompt=tuple(bool(flag) for flag in problem.each),
        never_fired=tuple(bool(flag) for flag in never),
        never_fired_ceiling=_ceiling(never, base.ess),
    )


def _moments(population: Population, state: State, covariance: FloatArray | None) -> Moments:
    rows, problem = population.rows, state.problem
    if problem.rows is not rows:
        return row_moments(rows, population.weights, state.tilt + _offset(problem, state.point), covariance)
    law = state.log_z, state.weight, state.means
    return row_moments(rows, population.weights, None if rows.single else state.tilt, covariance, law)


def _offset(problem: Problem, point: FloatArray) -> FloatArray:
    """[G] or [1] μ·b, by which the exponents μ·f of the rows exceed the scaled ones ν·c."""
    return problem.rows.spread(problem.table(point) @ (problem.bounds / problem.scale))


def _refuse_few_samples(moments: Moments, floor: float, own: bool) -> None:
    if moments.freedom < floor:
        raise LowEffectiveSampleSize(moments.freedom, floor)
    worst = float(moments.prompt_ess.min())
    if own and worst < floor:
        raise LowEffectiveSampleSize(worst, floor, int(np.argmin(moments.prompt_ess)))


def _room(sense: Sense, excess: FloatArray) -> FloatArray:
    return {"at most": -excess, "at least": excess, "exactly": -np.abs(excess)}[sense]


def _multiplier_intervals(
    population: Population, senses: Sequence[Sense], solved: Solved, moments: Moments
) -> tuple[FloatArray, FloatArray]:
    """([X, J, 2], [J, 2]): intervals of what acts on each prompt, and of the shared or mean multipliers."""
    problem, base = solved.state.problem, population.base
    plain = bool((np.abs(population.log_weight) <= 1e-12).all())  # drawn from the law without budgets itself
    silent, never = population.rows.silent, population.rows.never
    if isinstance(solved.curvature, Dense):
        interval = shared_intervals(solved.state, moments)
        interval = _with_unseen(interval, problem, senses, _ceiling(never, base.ess), plain)
        return np.broadcast_to(interval, (problem.rows.prompts, *interval.shape)), interval
    own, interval = own_intervals(solved.state, solved.curvature)
    for prompt in range(problem.rows.prompts):
        unseen = np.where(problem.each, silent[:, prompt], never)
        sizes = np.where(problem.each, base.prompt_ess[prompt], base.ess)
        wider = _with_unseen(own[prompt], problem, senses, _ceiling(unseen, sizes), plain)
        with np.errstate(invalid="ignore"):
            grown = np.where(wider[:, 1] > own[prompt, :, 1], wider[:, 1] - own[prompt, :, 1], 0.0)
        interval[:, 1] += np.where(problem.each, problem.share[prompt], 1.0 if prompt == 0 else 0.0) * grown
        own[prompt] = wider
    return own, np.minimum(interval, problem.limits[1][:, None])


def _with_unseen(
    interval: FloatArray, problem: Problem, senses: Sequence[Sense], ceiling: FloatArray, plain: bool
) -> FloatArray:
    """[J, 2] with the upper ends for what never fired: the multiplier that its largest plausible rate would need.

    Samples of the law without budgets bound that rate; others do not, for what was not drawn may weigh much.
    """
    result = interval.copy()
    for index in np.flatnonzero(~np.isnan(ceiling)).tolist():
        most, bound, limit = float(ceiling[index]), float(problem.bounds[index]), float(problem.limits[1][index])
        if senses[index] == "at least" or (plain and bound >= most):
            continue
        known = plain and bound > 0.0 and most < 1.0
        needed = np.log(most / bound) + np.log1p(-bound) - np.log1p(-most) if known else np.inf
        result[index, 1] = min(max(result[index, 1], needed), limit)
    return result


def _around(interval: FloatArray, mu: FloatArray) -> FloatArray:
    """The interval, which rounding on a limit may have left beside its multiplier."""
    return np.stack([np.minimum(interval[..., 0], mu), np.maximum(interval[..., 1], mu)], axis=-1)


def _ceiling(never: BoolArray, ess: FloatArray | float) -> FloatArray:
    """[J] 95 % upper bound 3/N_eff on the rate of what never fired (Hanley and Lippman-Hand 1983), else NaN."""
    return np.where(never, np.minimum(3.0 / ess, 1.0), np.nan)


def _interval(mean: FloatArray, variance: FloatArray) -> FloatArray:
    half_width = NORMAL_95 * np.sqrt(np.diag(variance))
    return np.stack([mean - half_width, mean + half_width], axis=1)


def _statuses(problem: Problem, point: FloatArray, room: FloatArray, tolerance: float) -> tuple[Status, ...]:
    nu = problem.table(point)
    at_limit = (nu == problem.table(problem.lower)) | (nu == problem.table(problem.upper))
    saturated = ((room < -tolerance * problem.scale) & at_limit).any(axis=0)
    bites = (nu != 0.0).any(axis=0)
    return tuple(
        "saturated" if full else "binding" if moved else "met" for full, moved in zip(saturated, bites, strict=True)
    )


def _no_law(
    bounds: FloatArray,
    population: Population,
    certificate: Certificate,
    members: tuple[int, ...],
    status: Status,
    problem: Problem,
) -> DualSolution:
    """The answer when no finite multipliers exist: base rates, statuses and the certificate; the rest is NaN."""
    nothing, base = np.full(bounds.size, np.nan), population.base
    never = population.rows.never
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
        prompt_mu=np.full(base.prompt_mean.shape, np.nan),
        prompt_mu_interval=np.full((*base.prompt_mean.shape, 2), np.nan),
        each_prompt=tuple(bool(flag) for flag in problem.each),
        never_fired=tuple(bool(flag) for flag in never),
        never_fired_ceiling=_ceiling(never, base.ess),
    )
