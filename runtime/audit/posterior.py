"""Rates with a prior: for rules seen a few times only, and for many rules that are alike.

A Beta(a, b) prior is worth a violations and b passes seen before. Jeffreys' prior is Beta(½, ½), the uniform one
Beta(1, 1) (Brown, Cai and DasGupta 2001, Statistical Science 16:101-133). `shrink` takes the prior from the rules
themselves (empirical Bayes: the beta-binomial law of all counts, by greatest likelihood; Efron and Morris 1975). Show
these beside the intervals of a gate, never in their place: they say what is likely under the prior, not what was shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

JEFFREYS = (0.5, 0.5)
UNIFORM = (1.0, 1.0)
_STRONGEST = 1e6
"""Samples that a prior taken from the rules may be worth: more is "all rates are the same"."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Rates of m groups, drawn towards their common mean.

    Attributes:
        rates, intervals: posterior means and equal-tailed intervals, [m] each, in the order given.
        mean: of the prior. worth: a + b, how many samples it counts for; 1e6 where the groups do not differ.
    """

    rates: tuple[float, ...]
    intervals: tuple[Interval, ...]
    mean: float
    worth: float


def interval(
    count: float, total: float, confidence: float = CONFIDENCE, prior: tuple[float, float] = JEFFREYS
) -> Interval:
    """The equal-tailed posterior interval of a rate. Raises ValueError on bad counts, confidence or prior."""
    a, b = _posterior(count, total, prior)
    tail = (1 - clustered.confident(confidence)) / 2
    return Interval(statistics.beta_quantile(tail, a, b), statistics.beta_quantile(1 - tail, a, b))


def probability_above(count: float, total: float, limit: float, prior: tuple[float, float] = JEFFREYS) -> float:
    """The posterior probability that the rate is above the limit. Raises ValueError on bad counts, limit or prior."""
    a, b = _posterior(count, total, prior)
    if not 0 <= limit <= 1:
        raise ValueError(f"a limit lies between 0 and 1, got {limit}")
    # the smaller of a limit and 1 − limit has all its digits, and so has the smaller of the two probabilities
    return 1 - statistics.beta_cdf(limit, a, b) if limit < a / (a + b) else statistics.beta_cdf(1 - limit, b, a)


def shrink(counts: Sequence[int], totals: Sequence[int], confidence: float = CONFIDENCE) -> Shrunk:
    """Posterior rates of groups with counts [m] of totals [m] under the prior that makes them likeliest.

    The intervals take the prior as known, so that with few groups they are somewhat short. Raises ValueError: fewer
    than three groups, lengths that differ, a count that is not between 0 and its total > 0, or no event, or nothing but
    events, in all groups (no prior is likeliest then).
    """
    clustered.confident(confidence)
    if len(counts) != len(totals):
        raise ValueError(f"{len(counts)} counts do not fit {len(totals)} totals")
    if len(counts) < 3:
        raise ValueError(f"{len(counts)} groups do not show how groups differ: at least three are needed")
    for count, total in zip(counts, totals, strict=True):
        _posterior(count, total, UNIFORM)
    if sum(counts) in (0, sum(totals)):
        raise ValueError("all groups are at 0 % or all at 100 %: no prior is likeliest; take Jeffreys'")
    mean, worth = _likeliest(counts, totals)
    prior = (mean * worth, (1 - mean) * worth)
    rates = tuple((count + prior[0]) / (total + worth) for count, total in zip(counts, totals, strict=True))
    found = tuple(interval(count, total, confidence, prior) for count, total in zip(counts, totals, strict=True))
    return Shrunk(rates, found, mean, worth)


def _likeliest(counts: Sequence[int], totals: Sequence[int]) -> tuple[float, float]:
    """(mean, a + b) of the beta-binomial law that is likeliest, a + b at most `_STRONGEST`."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import betaln, expit

    seen, all_ = np.asarray(counts, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    share = min(max(float(seen.sum() / all_.sum()), 1e-6), 1 - 1e-6)

    def unlikely(place: tuple[float, float]) -> float:
        mean, worth = float(expit(place[0])), math.exp(place[1])
        a, b = max(mean * worth, 1e-300), max((1 - mean) * worth, 1e-300)
        return -float((betaln(a + seen, b + all_ - seen) - betaln(a, b)).sum())

    box = [(-20.0, 20.0), (math.log(1e-3), math.log(_STRONGEST))]
    starts = [(math.log(share / (1 - share)), math.log(worth)) for worth in (1.0, 10.0, 100.0, 1e4)]
    fits = [minimize(unlikely, start, method="L-BFGS-B", bounds=box) for start in starts]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    return float(expit(best[0])), math.exp(float(best[1]))


def _posterior(count: float, total: float, prior: tuple[float, float]) -> tuple[float, float]:
    if not (total > 0 and 0 <= count <= total and math.isfinite(total)):
        raise ValueError(f"{count} of {total} is not a share")
    if not (min(prior) > 0 and math.isfinite(sum(prior))):
        raise ValueError(f"the parameters of a prior are positive, got {list(prior)}")
    return prior[0] + count, prior[1] + total - count
