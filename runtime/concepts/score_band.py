"""The interval of a score: every calibration that the examples leave possible, and not only the best one.

A score's logit is a·(x − c). Examples say something of the slope a and of the place c where both classes are equally
likely; with few of them, or with classes that do not overlap, they say little of how steep it is, and standard errors
at the best fit are far too small. So the posterior of (a, c) is put on a grid, and the band holds at each raw score the
middle 95 % of a·(x − c): logistic likelihood with the odds of the examples' prevalence added, a half-Cauchy prior of
scale 2.5 for the slope of scores with standard deviation 1/2 (Gelman et al., *Annals of Applied Statistics* 2 (2008)
1360–1383), a flat one for c. Examples that belong together count as the number of independent ones they are worth.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from bylaw.runtime.concepts.conformal import BoolArray, FloatArray

Band: TypeAlias = tuple[tuple[float, float, float], ...]
"""(raw score, lower, upper logit of the score), raw scores ascending; beyond the ends in a straight line."""
_Box: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
_KNOTS, _GRID, _BINS, _REFINED = 25, 48, 96, 3
_LEAST_WEIGHT = 1e-5
_TAIL = 0.025
_SCALE = 1.25
_LARGEST = 60.0


def band(raw: FloatArray, does: BoolArray, independent: float) -> Band:
    """The band from examples' raw scores [N], labels [N], and the share of them that counts as independent (0 to 1)."""
    middle, scale = float(raw.mean()), float(raw.std())
    if scale <= 1e-12 * max(1.0, abs(middle)):
        # nothing is known of what other scores would mean
        return ((middle, -_LARGEST, _LARGEST), (middle + 1.0, -_LARGEST, _LARGEST))
    z = (raw - middle) / scale
    points, yes, no = _binned(z, does)
    ends = float(z.min()) - 0.5, float(z.max()) + 0.5
    # the slope by its prior probability, so that a grid of equal steps has equal prior weights
    box: _Box = ((0.0, 1.0), ends)
    for _ in range(_REFINED):
        slopes, cuts = (_steps(*side) for side in box)
        weight = _likelihood(points, yes * independent, no * independent, _slope(slopes), cuts)
        box = (_side(slopes, weight.max(axis=1), box[0]), _side(cuts, weight.max(axis=0), box[1]))
    places = np.linspace(*ends, _KNOTS)
    logits = _slope(slopes)[:, None, None] * (places - cuts[None, :, None])
    low, high = _middle(logits.reshape(-1, _KNOTS), weight.reshape(-1))
    return tuple(zip((places * scale + middle).tolist(), low.tolist(), high.tolist(), strict=True))


def within(of: Band, raw: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(lower, upper) logit of the score, for raw scores [N]."""
    knots = np.array(of)
    x = knots[:, 0]
    # the interval of knots that a score is in, or the first or last one
    at = np.clip(np.searchsorted(x, raw) - 1, 0, len(x) - 2)
    part = (raw - x[at]) / (x[at + 1] - x[at])
    low, high = (knots[at, side] + part * (knots[at + 1, side] - knots[at, side]) for side in (1, 2))
    # far beyond the examples both lines end at the same bound
    return np.clip(low, -_LARGEST, _LARGEST), np.clip(high, -_LARGEST, _LARGEST)


def _steps(low: float, high: float) -> FloatArray:
    """The middles of equal parts."""
    return low + (high - low) * (np.arange(_GRID) + 0.5) / _GRID


def _side(steps: FloatArray, weight: FloatArray, side: tuple[float, float]) -> tuple[float, float]:
    """The part of a side where there is weight, with a step more on both ends."""
    step, with_weight = steps[1] - steps[0], steps[weight > _LEAST_WEIGHT]
    return max(side[0], float(with_weight[0] - 1.5 * step)), min(side[1], float(with_weight[-1] + 1.5 * step))


def _slope(prior_probability: FloatArray) -> FloatArray:
    """Of standardised scores, by the half-Cauchy prior's quantiles."""
    found: FloatArray = _SCALE * np.tan(np.pi / 2 * prior_probability)
    return found


def _binned(z: FloatArray, does: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Neighbouring scores as one: their mean, and how many of them do and do not."""
    bins = min(_BINS, len(z))
    order = np.argsort(z, kind="stable")
    where = np.empty(len(z), dtype=np.int64)
    where[order] = np.arange(len(z)) * bins // len(z)
    yes, no, total = (np.bincount(where, values, bins).astype(float) for values in (does, ~does, z))
    return total / (yes + no), yes, no


def _likelihood(
    points: FloatArray, yes: FloatArray, no: FloatArray, slopes: FloatArray, cuts: FloatArray
) -> FloatArray:
    """[slopes, cuts] with 1 at the highest."""
    margin = slopes[:, None, None] * (points - cuts[None, :, None]) + math.log(yes.sum() / no.sum())
    log = margin @ yes - np.logaddexp(0.0, margin) @ (yes + no)
    found: FloatArray = np.exp(log - log.max())
    return found


def _middle(values: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(lower, upper) bound [K] of the middle 95 % of weighted values [M, K]."""
    order = np.argsort(values, axis=0)
    total = np.cumsum(weight[order], axis=0)
    total /= total[-1]
    columns = np.arange(values.shape[1])
    low = order[(total < _TAIL).sum(axis=0), columns]
    high = order[np.minimum((total < 1 - _TAIL).sum(axis=0), len(order) - 1), columns]
    return np.clip(values[low, columns], -_LARGEST, _LARGEST), np.clip(values[high, columns], -_LARGEST, _LARGEST)
