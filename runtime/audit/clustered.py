"""Means and shares of samples that come in clusters, such as several answers to one prompt.

The standard error is the cluster-robust one,

    SE² = C/(C − 1) · Σ_c (Σ_{i∈c} (x_i − m))² / n²,    Student's t with C − 1 degrees of freedom

(Liang and Zeger 1986; the factor as in Cameron and Miller 2015, section II). For a mean the interval is m ∓ t·SE, cut
to the bounds of the values. For a share that interval is too short: at a rate of 5 % with 50 prompts of 10 answers it
covers 90 %, not 95 %. `rate` uses Wilson's interval for n/deff samples instead, with three corrections, chosen by
simulation (tests/bench/bench_coverage.py):

* the design effect deff = SE²/(m(1 − m)/n) is drawn towards its largest value, the size of a cluster, by half an event:
  with few events nothing is known of how they cluster, and by luck they look independent;
* it is at least 1, and where that binds with ten clusters or more the normal quantile is used in place of t;
* clusters of unequal size count as C* = n²/Σ n_c² equal ones (Kish 1965), in the degrees of freedom and in SE².

Values are plain numbers without a unit; confidences are shares (0.95 means 95 %).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bylaw.runtime.audit import statistics
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

FEW_CLUSTERS = 10
"""With fewer clusters than this, every interval of a clustered mean comes with a warning."""

_PRIOR_EVENTS = 0.5
"""Weight, in events, of the belief that all values of a cluster are the same."""


@dataclass(frozen=True, slots=True)
class ClusteredEstimate:
    """A mean (or share) of n samples in C clusters.

    Attributes:
        mean: Σ x / n, every sample with the same weight.
        standard_error: the cluster-robust one, ≥ 0.
        degrees: of freedom, C − 1.
        interval: two-sided, inside the bounds of the values, never a point.
        unclipped: mean ∓ t · standard_error, which may leave the bounds and may be a point.
        samples, clusters: n and C.
        design_effect: how many times the variance is that of independent samples; as used by `interval`.
        effective: n / design_effect, the number of independent samples that would be as informative.
        warnings: what the reader of the interval has to know, in sentences.
    """

    mean: float
    standard_error: float
    degrees: int
    interval: Interval
    unclipped: Interval
    samples: int
    clusters: int
    design_effect: float
    effective: float
    warnings: tuple[str, ...]


@lru_cache(maxsize=512)
def t_quantile(probability: float, degrees: float) -> float:
    """`statistics.t_quantile`, remembered: the rules of a policy ask for the same ones again and again."""
    return statistics.t_quantile(probability, degrees)


def finite(values: Sequence[float], what: str = "values") -> list[float]:
    """The values [n] as floats. Raises ValueError when there are none, or when one is not a finite number."""
    found = [float(value) for value in values]
    if not found:
        raise ValueError(f"there are no {what}: at least one is needed")
    if not all(map(math.isfinite, found)):
        place = next(place for place, value in enumerate(found) if not math.isfinite(value))
        raise ValueError(
            f"number {place + 1} of the {what} is {found[place]}; leave unscored samples out and count them"
        )
    return found


def binary(outcomes: Sequence[float], what: str = "outcomes") -> list[float]:
    """The outcomes [n] as 0.0 and 1.0. Raises ValueError when there are none, or when one is neither 0 nor 1."""
    found = finite(outcomes, what)
    if not {0.0, 1.0}.issuperset(found):
        place = next(place for place, value in enumerate(found) if value not in (0.0, 1.0))
        raise ValueError(f"number {place + 1} of the {what} is {found[place]}; an outcome is 0 or 1")
    return found


def keys(clusters: Sequence[Hashable] | None, count: int) -> list[Hashable]:
    """The cluster of each of `count` samples; without `clusters` each sample is one. ValueError on other lengths."""
    found: list[Hashable] = list(range(count)) if clusters is None else list(clusters)
    if len(found) != count:
        raise ValueError(f"{len(found)} clusters do not fit {count} samples: name one cluster for each sample")
    if any(key != key for key in set(found)):  # NaN would be a cluster of its own each time it occurs
        raise ValueError("a cluster is nan; name one cluster for each sample")
    return found


def confident(confidence: float) -> float:
    """The confidence. Raises ValueError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
    return confidence


def residues(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[dict[Hashable, float], float]:
    """(Σ_{i∈c} (x_i − m) by cluster in order of first appearance, m) for values [n] and their clusters [n]."""
    mean = math.fsum(values) / len(values)
    sums: dict[Hashable, float] = {}
    for key, value in zip(clusters, values, strict=True):
        sums[key] = sums.get(key, 0.0) + (value - mean)
    return sums, mean


def few(clusters: int) -> tuple[str, ...]:
    """The warning that an interval from fewer than `FEW_CLUSTERS` clusters carries; nothing for more."""
    if clusters >= FEW_CLUSTERS:
        return ()
    return (f"{clusters} clusters are few: below {FEW_CLUSTERS} the spread between clusters is hardly known",)


def mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> ClusteredEstimate:
    """The mean of values [n] with its clustered t interval, cut to `bounds` (None: the values have none).

    Where all C clusters have the same mean, their spread is unknown rather than zero: with the given confidence at most
    1 − (1 − confidence)^(1/C) of all clusters differ, and the interval reaches as far towards the bounds as those could
    draw the mean (the rule of three for a mean).

    Raises ValueError: no values, one that is not finite or outside `bounds`, fewer than two clusters, lengths that
    differ, a bad confidence, or clusters with equal means without bounds.
    """
    found, names = finite(values), keys(clusters, len(values))
    sums, middle, error, naive = _spread(found, names, confidence)
    if bounds is not None and not bounds[0] <= min(found) <= max(found) <= bounds[1]:
        raise ValueError(f"values from {min(found)} to {max(found)} do not lie in the bounds {list(bounds)}")
    count, groups = len(found), len(sums)
    half = t_quantile((1 + confidence) / 2, groups - 1) * error
    unclipped = interval = Interval(middle - half, middle + half)
    warnings = few(groups)
    if error == 0:
        if bounds is None:
            raise ValueError(f"all clusters have the mean {middle}: without bounds nothing can be said of their spread")
        away = 1 - (1 - confidence) ** (1 / groups)
        interval = Interval(middle - away * (middle - bounds[0]), middle + away * (bounds[1] - middle))
        warnings += ("all clusters have the same mean: the interval rests on the number of clusters alone",)
    elif bounds is not None:
        interval = Interval(max(bounds[0], unclipped.low), min(bounds[1], unclipped.high))
    size = count / equal_clusters(names)
    design = size if naive == 0 else (error / naive) ** 2
    effective = count / design if design > 0 else float(count)
    return ClusteredEstimate(middle, error, groups - 1, interval, unclipped, count, groups, design, effective, warnings)


def rate(
    outcomes: Sequence[float], clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> ClusteredEstimate:
    """The share of ones among outcomes [n] of 0 and 1, with an interval that covers where events are rare too.

    Clusters of one sample each are no clusters: the interval is Wilson's. Raises ValueError: no outcomes, one that is
    neither 0 nor 1, fewer than two clusters, lengths that differ, a bad confidence.
    """
    found, names = binary(outcomes), keys(clusters, len(outcomes))
    return rate_of(ClusterCounts.of_outcomes(found, names), confidence)


def rate_of(counts: ClusterCounts, confidence: float = CONFIDENCE) -> ClusteredEstimate:
    """`rate` of outcomes that are counted by cluster. Raises ValueError: fewer than two clusters, a bad confidence."""
    confident(confidence)
    count, groups, share = counts.samples, counts.clusters, counts.share if counts.samples else 0.0
    if groups < 2:
        raise ValueError("one cluster says nothing about the spread between clusters: at least two are needed")
    error = math.sqrt(groups / (groups - 1) * counts.squares) / count
    half = t_quantile((1 + confidence) / 2, groups - 1) * error
    unclipped = Interval(share - half, share + half)
    design, raw = _design_of(counts)
    if groups == count:
        interval = statistics.wilson(counts.events, count, confidence)
    else:
        is_tame = raw <= 1 and groups >= FEW_CLUSTERS
        level = (1 + confidence) / 2
        quantile = statistics.normal_quantile(level) if is_tame else t_quantile(level, max(counts.equal - 1, 1.0))
        interval = score_interval(share, count / design, quantile)
    return ClusteredEstimate(
        share, error, groups - 1, interval, unclipped, count, groups, design, count / design, few(groups)
    )


def interval_of(counts: ClusterCounts, confidence: float = CONFIDENCE) -> Interval:
    """The interval of `rate_of`, which has one for a single sample too; [0, 1] for several samples of one cluster."""
    if counts.samples == 1:
        return statistics.wilson(counts.events, 1, confident(confidence))
    return rate_of(counts, confidence).interval if counts.clusters > 1 else Interval(0.0, 1.0)


def rate_interval(
    outcomes: Sequence[float], clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """`interval_of` outcomes [n] of 0 and 1, values with an equal entry in `clusters` dependent. Errors as in `rate`,
    but one cluster has the interval [0, 1]."""
    found = binary(outcomes)
    return interval_of(ClusterCounts.of_outcomes(found, keys(clusters, len(found))), confidence)


def effective_counts(counts: ClusterCounts) -> tuple[float, float]:
    """(events, samples) of as many independent samples as these are worth, for one-sided bounds and exact tests.

    Counts are divided by the design effect of `rate`, and by (t/z)² for the few degrees of freedom in which it is known
    (Korn and Graubard 1998, Survey Methodology 24:193-201). Without any event, or with nothing else, it is the greatest
    that there can be and needs no allowance. Several samples of one cluster are worth one.
    """
    if counts.clusters == counts.samples:
        return float(counts.events), float(counts.samples)
    if counts.clusters < 2:
        return counts.share, 1.0
    effective = counts.samples / _design_of(counts)[0]
    if 0 < counts.events < counts.samples:
        middle = (1 + CONFIDENCE) / 2
        effective *= (statistics.normal_quantile(middle) / t_quantile(middle, max(counts.equal - 1, 1.0))) ** 2
    # the share of all events is 1, which rounding must not miss
    return effective if counts.events == counts.samples else counts.share * effective, effective


@lru_cache(maxsize=4096)
def bound_of(counts: ClusterCounts, upper: bool, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided bound of a share (upper or lower) on `effective_counts`: with this confidence it is at most,
    or at least, so much. Raises ValueError: no samples, a bad confidence."""
    bound = statistics.exact_upper if upper else statistics.exact_lower
    return bound(*effective_counts(counts), confidence)


def _design_of(counts: ClusterCounts) -> tuple[float, float]:
    """`design_effect` of a share: (drawn towards the size of a cluster, as the data show)."""
    share, size = counts.share, counts.samples / counts.equal
    if counts.clusters == counts.samples:
        return 1.0, 1.0
    if share in (0.0, 1.0):
        return size, size
    raw = counts.corrected_squares / (counts.samples * share * (1 - share))
    return _drawn(raw, size, min(counts.events, counts.samples - counts.events)), raw


def _drawn(raw: float, size: float, events: float) -> float:
    """A design effect drawn towards the size of a cluster by `_PRIOR_EVENTS`, at least 1."""
    informative = events / max(raw, 1.0)
    return max(1.0, (informative * raw + _PRIOR_EVENTS * size) / (informative + _PRIOR_EVENTS))


def design_effect(
    values: Sequence[float], clusters: Sequence[Hashable], variance: float, events: float
) -> tuple[float, float]:
    """(the design effect ≥ 1 drawn towards the size of a cluster, the one that the data show) for values [n].

    `variance` is that of one value if samples were independent, `events` how many of them are informative (the rarer
    outcome, or the pairs that differ). Where the variance is 0 both are the size of a cluster, n/C*.
    """
    sizes = Counter(clusters)
    count = len(values)
    size = count / equal_clusters(clusters)
    if variance <= 0 or len(sizes) < 2:
        return size, size
    sums, _ = residues(values, clusters)
    # dividing by 1 − n_c/n takes out that each cluster draws the mean to itself; for equal sizes it is C/(C − 1)
    total = math.fsum(value * value / (1 - sizes[key] / count) for key, value in sums.items())
    raw = total / (count * variance)
    return _drawn(raw, size, events), raw


def score_interval(share: float, total: float, quantile: float) -> Interval:
    """Wilson's interval for a share of `total` > 0 (also fractional) samples and a quantile of the normal or t law."""
    square = quantile * quantile
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = quantile / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if share == 1 else min(1.0, centre + half))


def _spread(
    values: list[float], clusters: list[Hashable], confidence: float
) -> tuple[dict[Hashable, float], float, float, float]:
    """(residues, mean, clustered standard error, standard error of independent samples)."""
    confident(confidence)
    sums, middle = residues(values, clusters)
    count, groups = len(values), len(sums)
    if groups < 2:
        raise ValueError("one cluster says nothing about the spread between clusters: at least two are needed")
    error = math.sqrt(groups / (groups - 1) * math.fsum(part * part for part in sums.values())) / count
    naive = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (count - 1) / count)
    # what rounding leaves of no spread is none
    if error <= statistics.ROUNDING * max(map(abs, values)):
        error = 0.0
    return sums, middle, error, naive if min(values) < max(values) else 0.0


def equal_clusters(clusters: Sequence[Hashable]) -> float:
    """C*: how many clusters of equal size weigh as much as these."""
    return len(clusters) ** 2 / sum(size * size for size in Counter(clusters).values())
