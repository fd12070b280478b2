"""Intervals of fitted weights by the bootstrap over prompts.

Judgements of one prompt are not independent, so whole prompts are drawn with replacement (Efron and Tibshirani 1993;
Davison and Hinkley 1997 §3.8). A resample only changes the counts of the merged rows; every one is fitted exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import numpy as np

from bylaw.compiler.weights.fit import FitOptions, SeparableJudgements, model_of, solve
from bylaw.compiler.weights.problem import FloatArray, PairProblem
from bylaw.compiler.weights.rows import Model, unjudged_directions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_VISIBLE = 1e-7
_BLOCK = 64  # resamples whose counts are held at once


def bootstrap_intervals(
    problem: PairProblem, *, resamples: int, seed: int, level: float = 0.95, **options: Unpack[FitOptions]
) -> FloatArray:
    """[K, 2] percentile intervals of the weights, in nats, at this level.

    In a resample whose judgements do not say a weight (``FittedWeights.undetermined``) it may be anything within its
    bounds, and where the logistic loss has no minimum the weights along its direction are infinite: both widen the
    interval. With few prompts (below about 30) the interval is too narrow, as every bootstrap is.

    Args:
        resamples: ≥ 2; about 1,000 for a 95 % interval. seed: of numpy's default generator.
        level: in (0, 1). options: those of ``fit_weights``.

    Raises:
        ValueError: an argument is out of range, or there are fewer than two prompts.
        NotSolved: a resample could not be certified.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    model = model_of(problem, **options)
    counts = counts_by_group(problem, model)
    groups = counts.shape[0]
    if groups < 2:
        raise ValueError("group names a single prompt: intervals by prompt need at least two (judge more prompts)")
    generator = np.random.default_rng(seed)
    ends = np.empty((resamples, 2, len(problem.names)))
    for start in range(0, resamples, _BLOCK):
        block = ends[start : start + _BLOCK]
        drawn = generator.multinomial(groups, np.full(groups, 1.0 / groups), size=len(block)).astype(np.float64)
        for resample, count in zip(block, np.asarray(drawn @ counts), strict=True):
            resample[:] = _range_of(model, count)
    tail = 0.5 * (1.0 - level)
    low = np.quantile(ends[:, 0], tail, axis=0, method="inverted_cdf")
    high = np.quantile(ends[:, 1], 1.0 - tail, axis=0, method="inverted_cdf")
    return np.column_stack([low, high])


def counts_by_group(problem: PairProblem, model: Model) -> csr_array:
    """[G, R] (sparse): how many judgements of each prompt, in ascending order, each row of the loss stands for."""
    from scipy.sparse import csr_array

    prompts, prompt = np.unique(problem.group, return_inverse=True)
    rows = model.rows
    entries = (problem.count[rows.source], (prompt[rows.source], rows.kind))
    return csr_array(entries, shape=(prompts.size, rows.count.size))


def _range_of(model: Model, count: FloatArray) -> FloatArray:
    """[2, K]: the smallest and largest weights that are as good as any for these counts [R]."""
    constraints = model.constraints
    try:
        weights = solve(model, count).weights
        ends = np.stack([weights, weights])
    except SeparableJudgements as error:
        return _limit(model, count, error.direction)
    unseen = unjudged_directions(model.matrix[count > 0.0])
    free = (constraints.expand @ np.abs(unseen).max(axis=1, initial=0.0) > _VISIBLE) | model.idle
    ends[0, free], ends[1, free] = constraints.lower[free], constraints.upper[free]
    return ends


def _limit(model: Model, count: FloatArray, direction: FloatArray) -> FloatArray:
    """[2, K] where weights run to infinity: rows that rise along the direction are met for ever, the others decide.

    What the others do not decide is free within its bounds.
    """
    rising = model.rows.differences @ direction > _VISIBLE * np.abs(direction).max()
    left = np.where(rising, 0.0, count)
    box = np.stack([model.constraints.lower, model.constraints.upper])
    ends = _range_of(model, left) if left.any() else box
    ends[1, direction > 0.0] = np.inf
    ends[0, direction < 0.0] = -np.inf
    return ends
