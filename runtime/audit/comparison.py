"""Two models, or two checkpoints, compared: on the same prompts, or on samples of their own.

Differences are always first minus second. Shares and scores are plain numbers, confidences are shares.

Sources: McNemar 1947 with the exact binomial law; its clustered form is the exact test by sign changes of whole
clusters (Fisher 1935, section 21); Tango 1998, Statistics in Medicine 17:891-908, for the interval of a paired
difference of shares; Newcombe 1998, Statistics in Medicine 17:873-890, method 10, for independent shares, and its
general form for any two intervals by Zou and Donner 2008, Statistics in Medicine 27:1693-1702.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

MOST_FLIPS = 20_000
"""Differing answers up to which the law of the exact clustered test is computed."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact test of equal rates on the same prompts.

    Attributes:
        first_only, second_only: pairs where only the first (the second) outcome is 1.
        pairs, clusters: how many there are.
        p_value: two-sided, of the hypothesis that which of the two has the event is a fair coin for each cluster.
    """

    first_only: int
    second_only: int
    pairs: int
    clusters: int
    p_value: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean difference of n pairs in C clusters, first minus second.

    Attributes:
        first, second: the two means. difference: first − second.
        standard_error: clustered, with the factor C/(C − 1). degrees: C − 1.
        interval: two-sided, inside the possible differences, never a point.
        p_value: two-sided; exact (McNemar, by clusters) for outcomes of 0 and 1, Student's t for scores; 1 where all
            pairs are equal.
        pairs, clusters: n and C. warnings: sentences for the reader.
    """

    first: float
    second: float
    difference: float
    standard_error: float
    degrees: int
    interval: Interval
    p_value: float
    pairs: int
    clusters: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two independent estimates, first − second, with a two-sided interval inside [−1, 1]."""

    first: float
    second: float
    difference: float
    interval: Interval


# ------------------------------------------------------------------------------------------------- the same prompts
def mcnemar_counts(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value of McNemar's test. Raises ValueError on negative or fractional counts."""
    for count in (first_only, second_only):
        if count < 0 or count != int(count):
            raise ValueError(f"a count is a whole number from 0, got {count}")
    differing, least = first_only + second_only, min(first_only, second_only)
    if first_only == second_only:
        return 1.0
    # P(X ≤ least) for X ~ Binomial(differing, ½), by the incomplete beta function
    return min(1.0, 2 * statistics.beta_cdf(0.5, differing - least, least + 1))


def mcnemar(first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable] | None = None) -> McNemar:
    """The exact test for outcomes [n] of 0 and 1 on the same n prompts.

    With clusters, all differences of one cluster change their sign together, so answers to one prompt need not be
    independent; the law of the sum is computed exactly. Raises ValueError: no pairs, outcomes other than 0 and 1,
    lengths that differ, more than `MOST_FLIPS` differing answers in clusters.
    """
    one, two = clustered.binary(first, "first outcomes"), clustered.binary(second, "second outcomes")
    _same_length(one, two)
    names = clustered.keys(clusters, len(one))
    by_cluster: dict[Hashable, int] = {}
    for name, a, b in zip(names, one, two, strict=True):
        by_cluster[name] = by_cluster.get(name, 0) + int(a - b)
    first_only = sum(a > b for a, b in zip(one, two, strict=True))
    second_only = sum(a < b for a, b in zip(one, two, strict=True))
    if clusters is None:
        p_value = mcnemar_counts(first_only, second_only)
    else:
        p_value = _sign_changes([abs(value) for value in by_cluster.values() if value], first_only - second_only)
    return McNemar(first_only, second_only, len(one), len(by_cluster), p_value)


def _sign_changes(sizes: list[int], observed: int) -> float:
    """P(|Σ ±size| ≥ |observed|) with fair signs, exactly."""
    import numpy as np

    total = sum(sizes)
    if total > MOST_FLIPS:
        raise ValueError(f"{total} differing answers are more than {MOST_FLIPS}: compare cluster means as scores")
    # law[j] = P(the sizes with a plus sum to j); the signed sum is 2j − total
    law = np.zeros(total + 1)
    law[0] = 1.0
    for size in sizes:
        moved = np.zeros_like(law)
        moved[size:] = law[: total + 1 - size]
        law = 0.5 * (law + moved)
    extreme = np.abs(2 * np.arange(total + 1) - total) >= abs(observed)
    return min(1.0, float(law[extreme].sum()))


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> PairedDifference:
    """The mean of first − second for values [n] on the same n prompts, values in one entry of `clusters` dependent.

    Outcomes of 0 and 1: Tango's score interval on n/deff pairs, which covers where few pairs differ and where none
    does. Scores: Student's t with the clustered error, cut to the differences that `bounds` allow. Raises ValueError:
    no pairs, one cluster, a value that is not finite or outside `bounds`, lengths that differ, a bad confidence, or
    equal differences without bounds.
    """
    one, two = clustered.finite(first, "first values"), clustered.finite(second, "second values")
    _same_length(one, two)
    gaps = [a - b for a, b in zip(one, two, strict=True)]
    if bounds is not None:
        for value in (*one, *two):
            if not bounds[0] <= value <= bounds[1]:
                raise ValueError(f"the value {value} does not lie in the bounds {list(bounds)}")
    width = None if bounds is None else bounds[1] - bounds[0]
    found = clustered.mean(gaps, clusters, confidence, None if width is None else (-width, width))
    interval, warnings = found.interval, found.warnings
    is_binary = {*one, *two} <= {0.0, 1.0}
    if is_binary:
        interval = _paired_shares(gaps, clusters, confidence)
        p_value = mcnemar(one, two, clusters).p_value
    elif found.standard_error == 0:
        p_value = 1.0 if found.mean == 0 else 2 * 0.5**found.clusters
    else:
        p_value = 2 * (1 - _t_cdf(abs(found.mean) / found.standard_error, found.degrees))
    return PairedDifference(
        math.fsum(one) / len(one),
        math.fsum(two) / len(two),
        found.mean,
        found.standard_error,
        found.degrees,
        interval,
        p_value,
        found.samples,
        found.clusters,
        warnings,
    )


def _t_cdf(t: float, degrees: int) -> float:
    """P(T ≤ t) for t ≥ 0."""
    return 1 - 0.5 * statistics.beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)


def _paired_shares(gaps: list[float], clusters: Sequence[Hashable] | None, confidence: float) -> Interval:
    """Tango's interval on the effective number of pairs; gaps are −1, 0 and 1."""
    up, down, count = gaps.count(1.0), gaps.count(-1.0), len(gaps)
    names = clustered.keys(clusters, count)
    quantile = statistics.normal_quantile((1 + confidence) / 2)
    design, groups = 1.0, len(set(names))
    if groups < count:
        middle = (up - down) / count
        design, raw = clustered.design_effect(gaps, names, (up + down) / count - middle**2, float(up + down))
        if raw > 1 or groups < clustered.FEW_CLUSTERS:
            degrees = max(clustered.equal_clusters(names) - 1, 1.0)
            quantile = clustered.t_quantile((1 + confidence) / 2, degrees)
    return tango(up / design, down / design, count / design, quantile)


def tango(first_only: float, second_only: float, pairs: float, quantile: float) -> Interval:
    """The score interval of a paired difference of shares.

    These are all δ with |first_only − second_only − nδ| ≤ quantile · σ(δ), where
    σ² = n(2 q + δ(1 − δ)), q the most likely share of pairs with only the second event given δ (Tango 1998, section 3).
    Counts may be fractional. Raises ValueError unless they are ≥ 0 and together at most `pairs` > 0.
    """
    if min(first_only, second_only) < 0 or pairs <= 0 or first_only + second_only > pairs * (1 + 1e-12):
        raise ValueError(f"{first_only} and {second_only} differing of {pairs} pairs are not counts")

    def score(delta: float) -> float:
        b = -first_only - second_only + (2 * pairs - first_only + second_only) * delta
        c = -second_only * delta * (1 - delta)
        # (√(b² − 8nc) − b)/4n without cancellation for b > 0
        root = math.sqrt(max(0.0, b * b - 8 * pairs * c))
        share = (root - b) / (4 * pairs) if b <= 0 else (0.0 if root + b == 0 else -2 * c / (root + b))
        variance = pairs * (2 * share + delta * (1 - delta))
        gap = first_only - second_only - pairs * delta
        return 0.0 if gap == 0 else gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    middle = (first_only - second_only) / pairs
    low = _crossing(score, quantile, -1.0, middle) if middle > -1 else -1.0
    high = _crossing(score, -quantile, middle, 1.0) if middle < 1 else 1.0
    return Interval(low, high)


def _crossing(falling: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a falling function reaches `target`, by halving down to neighbouring floats."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return (low + high) / 2


# --------------------------------------------------------------------------------------------- independent samples
def difference_of(first: float, first_interval: Interval, second: float, second_interval: Interval) -> Difference:
    """The difference of two independent estimates from their intervals (both of the confidence wanted)."""
    gap = first - second
    low = gap - math.hypot(first - first_interval.low, second_interval.high - second)
    high = gap + math.hypot(first_interval.high - first, second - second_interval.low)
    return Difference(first, second, gap, Interval(max(-1.0, low), min(1.0, high)))


def newcombe(
    first: float, first_total: float, second: float, second_total: float, confidence: float = CONFIDENCE
) -> Difference:
    """Newcombe's interval for first/first_total − second/second_total, independent samples.

    Raises ValueError when a count is not between 0 and its total, or on a bad confidence.
    """
    one = statistics.wilson(first, first_total, confidence)
    two = statistics.wilson(second, second_total, confidence)
    return difference_of(first / first_total, one, second / second_total, two)


def independent_difference(
    first: Sequence[float],
    second: Sequence[float],
    first_clusters: Sequence[Hashable] | None = None,
    second_clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> Difference:
    """The difference of two shares from outcomes [n1] and [n2] of 0 and 1 that share no prompt, clustered or not.

    Raises ValueError as `clustered.rate` does, and where a cluster occurs on both sides: such samples are paired.
    """
    if first_clusters is not None and second_clusters is not None:
        both = set(first_clusters) & set(second_clusters)
        if both:
            example = sorted(map(str, both))[0]
            raise ValueError(f"{len(both)} clusters occur on both sides ({example!r} is one): compare them as pairs")
    one = clustered.rate(first, first_clusters, confidence)
    two = clustered.rate(second, second_clusters, confidence)
    return difference_of(one.mean, one.interval, two.mean, two.interval)


def _same_length(first: Sequence[float], second: Sequence[float]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs: both models answer the same prompts")
