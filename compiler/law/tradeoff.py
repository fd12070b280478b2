"""What a budget costs as its bound moves: rate against KL, with all other terms kept and their multipliers solved anew.

KL*(b), the least KL(q‖p) over the laws q that meet all budgets, p being the law of the hard and soft rules alone, is
convex in the bound b of one of them, with slope −μ (LAW.md §2). It starts at the rate that the budget has when nothing
asks for it, where μ = 0, and ends at the edge of what any law on the sample can do, where μ is infinite. Beyond that
edge, and where too few effective samples carry the law, there is no number to give, and none is given.

Errors are Monte-Carlo errors within prompts. At the optimum the multipliers' own errors do not move KL to first order
(Danskin's theorem), but for elastic budgets that have given way: there the rate is estimated too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.dual import DEFAULT_ESS_FLOOR, DualSolution, solve_dual
from bylaw.compiler.law.feasibility import Sense, achievable_range, checked_budgets
from bylaw.compiler.law.numerics import (
    NORMAL_95,
    BoolArray,
    FloatArray,
    LowEffectiveSampleSize,
    as_vector,
    grouped_weights,
)
from bylaw.compiler.law.samples import Population, PromptSamples

Outcome: TypeAlias = Literal["solved", "infeasible on the sampled support", "hard rule", "too few effective samples"]


@dataclass(frozen=True, eq=False)
class TradeoffPoint:
    """The law at one bound of the budget. Numbers are NaN unless ``outcome`` is "solved" (``ess`` also where too few).

    Attributes:
        bound: in the feature's unit.
        rate, rate_interval: E f under the law and its 95 % interval.
        mu, mu_interval: nats per unit of the feature, with its 95 % interval; −dKL/d(bound).
        kl, kl_interval: mean_x KL to the law without budgets, in nats, with its 95 % interval.
        multipliers: [J] those of all budgets.
        ess: effective sample size.
    """

    bound: float
    outcome: Outcome
    rate: float
    rate_interval: tuple[float, float]
    mu: float
    mu_interval: tuple[float, float]
    kl: float
    kl_interval: tuple[float, float]
    multipliers: FloatArray
    ess: float


@dataclass(frozen=True, eq=False)
class TradeoffCurve:
    """Points in rising order of their bounds.

    Attributes:
        index: which budget. sense: of it.
        free_rate, free_kl: rate and KL where this budget is left out and the others are kept; the curve starts here.
        extreme: (least, most) average of the feature over all laws on the sample, other budgets aside.
        points: see ``TradeoffPoint``.
        edges: for each direction in which the sample ends before the grid does, (last bound with a law, first without).
    """

    index: int
    sense: Sense
    free_rate: float
    free_kl: float
    extreme: tuple[float, float]
    points: tuple[TradeoffPoint, ...]
    edges: tuple[tuple[float, float], ...]

    @property
    def solved(self) -> tuple[TradeoffPoint, ...]:
        """The points that have numbers."""
        return tuple(point for point in self.points if point.outcome == "solved")


def tradeoff_curve(
    population: Population,
    bounds: npt.ArrayLike,
    senses: Sequence[Sense],
    index: int,
    points: int | npt.ArrayLike = 21,
    box: npt.ArrayLike | None = None,
    each_prompt: Sequence[bool] | None = None,
    tolerance: float = 1e-9,
    ess_floor: float = DEFAULT_ESS_FLOOR,
) -> TradeoffCurve:
    """The price of one budget at every bound, from the rate that comes for free to the edge of the sample.

    Args:
        population: X prompts with J features.
        bounds, senses, box, each_prompt, tolerance, ess_floor: as for ``solve_dual``; the bound of ``index`` is what
            moves, and its own elastic price is disregarded: the curve says what meeting it costs.
        index: which of the J budgets.
        points: how many bounds (at least 2, evenly spaced), or the bounds themselves.

    Raises:
        ValueError: an argument does not fit, the budget is one of each prompt (which has no single rate), or the other
            budgets already have no law.
        LowEffectiveSampleSize: there are too few samples without this budget already.
    """
    vector, kinds = checked_budgets(population, bounds, senses)
    if not 0 <= index < vector.size:
        raise ValueError(f"there is no budget {index}: they are numbered from 0 to {vector.size - 1}")
    each = [False] * vector.size if each_prompt is None else list(each_prompt)
    if each[index]:
        raise ValueError(f"budget {index} holds for each prompt: there is no one rate to draw against KL")
    prices = np.full(vector.size, np.inf) if box is None else np.array(as_vector(box, "box"))
    if prices.shape != vector.shape:
        raise ValueError(f"box must be {vector.size} nonnegative numbers")
    prices[index] = np.inf
    free_rate, free_kl = _without(population, vector, kinds, index, prices, each, tolerance, ess_floor)
    low, high = achievable_range(population)
    extreme = float(low[index]), float(high[index])
    grid = _grid(points, kinds[index], free_rate, extreme)

    def solve(bound: float) -> TradeoffPoint:
        moved = np.where(np.arange(vector.size) == index, bound, vector)
        try:
            found = solve_dual(population, moved, kinds, prices, tolerance, ess_floor, each)
        except LowEffectiveSampleSize as few:
            return _nothing(bound, vector.size, "too few effective samples", few.ess)
        if "infeasible on the sampled support" in found.status:
            return _nothing(bound, vector.size, "infeasible on the sampled support")
        if "hard rule" in found.status:
            return _nothing(bound, vector.size, "hard rule")
        return _point(population, found, index, bound)

    solved, edges = _outwards(grid, free_rate, solve, vector.size)
    return TradeoffCurve(index, kinds[index], free_rate, free_kl, extreme, solved, edges)


def _grid(points: int | npt.ArrayLike, sense: Sense, free_rate: float, extreme: tuple[float, float]) -> FloatArray:
    if not isinstance(points, int):
        given = as_vector(points, "points")
        if not given.size or not np.isfinite(given).all():
            raise ValueError("points must be finite bounds, one at least")
        return np.unique(given)
    if points < 2:
        raise ValueError(f"a curve needs at least 2 points, got {points}")
    low = free_rate if sense == "at least" else extreme[0]
    high = free_rate if sense == "at most" else extreme[1]
    return np.linspace(low, high, points)


def _outwards(
    grid: FloatArray, free_rate: float, solve: Callable[[float], TradeoffPoint], budgets: int
) -> tuple[tuple[TradeoffPoint, ...], tuple[tuple[float, float], ...]]:
    """Points in the order of the grid. What is infeasible stays so farther out: there is no need to solve it."""
    found: list[TradeoffPoint] = []
    edges: list[tuple[float, float]] = []
    for side in (grid[grid <= free_rate][::-1], grid[grid > free_rate]):
        last, ended = free_rate, False
        for bound in side:
            if ended:
                found.append(_nothing(float(bound), budgets, "infeasible on the sampled support"))
                continue
            point = solve(float(bound))
            found.append(point)
            ended = point.outcome in ("infeasible on the sampled support", "hard rule")
            if ended:
                edges.append((float(last), float(bound)))
            last = bound
    return tuple(sorted(found, key=lambda point: point.bound)), tuple(sorted(edges))


def _without(
    population: Population,
    bounds: FloatArray,
    senses: tuple[Sense, ...],
    index: int,
    prices: FloatArray,
    each: list[bool],
    tolerance: float,
    ess_floor: float,
) -> tuple[float, float]:
    """(rate of the budget's feature, KL in nats) under the law of all other budgets."""
    kept = [other for other in range(bounds.size) if other != index]
    others = Population(
        [PromptSamples(prompt.log_weight, prompt.features[:, kept]) for prompt in population.prompts],
        population.prompt_weight,
    )
    found = solve_dual(
        others,
        bounds[kept],
        [senses[other] for other in kept],
        prices[kept],
        tolerance,
        ess_floor,
        [each[other] for other in kept],
    )
    if np.isnan(found.log_z):
        stuck = [kept[place] for place, status in enumerate(found.status) if status != "undetermined"]
        raise ValueError(f"the other budgets have no law on this sample ({stuck}): there is no curve to draw")
    multipliers = np.insert(found.prompt_mu, index, 0.0, axis=1)
    return float(population.moments(multipliers).mean[index]), found.budget_kl


def _nothing(bound: float, budgets: int, outcome: Outcome, ess: float = np.nan) -> TradeoffPoint:
    nan = float("nan")
    return TradeoffPoint(
        bound, outcome, nan, (nan, nan), nan, (nan, nan), nan, (nan, nan), np.full(budgets, np.nan), ess
    )


def _point(population: Population, found: DualSolution, index: int, bound: float) -> TradeoffPoint:
    error = NORMAL_95 * kl_error(population, found)
    return TradeoffPoint(
        bound=bound,
        outcome="solved",
        rate=float(found.rate[index]),
        rate_interval=_pair(found.rate_interval[index]),
        mu=float(found.mu[index]),
        mu_interval=_pair(found.mu_interval[index]),
        kl=found.budget_kl,
        kl_interval=(max(found.budget_kl - error, 0.0), found.budget_kl + error),
        multipliers=found.mu,
        ess=found.ess,
    )


def _pair(values: FloatArray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def kl_error(population: Population, found: DualSolution) -> float:
    """The Monte-Carlo standard error of ``found.budget_kl`` in nats, multipliers being solved for each sample anew.

    A sample moves KL by the change of log Ẑ(0) − log Ẑ(μ), and for an elastic budget that has given way by −μ times
    the change of its rate, taken at fixed rates of the binding ones: the part of its feature that a weighted regression
    on theirs leaves over.
    """
    none = np.zeros_like(found.prompt_mu)
    influence = np.zeros(population.log_weight.size)
    shares = np.repeat(population.weights, population.counts)
    before, after = _weights(population, none), _weights(population, found.prompt_mu)
    influence += shares * (before - after)
    given_way = np.array([status == "saturated" for status in found.status], dtype=np.bool_)
    if given_way.any():
        binding = np.array([status == "binding" for status in found.status], dtype=np.bool_)
        left_over = _residuals(population, after, given_way, binding, np.array(found.each_prompt, dtype=np.bool_))
        strength = np.repeat(found.prompt_mu[:, given_way], population.counts, axis=0)
        influence -= shares * after * (strength * left_over).sum(axis=1)
    return float(np.sqrt(np.square(influence).sum()))


def _weights(population: Population, multipliers: FloatArray) -> FloatArray:
    """[M] sample weights that sum to 1 in each prompt, at multipliers [X, J]."""
    tilted = population.log_weight - np.einsum(
        "mj,mj->m", population.features, np.repeat(multipliers, population.counts, axis=0)
    )
    return grouped_weights(tilted, population.starts, population.counts)


def _residuals(
    population: Population, weight: FloatArray, wanted: BoolArray, regressors: BoolArray, each: BoolArray
) -> FloatArray:
    """[M, K] the wanted features less their weighted projection on the binding ones, per prompt for those of each."""
    features = population.features
    centred = np.empty_like(features)
    for piece in _pieces(population):
        centred[piece] = features[piece] - weight[piece] @ features[piece]
        own = centred[piece][:, regressors & each]
        if own.shape[1]:
            centred[piece] -= own @ _fit(own, centred[piece], weight[piece])
    shares = np.repeat(population.weights, population.counts)
    shared = centred[:, regressors & ~each]
    left: FloatArray = centred[:, wanted]
    return left - shared @ _fit(shared, left, weight * shares)


def _pieces(population: Population) -> Iterator[slice]:
    for start, count in zip(population.starts, population.counts, strict=True):
        yield slice(int(start), int(start + count))


def _fit(columns: FloatArray, values: FloatArray, weight: FloatArray) -> FloatArray:
    root = np.sqrt(weight)[:, None]
    return np.asarray(np.linalg.lstsq(columns * root, values * root, rcond=1e-11)[0], dtype=np.float64)
