"""How far best-of-k should go when the judge that selects is not the truth.

Two questions, both answered exactly. In the scalar model of arXiv:2512.19905 an answer is y ~ N(mean, sd²), the truth
is `target`, the judge prefers what is near to `judge`, and the error is E(y − target)² of the answer that it selects.
On samples with a judge's score and a true score, the curve of best-of-k is estimated without bias for every k up to
the number of samples. Temperatures are in units of y², KL divergences in nats.

Sources: arXiv:2512.19905 for the scalar model; Beirami et al., arXiv:2401.01879, for the bound log k − (k − 1)/k; the
estimate over all subsets of k samples is that of pass@k, Chen et al., arXiv:2107.03374, for any score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

FloatArray = NDArray[np.float64]

MOST_DRAWS = 10_000
"""Up to so many draws the scalar model is searched for the best number."""
_NODES = 16
_TAIL = 10.0
"""Standard deviations beyond which the normal law has no mass that a float could show."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """Answers y ~ N(mean, sd²), the truth `target`, and what the judge takes for the truth, `judge`.

    Raises ValueError where a value is not finite or `sd` is not above 0.
    """

    mean: float
    sd: float
    target: float
    judge: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.mean, self.sd, self.target, self.judge))) or self.sd <= 0:
            raise ValueError("the scalar model needs finite numbers, and a standard deviation above 0")


@dataclass(frozen=True, slots=True)
class Best:
    """The best number of draws. `is_end`: it is the largest that was tried, more may be better still."""

    draws: int
    error: float
    is_end: bool


# ------------------------------------------------------------------------------------------------- the scalar model
def nearest_error(model: Scalar, draws: int) -> float:
    """E(y − target)² of the draw that is nearest to the judge's centre, to about ten digits.

    The density of the nearest of k draws at distance d is k [f(c + d) + f(c − d)] P(|Y − c| > d)^(k − 1); it is
    integrated over panels of Gauss and Legendre. Raises ValueError for fewer than one draw.
    """
    if draws < 1:
        raise ValueError(f"best-of-k needs one draw at least, not {draws}")
    offset, sd = model.judge - model.mean, model.sd
    # panels as narrow as the law of the nearest near 0, and never wider than the normal density bends
    edges, width = [0.0], sd / (4.0 * draws)
    while edges[-1] < abs(offset) + _TAIL * sd:
        edges.append(edges[-1] + width)
        width = min(1.5 * width, sd / 4.0)
    distance, weight = _panels(edges)
    inside = np.array([_between(offset - d, offset + d, sd) for d in distance])
    with np.errstate(divide="ignore"):
        farther = np.log1p(-np.minimum(inside, 1.0))
    # a draw has no others that could be nearer; 0 times infinity would be no number
    none_nearer = np.exp((draws - 1) * farther) if draws > 1 else np.ones_like(farther)
    total = np.zeros_like(distance)
    for sign in (1.0, -1.0):
        place = model.judge + sign * distance
        total += _density(place, model.mean, sd) * (place - model.target) ** 2
    return float(draws * np.dot(weight, total * none_nearer))


def soft_errors(model: Scalar, draws: Sequence[int], temperature: float) -> tuple[float, ...]:
    """E(y − target)² where one of k draws is kept with probability ∝ exp(−(y − judge)²/temperature), for each k.

    With weights w, E[g(y₁)w₁/Σw] = ∫ E[g w e^{−uw}] E[e^{−uw}]^{k−1} du, integrated over log u: exact to about eight
    digits. Raises ValueError for fewer than one draw, or a temperature below sd²/10 (there `nearest_error` is near).
    """
    if not draws or min(draws) < 1:
        raise ValueError("soft best-of-k needs one draw at least")
    if not model.sd**2 / 10 <= temperature < math.inf:
        raise ValueError(f"the temperature must be at least {model.sd**2 / 10:g}, a tenth of the variance")
    reach = abs(model.judge - model.mean) + 8.0 * model.sd
    # how fast e^{−uw} can turn from 0 to 1 as y moves
    width = min(model.sd / 2.0, 4.0 * temperature / reach)
    count = math.ceil(16.0 * model.sd / width)
    place, weight = _panels(list(model.mean + model.sd * np.linspace(-8.0, 8.0, count + 1)))
    mass = weight * _density(place, model.mean, model.sd)
    log_w = -((place - model.judge) ** 2) / temperature
    edges = [-45.0]
    while edges[-1] < reach**2 / temperature + 5.0:
        edges.append(edges[-1] + 4.0)
    log_u, step = _panels(edges)
    first, empty = np.empty_like(log_u), np.empty_like(log_u)
    loss = mass * (place - model.target) ** 2
    for at, value in enumerate(log_u):
        scaled = np.exp(np.minimum(log_w + value, 700.0))
        kept = np.exp(-scaled)
        first[at] = np.dot(loss, scaled * kept)
        empty[at] = np.dot(mass, kept)
    return tuple(float(k * np.dot(step, first * empty ** (k - 1))) for k in draws)


def best_draws(model: Scalar, most: int = MOST_DRAWS) -> Best:
    """The k ≤ `most` with the least error: every k up to 32, then a grid of 5% steps refined around its best."""
    if most < 1:
        raise ValueError("best-of-k needs one draw at least")
    grid = sorted({*range(1, min(most, 32) + 1), most, *_geometric(32, most)})
    errors = {k: nearest_error(model, k) for k in grid}
    at = grid.index(min(grid, key=errors.__getitem__))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    while high - low > 2:  # the error has one valley between neighbours of the best of the grid
        left, right = low + (high - low) // 3, high - (high - low) // 3
        for k in (left, right):
            errors.setdefault(k, nearest_error(model, k))
        low, high = (low, right) if errors[left] <= errors[right] else (left, high)
    for k in range(low, high + 1):
        errors.setdefault(k, nearest_error(model, k))
    best = min(sorted(errors), key=errors.__getitem__)
    return Best(best, errors[best], best == most)


def best_temperature(model: Scalar, draws: int) -> tuple[float, float]:
    """(temperature, error) of the best soft selection from `draws`, among 0 (the nearest) and 40 temperatures from
    sd²/10 to 1000 sd² in equal ratios; infinity stands for a choice at random."""
    found = [(nearest_error(model, draws), 0.0), (model.sd**2 + (model.mean - model.target) ** 2, math.inf)]
    for value in np.geomspace(0.1, 1000.0, 40) * model.sd**2:
        found.append((soft_errors(model, [draws], float(value))[0], float(value)))
    error, temperature = min(found)
    return temperature, error


def _geometric(first: int, last: int) -> list[int]:
    found, value = [], float(first)
    while value < last:
        found.append(int(value))
        value *= 1.05
    return found


def _density(place: FloatArray, mean: float, sd: float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * ((place - mean) / sd) ** 2) / (sd * math.sqrt(2.0 * math.pi)), dtype=np.float64)


def _between(low: float, high: float, sd: float) -> float:
    """P(low < X < high) for X ~ N(0, sd²), from the tail where that keeps digits."""
    scale = sd * math.sqrt(2.0)
    if low > 0:
        return 0.5 * (math.erfc(low / scale) - math.erfc(high / scale))
    if high < 0:
        return 0.5 * (math.erfc(-high / scale) - math.erfc(-low / scale))
    return 0.5 * (math.erf(high / scale) - math.erf(low / scale))


@cache
def _rule() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return np.asarray(nodes, dtype=np.float64), np.asarray(weights, dtype=np.float64)


def _panels(edges: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss and Legendre on each panel between neighbouring edges."""
    nodes, weights = _rule()
    ends = np.asarray(edges, dtype=np.float64)
    half = 0.5 * np.diff(ends)[:, None]
    centre = 0.5 * (ends[1:] + ends[:-1])[:, None]
    return (centre + half * nodes).ravel(), (half * weights).ravel()


# ------------------------------------------------------------------------------------------------- enumerable models
def best_of_law(probabilities: ArrayLike, scores: ArrayLike, draws: int) -> FloatArray:
    """[Y] the exact law of the best by `scores` [Y] of `draws` answers from `probabilities` [Y]; ties are drawn from.

    P(y) = p(y)/P(score = s_y) · [P(score ≤ s_y)^k − P(score < s_y)^k]. Raises ValueError for shapes that differ, for
    probabilities that do not sum to one, and for fewer than one draw.
    """
    p, s = np.asarray(probabilities, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if p.ndim != 1 or p.shape != s.shape or np.isnan(s).any():
        raise ValueError("each answer needs one probability and one score")
    if (p < 0).any() or abs(p.sum() - 1.0) > 1e-9 or draws < 1:
        raise ValueError("probabilities sum to one, and there is one draw at least")
    levels, level = np.unique(s, return_inverse=True)
    mass = np.bincount(level, weights=p, minlength=len(levels))
    upto = np.minimum(np.cumsum(mass), 1.0)
    below = np.concatenate([[0.0], upto[:-1]])
    chosen = upto**draws - below**draws
    share = np.divide(chosen, mass, out=np.zeros_like(mass), where=mass > 0)
    return np.asarray(p * share[level], dtype=np.float64)


def divergence_bound(draws: int) -> float:
    """log k − (k − 1)/k nats: the most that the best of k differs from the model in KL; reached without ties."""
    return math.log(draws) - (draws - 1) / draws


# ----------------------------------------------------------------------------------------------------------- samples
@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Best-of-k at one k, mean over prompts: the true score of what the judge picks, its interval (clustered by
    prompt), the judge's own score of it, and the true score of the best by the truth (no judge can do better)."""

    draws: int
    truth: float
    interval: Interval
    proxy: float
    oracle: float


@dataclass(frozen=True, slots=True)
class ScalingCurve:
    """Best-of-k over prompts.

    `best`: the k with the best mean truth, `best_range`: the middle 95% of it over resampled prompts. `loss` is what
    the largest k loses against the best one, `loss_interval` its interval: the best k is chosen on one half of the
    prompts and judged on the other, both ways, so that choosing it does not flatter it. `correlation`: mean Kendall's
    tau-b between judge and truth within a prompt, None where no prompt has both varying.
    """

    points: tuple[CurvePoint, ...]
    best: int
    best_range: tuple[int, int]
    loss: float
    loss_interval: Interval
    prompts: int
    samples: int
    correlation: float | None
    warnings: tuple[str, ...]

    @property
    def is_overoptimised(self) -> bool:
        """Whether the largest k is worse than the best for certain (95%)."""
        return self.loss_interval.low > 0


def best_of_samples(proxy: Sequence[float], truth: Sequence[float], draws: int) -> float:
    """The mean over all subsets of `draws` of the n samples of the truth of the best by `proxy`, ties averaged.

    Unbiased for best-of-k. Raises ValueError unless 1 ≤ draws ≤ n and both have n values.
    """
    count = len(proxy)
    if count != len(truth) or not 1 <= draws <= count:
        raise ValueError(f"best of {draws} needs so many samples with both scores; there are {count} and {len(truth)}")
    groups: dict[float, list[float]] = {}
    for judged, real in zip(proxy, truth, strict=True):
        groups.setdefault(judged, []).append(real)
    total, below, every = 0.0, 0, math.comb(count, draws)
    for judged in sorted(groups):
        upto = below + len(groups[judged])
        chance = (math.comb(upto, draws) - math.comb(below, draws)) / every
        total += chance * math.fsum(groups[judged]) / len(groups[judged])
        below = upto
    return total


def scaling_curve(
    samples: Mapping[str, Sequence[tuple[float, float]]],
    *,
    most: int | None = None,
    seed: int = 0,
    resamples: int = 400,
    confidence: float = CONFIDENCE,
) -> ScalingCurve:
    """The curve from `samples`: for each prompt its (judge's score, true score) pairs, higher is better.

    k goes up to `most`, at most the fewest samples of a prompt. Raises ValueError for fewer than four prompts, a
    prompt with fewer than two samples, and scores that are not finite.
    """
    names = list(samples)
    if len(names) < 4:
        raise ValueError(f"best-of-k needs four prompts at least to have an error, and there are {len(names)}")
    fewest = min(len(samples[name]) for name in names)
    if fewest < 2:
        raise ValueError("best-of-k needs two samples of each prompt at least")
    if not all(math.isfinite(value) for name in names for pair in samples[name] for value in pair):
        raise ValueError("a score is not a finite number")
    ks = _steps(min(fewest, most or fewest))
    every = [real for name in names for _, real in samples[name]]
    width = max(every) - min(every)
    if width == 0:
        raise ValueError("the true score is the same for every sample: there is nothing to select")
    table = {
        kind: np.array([[best_of_samples(*columns, k) for k in ks] for columns in made])
        for kind, made in _columns(samples).items()
    }
    truth = table["truth"]
    points = []
    for at, k in enumerate(ks):
        found = _mean(truth[:, at], (min(every), max(every)), confidence)
        points.append(
            CurvePoint(k, found[0], found[1], float(table["proxy"][:, at].mean()), float(table["oracle"][:, at].mean()))
        )
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(names), size=(resamples, len(names)))
    tops = sorted(ks[int(truth[rows].mean(axis=0).argmax())] for rows in drawn)
    loss, interval = _loss(truth, width, rng, confidence)
    taus = [tau for name in names if (tau := _kendall(samples[name])) is not None]
    warnings = clustered.few(len(names))
    cut = int((1 - confidence) / 2 * resamples)
    best_range = (tops[cut], tops[resamples - 1 - cut])
    correlation = math.fsum(taus) / len(taus) if taus else None
    best = ks[int(truth.mean(axis=0).argmax())]
    total = sum(len(samples[name]) for name in names)
    return ScalingCurve(tuple(points), best, best_range, loss, interval, len(names), total, correlation, warnings)


def _columns(
    samples: Mapping[str, Sequence[tuple[float, float]]],
) -> dict[str, list[tuple[list[float], list[float]]]]:
    pairs = [([each[0] for each in rows], [each[1] for each in rows]) for rows in samples.values()]
    return {
        "truth": pairs,
        "proxy": [(judged, judged) for judged, _ in pairs],
        "oracle": [(real, real) for _, real in pairs],
    }


def _loss(truth: FloatArray, width: float, rng: np.random.Generator, confidence: float) -> tuple[float, Interval]:
    """What the largest k loses against a k chosen on the other half of the prompts."""
    order = rng.permutation(len(truth))
    halves = order[::2], order[1::2]
    lost = np.empty(len(truth))
    for one, other in (halves, halves[::-1]):
        best = int(truth[other].mean(axis=0).argmax())
        lost[one] = truth[one, best] - truth[one, -1]
    return _mean(lost, (-width, width), confidence)


def _mean(values: FloatArray, bounds: tuple[float, float], confidence: float) -> tuple[float, Interval]:
    # means of values within the bounds may leave them by a rounding
    found = clustered.mean([float(value) for value in np.clip(values, *bounds)], None, confidence, bounds)
    return found.mean, found.interval


def _steps(most: int) -> list[int]:
    """1 … 8, then ratios of about 1.3, and `most`."""
    found = {*range(1, min(most, 8) + 1), most}
    value = 8.0
    while value < most:
        found.add(int(value))
        value *= 1.3
    return sorted(found)


def _kendall(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Kendall's tau-b of two columns; None where one of them does not vary."""
    one, two = np.array([each[0] for each in pairs]), np.array([each[1] for each in pairs])
    first, second = np.sign(one[:, None] - one[None, :]), np.sign(two[:, None] - two[None, :])
    scale = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return None if scale == 0 else float((first * second).sum()) / scale
