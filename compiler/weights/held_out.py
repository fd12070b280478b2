"""How often fitted weights put pairs of unseen prompts in the right order, beside what simpler weights reach.

Prompts, not pairs, are split into folds, and the interval counts prompts: pairs of one prompt share its responses. The
rate is a ratio of two sums over prompts (judgements right, judgements), so its variance is that of a ratio estimator
(Cochran 1977 §6); the interval is Wilson's with the number of independent judgements that this variance amounts to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from bylaw.compiler.weights.fit import FitOptions, fit_weights
from bylaw.compiler.weights.problem import FloatArray, IntArray, PairProblem

_EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Rate:
    """A rate with its 95 % interval over prompts, both in [0, 1]."""

    rate: float
    interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class PairAccuracy:
    """Accuracy on held-out pairs; a pair with equal scores counts one half, as a coin would have it.

    Attributes:
        rate, interval: share of strict judgements in the right order, with its 95 % interval over prompts.
        baseline: the same for weights of 1 everywhere (0 or a bound where 1 is not allowed).
        gain: rate − baseline with its 95 % interval over prompts (paired).
        single: the same for the best single feature of each training part.
        undecided: share of strict judgements whose scores are equal.
        ties: share of judged ties within their margin, NaN without ties.
        judgements, tied_judgements, groups, folds: how many there were.
    """

    rate: float
    interval: tuple[float, float]
    baseline: Rate
    gain: float
    gain_interval: tuple[float, float]
    single: Rate
    undecided: float
    ties: float
    judgements: float
    tied_judgements: float
    groups: int
    folds: int


def held_out_accuracy(problem: PairProblem, *, folds: int, seed: int, **options: Unpack[FitOptions]) -> PairAccuracy:
    """Accuracy of ``fit_weights`` (with these options) on prompts that it has not seen.

    The interval is about fits on a share (folds − 1)/folds of the prompts; it does not hold the variation of the split.

    Args:
        folds: 2 to the number of prompts. seed: of the split.

    Raises:
        ValueError: too few prompts, no strict pair, or an option out of range.
        SeparableJudgements, NotSolved: see ``fit_weights``.
    """
    prompts, group = np.unique(problem.group, return_inverse=True)
    if not 2 <= folds <= prompts.size:
        raise ValueError(f"folds must be from 2 to the number of prompts ({prompts.size}), got {folds}")
    if problem.tie.all():
        raise ValueError("there is no strict pair whose order could be predicted: judge some pairs better or worse")
    fold = np.random.default_rng(seed).permutation(prompts.size) % folds
    fold_of: IntArray = fold[group]
    scores = np.zeros((3, problem.pairs))
    for part in range(folds):
        seen = fold_of != part
        if not (seen & ~problem.tie).any():
            raise ValueError(f"fold {part} leaves no strict pair to fit: give fewer folds or judge more prompts")
        training = problem.selected(seen)
        test = problem.differences[~seen]
        scores[0, ~seen] = test @ fit_weights(training, **options).weights
        scores[2, ~seen] = test @ _best_single(training)
    scores[1] = problem.differences.sum(axis=1)
    return _accuracy(problem, scores, group, folds)


def _accuracy(problem: PairProblem, scores: FloatArray, group: IntArray, folds: int) -> PairAccuracy:
    strict = ~problem.tie
    count = problem.count[strict]
    right = 0.5 * (1.0 + np.where(np.abs(scores) <= _EQUAL, 0.0, np.sign(scores)))[:, strict]
    fitted, baseline, single = (cluster_rate(one, count, group[strict]) for one in right)
    within = np.abs(scores[0, problem.tie]) <= problem.margin[problem.tie] + _EQUAL
    tied = problem.count[problem.tie]
    gain, error, quantile = cluster_mean(right[0] - right[1], count, group[strict])
    return PairAccuracy(
        rate=fitted.rate,
        interval=fitted.interval,
        baseline=baseline,
        gain=gain,
        gain_interval=(max(-1.0, gain - quantile * error), min(1.0, gain + quantile * error)),
        single=single,
        undecided=float(count @ (right[0] == 0.5) / count.sum()),
        ties=float(tied @ within / tied.sum()) if tied.size else float("nan"),
        judgements=float(count.sum()),
        tied_judgements=float(tied.sum()),
        groups=int(np.unique(group).size),
        folds=folds,
    )


def _best_single(problem: PairProblem) -> FloatArray:
    """[K] weight 1 on the feature that orders most strict judgements right (the first of equals), 0 elsewhere."""
    strict = ~problem.tie
    won = problem.count[strict] @ np.sign(problem.differences[strict])
    weights = np.zeros(problem.features)
    if won.size:
        weights[int(won.argmax())] = 1.0
    return weights


def cluster_mean(values: FloatArray, count: FloatArray, group: IntArray) -> tuple[float, float, float]:
    """(Σ count·value / Σ count, its standard error over groups, Student's 97.5 % quantile); error inf of one group."""
    from scipy.stats import t

    _, index = np.unique(group, return_inverse=True)
    total = float(count.sum())
    mean = float(count @ values) / total
    deviations = np.bincount(index, weights=count * (values - mean))
    groups = deviations.size
    if groups < 2:
        return mean, float("inf"), 1.0
    error = float(np.sqrt(groups / (groups - 1) * float(deviations @ deviations))) / total
    return mean, error, float(t.ppf(0.975, groups - 1))


def cluster_rate(values: FloatArray, count: FloatArray, group: IntArray) -> Rate:
    """The rate of values in [0, 1] and its 95 % interval over groups; never of zero width.

    Without variation (all right or all wrong) every group counts as one judgement.
    """
    mean, error, quantile = cluster_mean(values, count, group)
    if not np.isfinite(error):
        return Rate(mean, (0.0, 1.0))
    groups = float(np.unique(group).size)
    size = mean * (1.0 - mean) / error**2 if error > 1e-12 else groups
    size = max(min(size, float(count.sum())), 1.0)
    square = quantile**2
    centre = (mean + square / (2.0 * size)) / (1.0 + square / size)
    half = quantile / (1.0 + square / size) * np.sqrt(mean * (1.0 - mean) / size + square / (4.0 * size**2))
    return Rate(mean, (max(0.0, float(centre - half)), min(1.0, float(centre + half))))
