"""Intervals that are right at 0 % and 100 %, for few samples, and for several samples of one prompt.

Shares are between 0 and 1, confidences too (0.95 means 95 %). Counts may be fractions: several samples of one prompt
count as fewer independent ones, and the exact interval is defined for those as well. The quantiles are computed here
from the incomplete beta function, so that an audit needs no numerical library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bylaw.runtime.record import Interval

CONFIDENCE = 0.95
"""The confidence of every interval for which the author of a policy asked for no other."""
ROUNDING = 1e-14
"""An error of a mean below this share of the largest value is what rounding leaves of none."""


# ------------------------------------------------------------------------------------------------- distributions
def beta_cdf(x: float, a: float, b: float) -> float:
    """The probability that a Beta(a, b) variable is at most `x` (the regularised incomplete beta function)."""
    if a <= 0 or b <= 0:
        raise ValueError("the parameters of a beta distribution are positive")
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # the fraction converges fast on this side of the mean; the other side follows by symmetry
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _beta_fraction(x, a, b) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for step in range(1, 200_000):
        for numerator in (
            step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step)),
            -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge at a={a}, b={b}")


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x at which `beta_cdf(x, a, b)` is `probability`."""
    return _bisect(lambda x: beta_cdf(x, a, b), probability, 0.0, 1.0)


def normal_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return NormalDist().inv_cdf(probability)


def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t with `degrees` degrees of freedom (> 0)."""
    if degrees <= 0:
        raise ValueError("Student's t needs a positive number of degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    if probability == 0.5:
        return 0.0
    high = 1.0
    while _t_cdf(high, degrees) < probability:
        high *= 2
    return _bisect(lambda t: _t_cdf(t, degrees), probability, 0.0, high)


def _t_cdf(t: float, degrees: float) -> float:
    """P(T <= t) for t >= 0, written so that neither a large nor a small t loses digits."""
    if t * t < degrees:
        return 0.5 + 0.5 * beta_cdf(t * t / (degrees + t * t), 0.5, degrees / 2)
    return 1.0 - 0.5 * beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)


def _bisect(rising: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where `rising` reaches `target`, to the last digit that a float has."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# ------------------------------------------------------------------------------------------- independent samples
def wilson(count: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's two-sided interval for a share. Never a point, at 0 and at `total` either."""
    _check(count, total, confidence)
    z = normal_quantile((1 + confidence) / 2)
    share, square = count / total, z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    # at the ends one limit is the end itself; rounding must not put it a digit inside
    low = 0.0 if count == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if count == total else min(1.0, centre + half))


def clopper_pearson(count: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """The exact two-sided interval for a share: it misses the true share in at most 1 - confidence of all cases."""
    one_sided = (1 + confidence) / 2
    return Interval(exact_lower(count, total, one_sided), exact_upper(count, total, one_sided))


def exact_upper(count: float, total: float, confidence: float = CONFIDENCE) -> float:
    """The one-sided exact bound: with this confidence the true share is at most so much."""
    _check(count, total, confidence)
    return 1.0 if count == total else beta_quantile(confidence, count + 1, total - count)


def exact_lower(count: float, total: float, confidence: float = CONFIDENCE) -> float:
    """The one-sided exact bound: with this confidence the true share is at least so much."""
    _check(count, total, confidence)
    return 0.0 if count == 0 else beta_quantile(1 - confidence, count, total - count + 1)


def _check(count: float, total: float, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError("a confidence lies between 0 and 1")
    if total <= 0 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is not a share")


# ----------------------------------------------------------------------------------- several samples of one prompt
@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with what is known about it.

    `effective` is the number of independent samples that would be as informative as the `samples` there are;
    `standard_error` is None with fewer than two clusters, where nothing can be said about the spread, and `degrees`
    (of freedom of that error) is 0 there.
    """

    mean: float
    standard_error: float | None
    samples: int
    clusters: int
    effective: float
    degrees: int


def estimate(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Estimate:
    """The mean of `values` with its error; values with an equal entry in `clusters` are not independent.

    The error is the cluster-robust one with the factor C/(C-1); without `clusters` that is the ordinary standard error
    of a mean. Raises ValueError without values, or when the lengths differ.
    """
    if not values:
        raise ValueError("there is no mean of nothing")
    count = len(values)
    mean = math.fsum(values) / count
    residues: dict[Hashable, float] = {}
    for key, value in zip(range(count) if clusters is None else clusters, values, strict=True):
        residues[key] = residues.get(key, 0.0) + value - mean
    groups = len(residues)
    if groups < 2:
        return Estimate(mean, None, count, groups, 1.0, 0)
    error = math.sqrt(groups / (groups - 1) * math.fsum(r * r for r in residues.values())) / count
    if error <= ROUNDING * max(map(abs, values)):
        error = 0.0  # what rounding leaves of no spread at all
    naive = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)
    # without any spread nothing is known about how alike the samples of one prompt are: count the prompts only
    effective = float(groups) if naive == 0 or error == 0 else min(float(count), count * (naive / error) ** 2)
    return Estimate(mean, error, count, groups, effective, groups - 1)


def mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> Interval | None:
    """The two-sided t interval of a mean; None with fewer than two clusters (or values), and where all of these are
    equal: nothing is known of the spread of a quantity then, and an interval would be a point."""
    found = estimate(values, clusters)
    if not found.standard_error or min(values) == max(values):
        return None
    half = t_quantile((1 + confidence) / 2, found.degrees) * found.standard_error
    return Interval(found.mean - half, found.mean + half)


def mean_bound(
    values: Sequence[float], upper: bool, confidence: float = CONFIDENCE, clusters: Sequence[Hashable] | None = None
) -> float | None:
    """The one-sided t bound of a mean (upper or lower); None where `mean_interval` is."""
    found = estimate(values, clusters)
    if not found.standard_error or min(values) == max(values):
        return None
    half = t_quantile(confidence, found.degrees) * found.standard_error
    return found.mean + half if upper else found.mean - half


# ---------------------------------------------------------------------------------------------------- agreement
def cohen_kappa(true_positive: int, false_positive: int, false_negative: int, true_negative: int) -> float | None:
    """Agreement beyond chance; None where one label only occurs on both sides, so that chance alone agrees fully."""
    total = true_positive + false_positive + false_negative + true_negative
    if total == 0:
        return None
    human, rule = true_positive + false_negative, true_positive + false_positive
    chance = (human * rule + (total - human) * (total - rule)) / total**2
    return None if chance == 1 else ((true_positive + true_negative) / total - chance) / (1 - chance)
