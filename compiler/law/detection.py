"""How many responses it takes to tell two laws apart, LAW.md §4.

From n independent responses, with equal prior odds, the least probability of a wrong guess is the Bayes error

    B_n = (1 − TV(P0ⁿ, P1ⁿ))/2 = ½ Σ over types of min(P0ⁿ, P1ⁿ),
    ½(1 − √(1 − ρ²ⁿ)) ≤ B_n ≤ ½ e^{−nC},   ρ = Σ √(P0 P1),

a type being how often each response occurs. Its exponent is Chernoff's C = −min_{0≤s≤1} log Σ P0^{1−s} P1^s; with the
error under P0 held fixed, the other one falls with Stein's exponent KL(P0‖P1). Everything in nats. Sources: Cover and
Thomas 2006, chapter 11; the lower bound follows from TV ≤ √(1 − ρ²) (Kraft 1955).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, comb, inf, log, sqrt

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.gibbs import kl_divergence
from bylaw.compiler.law.numerics import FloatArray, as_vector, log_sum_exp

MOST_TYPES = 4_000_000
"""Types that one exact Bayes error may sum over."""
MOST_SIZES = 300_000
"""Numbers of responses that are tried for an exact test."""
_SAME_RATIO = 1e-12  # log-ratios that agree within this are one statistic; n of them move B_n by at most n times this
_TIE = 1.0 + 1e-12  # exact binomial errors that equal δ do so in float64 only within rounding
_LEAST_EXPONENT = 1e-14  # nats; the logarithm of a sum is known to about 1e-16
_NORMALISED_WITHIN = 1e-8
_BLOCK = 65_536


class SameLaws(ValueError):
    """Two laws or rates are the same, or so close that float64 cannot state the exponent."""


class TooManyTypes(ValueError):
    """The exact Bayes error would sum over more types than ``MOST_TYPES``; ``bayes_error_bounds`` still hold."""


@dataclass(frozen=True)
class Chernoff:
    """exponent: C in nats per response, ≥ 0, inf for laws that share no response. tilt: the minimising s in [0, 1]."""

    exponent: float
    tilt: float


@dataclass(frozen=True)
class DetectionSize:
    """How many responses bring the Bayes error to at most ``error``.

    Attributes:
        error: δ. exponent: Chernoff's, in nats.
        sufficient: ⌈log(1/(2δ))/C⌉, always enough.
        least: the smallest such number, None where it cannot be computed exactly (too many types).
    """

    error: float
    exponent: float
    sufficient: int
    least: int | None


@dataclass(frozen=True)
class RateTest:
    """The smallest audit that tells two rates apart, wrong with probability at most δ whichever of them holds.

    Attributes:
        before, after: the rates. error: δ.
        exponent: Chernoff's, in nats per response.
        sufficient: ⌈log(1/δ)/C⌉ responses, always enough.
        responses: the smallest number n for which a threshold exists, None where more than ``MOST_SIZES`` would have to
            be tried. Exact binomial errors do not fall steadily: some larger n can miss δ by a little.
        threshold: k; say "after" when at most k of n responses count (at least k, where the rate rises).
        error_before, error_after: the exact probabilities of a wrong answer under each rate.
        bayes: the size by equal prior odds, which is smaller.
    """

    before: float
    after: float
    error: float
    exponent: float
    sufficient: int
    responses: int | None
    threshold: int | None
    error_before: float | None
    error_after: float | None
    bayes: DetectionSize


def stein_exponent(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike) -> float:
    """KL(P0‖P1) in nats for laws [Y]; inf where some response of P0 settles the matter. ValueError on bad laws."""
    left, right = _laws(log_p0, log_p1)
    return kl_divergence(left, right)


def chernoff_exponent(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike) -> Chernoff:
    """C = −min_{0≤s≤1} log Σ P0^{1−s} P1^s for laws [Y], to rounding. ValueError on bad laws."""
    left, right = _laws(log_p0, log_p1)
    both = (left > -np.inf) & (right > -np.inf)
    if not both.any():
        return Chernoff(inf, 0.5)
    left, right = left[both], right[both]
    ratio = right - left

    def slope(tilt: float) -> float:
        tilted = left + tilt * ratio
        return float(np.exp(tilted - log_sum_exp(tilted)) @ ratio)

    low, high = 0.0, 1.0
    # The cumulant log Σ P0 e^{s·ratio} is convex: bisect its slope. 60 halvings exhaust float64.
    if slope(0.0) >= 0.0:
        high = 0.0
    elif slope(1.0) <= 0.0:
        low = 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if slope(middle) <= 0.0:
            low = middle
        else:
            high = middle
    tilt = 0.5 * (low + high)
    return Chernoff(max(0.0, -log_sum_exp(left + tilt * ratio)), tilt)


def bayes_error(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike, responses: int) -> float:
    """B_n for laws [Y] and n = ``responses`` ≥ 0, exact up to rounding (relative error about 1e-16 · n log n).

    Responses of one likelihood ratio count as one. Raises ValueError on bad laws or n < 0, TooManyTypes.
    """
    left, right = _merged(*_laws(log_p0, log_p1))
    if responses < 0:
        raise ValueError("a number of responses cannot be negative")
    if responses == 0 or left.size == 0:
        return 0.5 if responses == 0 else 0.0
    types = comb(responses + left.size - 1, left.size - 1)
    if types > MOST_TYPES:
        raise TooManyTypes(
            f"{left.size} likelihood ratios and {responses} responses make {types} types, more than {MOST_TYPES}"
        )
    # log Σ min: types of one leading composition at a time, the last two counts as a vector.
    total = 0.0
    for first, second in _type_blocks(left, right, responses):
        total += float(np.exp(np.minimum(first, second)).sum())
    return min(0.5, 0.5 * total)


def bayes_error_bounds(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike, responses: int) -> tuple[float, float]:
    """(lower, upper) bound on B_n for laws [Y], any n ≥ 0. ValueError on bad laws or n < 0."""
    left, right = _laws(log_p0, log_p1)
    if responses < 0:
        raise ValueError("a number of responses cannot be negative")
    if responses == 0:
        return 0.5, 0.5
    affinity = min(0.0, log_sum_exp(0.5 * (left + right)))
    exponent = chernoff_exponent(left, right).exponent
    # 1 − √(1 − x) = x / (1 + √(1 − x)): no cancellation for small x.
    square = float(np.exp(2.0 * responses * affinity))
    return 0.5 * square / (1.0 + sqrt(1.0 - square)), 0.5 * float(np.exp(-responses * exponent))


def responses_to_detect(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike, error: float) -> DetectionSize:
    """The number of responses after which B_n ≤ ``error``, for laws [Y] and 0 < error < ½.

    Raises:
        ValueError: bad laws or a bad error. SameLaws: no number of responses tells them apart, or too large a one.
    """
    left, right = _laws(log_p0, log_p1)
    if not 0.0 < error < 0.5:
        raise ValueError(f"an error must lie between 0 and 1/2, got {error}")
    exponent = chernoff_exponent(left, right).exponent
    if exponent <= _LEAST_EXPONENT:
        raise SameLaws("the two laws are the same, or too close to say how many responses tell them apart")
    sufficient = max(1, ceil(log(0.5 / error) / exponent))
    try:
        low, high = 0, sufficient  # B_low > δ ≥ B_high: more responses never hurt
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bayes_error(left, right, middle) <= error * _TIE else (middle, high)
        least = high if bayes_error(left, right, high) <= error * _TIE else None
    except TooManyTypes:
        least = None
    return DetectionSize(error, exponent, sufficient, least)


def rate_test(before: float, after: float, error: float) -> RateTest:
    """The exact binomial test of two rates, 0 ≤ before ≠ after ≤ 1, with both errors at most 0 < ``error`` < ½.

    Raises:
        ValueError: rates outside [0, 1] or a bad error. SameLaws: equal rates, or too close to say.
    """
    for rate in (before, after):
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"a rate must lie between 0 and 1, got {rate}")
    if before == after:
        raise SameLaws(f"both rates are {before}: no number of responses tells them apart")
    with np.errstate(divide="ignore"):
        laws = np.log([before, 1.0 - before]), np.log([after, 1.0 - after])
    bayes = responses_to_detect(*laws, error)
    sufficient = 1 if bayes.exponent == inf else max(1, ceil(log(1.0 / error) / bayes.exponent))
    affinity = log_sum_exp(0.5 * (laws[0] + laws[1]))
    # Both errors ≤ δ needs Σ min ≤ 2δ, and Σ min ≥ 1 − √(1 − ρ²ⁿ).
    start = 1 if affinity == -inf else max(1, int(log(1.0 - (1.0 - 2.0 * error) ** 2) / (2.0 * affinity)))
    found = _smallest_test(before, after, error, start, sufficient) if sufficient - start < MOST_SIZES else None
    responses, threshold, *errors = found if found is not None else (None, None, None, None)
    return RateTest(before, after, error, bayes.exponent, sufficient, responses, threshold, errors[0], errors[1], bayes)


# ------------------------------------------------------------------------------------------------------------- parts
def _smallest_test(
    before: float, after: float, error: float, start: int, stop: int
) -> tuple[int, int, float, float] | None:
    """(n, k, error under before, error under after) of the smallest n in start … stop that has a threshold k."""
    from scipy.special import bdtr, bdtrc

    falls = after < before
    # A rise of what counts is a fall of what does not.
    high, low = (before, after) if falls else (1.0 - before, 1.0 - after)
    for first in range(start, stop + 1, _BLOCK):
        sizes = np.arange(first, min(first + _BLOCK, stop + 1))
        # The largest k that keeps P(X ≤ k) ≤ δ under the higher rate, by bisection on the exact distribution function.
        least, most = np.full(sizes.shape, -1), sizes.copy()
        while (most - least > 1).any():
            middle = (least + most) // 2
            fits = bdtr(middle.astype(np.float64), sizes, high) <= error * _TIE
            least, most = np.where(fits, middle, least), np.where(fits, most, middle)
        miss = np.where(least >= 0, bdtrc(np.maximum(least, 0).astype(np.float64), sizes, low), 1.0)
        good = np.flatnonzero(miss <= error * _TIE)
        if good.size:
            size, cut = int(sizes[good[0]]), int(least[good[0]])
            wrong = float(bdtr(float(cut), size, high)), float(miss[good[0]])
            return size, cut if falls else size - cut, *wrong
    return None


def _laws(log_p0: npt.ArrayLike, log_p1: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    left, right = as_vector(log_p0, "log_p0"), as_vector(log_p1, "log_p1")
    if left.shape != right.shape or left.size == 0:
        raise ValueError(f"log_p0 {left.shape} and log_p1 {right.shape} must have one shape, not empty")
    for name, law in (("log_p0", left), ("log_p1", right)):
        if not abs(log_sum_exp(law)) <= _NORMALISED_WITHIN:
            raise ValueError(f"{name} is not normalised")
    return left, right


def _merged(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-masses of the likelihood ratios that both laws can show, in order of the ratio."""
    both = (left > -np.inf) & (right > -np.inf)
    order = np.argsort(right[both] - left[both], kind="stable")
    left, right = left[both][order], right[both][order]
    if left.size == 0:
        return left, right
    starts = np.flatnonzero(np.concatenate([[True], np.diff(right - left) > _SAME_RATIO]))
    return np.logaddexp.reduceat(left, starts), np.logaddexp.reduceat(right, starts)


def _type_blocks(left: FloatArray, right: FloatArray, total: int) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Log-probabilities under both laws of all types of ``total`` responses, in vectors."""
    from scipy.special import gammaln

    factorial = gammaln(np.arange(total + 1) + 1.0)

    def blocks(index: int, rest: int, first: float, second: float) -> Iterator[tuple[FloatArray, FloatArray]]:
        if left.size - index <= 2:
            count = np.arange(rest + 1) if left.size - index == 2 else np.array([rest])
            other = rest - count
            ways = -factorial[count] - factorial[other]
            last = min(index + 1, left.size - 1)
            yield (
                first + ways + count * left[index] + other * left[last],
                second + ways + count * right[index] + other * right[last],
            )
            return
        for used in range(rest + 1):
            yield from blocks(
                index + 1,
                rest - used,
                first - factorial[used] + used * left[index],
                second - factorial[used] + used * right[index],
            )

    yield from blocks(0, total, float(factorial[total]), float(factorial[total]))
