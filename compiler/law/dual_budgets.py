"""Budgets beyond a plain rate: elastic by authority level, and among the responses with a property.

* Elastic: E f ≤ b + s at price ρ per unit of slack is the dual box 0 ≤ μ ≤ ρ (LAW.md §1). A conflict is paid for by the
  budget whose price is reached first, the one of the lower level.
* Conditional: E[f | g] ≤ b is E[1_g (f − b)] ≤ 0, a budget of bound 0 on the feature 1_g (f − b).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import FloatArray, as_vector
from bylaw.compiler.law.samples import Estimate, Moments

__all__ = ["conditional_feature", "conditional_rate", "elastic_box"]


def elastic_box(levels: Sequence[str], prices: Mapping[str, float], unit: npt.ArrayLike | None = None) -> FloatArray:
    """[J] the box of ``solve_dual`` for budgets of these authority levels.

    Args:
        levels: J names of levels.
        prices: nats per unit of slack by level, lowest authority first and strictly rising; inf makes a level rigid.
        unit: [J] > 0, how much of the feature is one unit of slack (tokens, shares); None means 1 for all. Levels
            outrank each other only where their budgets' slack is counted in comparable units.

    Raises:
        ValueError: an unknown level, prices that are not positive and rising, or units that are not positive.
    """
    values = list(prices.values())
    if any(not value > 0.0 for value in values) or any(a >= b for a, b in pairwise(values)):
        listed = ", ".join(f"{name} {value:g}" for name, value in prices.items())
        raise ValueError(f"prices must be positive and rise from the lowest level to the highest, got {listed}")
    unknown = sorted(set(levels) - set(prices))
    if unknown:
        raise ValueError(f"no price for level(s) {', '.join(unknown)}; known are {', '.join(prices)}")
    sizes = np.ones(len(levels)) if unit is None else as_vector(unit, "unit")
    if sizes.shape != (len(levels),) or not (sizes > 0.0).all() or not np.isfinite(sizes).all():
        raise ValueError(f"unit must be {len(levels)} positive numbers")
    return np.array([prices[level] for level in levels], dtype=np.float64) / sizes


def conditional_feature(values: npt.ArrayLike, condition: npt.ArrayLike, bound: float) -> FloatArray:
    """[N] the feature 1_g (f − b) of budget 0: the mean of ``values`` where ``condition`` holds, against ``bound``.

    Values may be anything (NaN too) where the condition does not hold. It can be met by making g rarer: watch E[1_g].

    Raises:
        ValueError: shapes differ, the bound is not finite, or a value is not finite where the condition holds.
    """
    feature, holds = np.array(values, dtype=np.float64), np.array(condition, dtype=np.bool_)
    if feature.ndim != 1 or feature.shape != holds.shape:
        raise ValueError(f"values and condition must be vectors of one length, got {feature.shape} and {holds.shape}")
    if not np.isfinite(bound):
        raise ValueError(f"the bound must be finite, got {bound:g}")
    if not np.isfinite(feature[holds]).all():
        raise ValueError("a value is not finite where the condition holds")
    shifted: FloatArray = np.where(holds, feature - bound, 0.0)
    return shifted


def conditional_rate(moments: Moments, feature: int, condition: int) -> Estimate:
    """E[f | g] with its Monte-Carlo error by the delta method for a ratio.

    Args:
        moments: of a population with 1_g·f as feature number ``feature`` and 1_g as number ``condition``.
        feature: index of 1_g·f.
        condition: index of 1_g.

    Raises:
        ValueError: the condition never holds on the samples, so that there is no rate.
    """
    top, base = float(moments.mean[feature]), float(moments.mean[condition])
    if not base > 0.0:
        raise ValueError("the condition never holds on the samples: there is no rate among the responses with it")
    rate = top / base
    gradient = np.array([1.0, -rate]) / base
    block = moments.mean_variance[np.ix_([feature, condition], [feature, condition])]
    variance = float(gradient @ block @ gradient)
    return Estimate(rate, float(np.sqrt(max(variance, 0.0))))
