"""Platt scaling and thresholds: the numerical part of a calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.conformal import BoolArray, FloatArray
from bylaw.runtime.concepts.folds import grouped_folds
from bylaw.runtime.concepts.performance import IntArray

_STEPS = 100
_SEED = 7
# Draws for a threshold: fewer for many examples, where one draw is like the next.
_NUMBERS_DRAWN, _FEWEST_AND_MOST = 60_000, (20, 200)


def sigmoid(x: npt.ArrayLike) -> FloatArray:
    """1 / (1 + exp(−x)) without overflow."""
    values = np.asarray(x, dtype=float)
    small = np.exp(-np.abs(values))
    found: FloatArray = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return found


def logit(share: float) -> float:
    """The log odds of a share strictly between 0 and 1, in nats."""
    return math.log(share) - math.log1p(-share)


def platt(raw: FloatArray, does: BoolArray) -> tuple[float, float]:
    """(slope, intercept) of σ(slope·raw + intercept) by maximum likelihood with Platt's targets, (m + 1)/(m + 2) and
    1/(n + 2) for m and n examples, so that it is finite where raw scores separate the classes. Newton's method with
    halved steps. A slope below 0 would turn a model's answers round: it becomes 0, and the probability the mean target.
    """
    middle, scale = float(raw.mean()), float(raw.std())
    targets = _targets(does)
    # the mean of equal numbers may be a digit beside them
    if scale <= 1e-12 * max(1.0, abs(middle)):
        return 0.0, logit(float(targets.mean()))
    columns = np.stack([(raw - middle) / scale, np.ones_like(raw)], axis=1)
    found = np.array([0.0, logit(float(targets.mean()))])
    loss = _loss(columns @ found, targets)
    for _ in range(_STEPS):
        p = sigmoid(columns @ found)
        gradient = columns.T @ (targets - p)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        size = 1.0
        while _loss(columns @ (found + size * step), targets) > loss and size > 1e-9:
            size /= 2
        found = found + size * step
        loss = _loss(columns @ found, targets)
        if float(np.abs(gradient).max()) < 1e-10 * len(raw):
            break
    if found[0] <= 0:
        return 0.0, logit(float(targets.mean()))
    return float(found[0] / scale), float(found[1] - found[0] * middle / scale)


def _targets(does: BoolArray) -> FloatArray:
    positives, negatives = int(does.sum()), int((~does).sum())
    return np.where(does, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _loss(margin: FloatArray, targets: FloatArray) -> float:
    return float((np.logaddexp(0.0, margin) - targets * margin).sum())


def threshold(raw: FloatArray, does: BoolArray, groups: IntArray, how: Literal["midpoint", "out_of_fold"]) -> float:
    """The raw score at which to decide: halfway between the means of the classes, or the mean of where balanced
    accuracy is best in draws of the Bayesian bootstrap over groups. The single best place moves much more from one
    set of examples to the next, and is no better on texts that it was not found on."""
    if how == "midpoint":
        return float((raw[does].mean() + raw[~does].mean()) / 2)
    draws = int(np.clip(_NUMBERS_DRAWN // len(raw), *_FEWEST_AND_MOST))
    return float(_thresholds(raw, does, how, _weights(groups, np.random.default_rng(_SEED), draws)).mean())


def _weights(groups: IntArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """[draws, N] weights from the exponential distribution, the same for all examples of a group."""
    return rng.exponential(size=(draws, int(groups.max()) + 1))[:, groups]


def _thresholds(raw: FloatArray, does: BoolArray, how: str, weights: FloatArray) -> FloatArray:
    """[B] thresholds for weights [B, N] of the examples: midpoints, or where balanced accuracy is best (halfway to the
    next score; of equally good places the mean)."""
    yes = weights * does
    no = weights - yes
    if how == "midpoint":
        means: FloatArray = ((yes @ raw) / yes.sum(axis=1) + (no @ raw) / no.sum(axis=1)) / 2
        return means
    order = np.argsort(raw, kind="stable")
    ordered = raw[order]
    # a cut after each score that is followed by a greater one; with none there is nothing to cut
    places = np.flatnonzero(np.diff(ordered) > 0)
    if not len(places):
        return np.full(len(weights), ordered[0])
    missed = np.cumsum(yes[:, order], axis=1)[:, places] / yes.sum(axis=1, keepdims=True)
    spared = np.cumsum(no[:, order], axis=1)[:, places] / no.sum(axis=1, keepdims=True)
    gain = spared - missed
    cuts = (ordered[places] + ordered[places + 1]) / 2
    best = gain >= gain.max(axis=1, keepdims=True) - 1e-12
    found: FloatArray = (best @ cuts) / best.sum(axis=1)
    return found


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """[N] each, from a calibration without the text's fold: the probability, the score at even odds, and the decision
    at the best threshold (a score of 0.5)."""

    probability: FloatArray
    score: FloatArray
    above: BoolArray


def cross_fitted(
    raw: FloatArray, does: BoolArray, groups: IntArray, how: Literal["midpoint", "out_of_fold"]
) -> CrossFitted:
    """Platt scaling and the threshold made again without each of five folds of whole groups. Where that cannot be (one
    group holds all of a class), they are those of all examples."""
    probability, score, above = np.empty(len(raw)), np.empty(len(raw)), np.empty(len(raw), dtype=bool)
    folds = grouped_folds(does, groups.tolist())
    for fold in (0,) if folds is None else np.unique(folds):
        out = np.ones(len(raw), dtype=bool) if folds is None else folds == fold
        rest = out if folds is None else ~out
        slope, intercept = platt(raw[rest], does[rest])
        probability[out] = sigmoid(slope * raw[out] + intercept)
        cut = threshold(raw[rest], does[rest], groups[rest], how)
        score[out], above[out] = sigmoid(slope * (raw[out] - cut)), raw[out] > cut
    return CrossFitted(probability, score, above)
