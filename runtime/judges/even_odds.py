"""What one verdict of a judge says of a text, from how often the judge was right on texts that people labelled."""

from __future__ import annotations

import math

from bylaw.runtime.audit.statistics import clopper_pearson
from bylaw.runtime.judges.correction import JudgeQuality
from bylaw.runtime.record import Interval

_PSEUDO = 0.5


def score_of_verdict(quality: JudgeQuality, is_yes: bool) -> tuple[float, float, float]:
    """(score, low, high): the probability at even odds that a text does, after the judge's yes or no.

    Bayes' rule: Se/(Se + 1 − Sp) after yes, (1 − Se)/(1 − Se + Sp) after no, with half a text added to each cell, so
    that few labels never make it certain. The 95 % interval is that of the likelihood ratio, from the intervals of Se
    and Sp (MOVER: Donner and Zou, *Statistical Methods in Medical Research* 21 (2012) 347–359): those of the quality,
    made as wide as the exact ones, since where Se or Sp is near 1 a shorter one misses too often. Raises ValueError for
    a judge that no label of one kind was held against.
    """
    if quality.sensitivity_interval is None or quality.specificity_interval is None:
        raise ValueError("a judge is held against labels of both kinds")
    hit = (quality.true_positive + _PSEUDO) / (quality.positives + 2 * _PSEUDO)
    spared = (quality.true_negative + _PSEUDO) / (quality.negatives + 2 * _PSEUDO)
    of_hit = _wider(quality.sensitivity_interval, clopper_pearson(quality.true_positive, quality.positives))
    of_spared = _wider(quality.specificity_interval, clopper_pearson(quality.true_negative, quality.negatives))
    if is_yes:
        return _ratio((hit, of_hit), (1 - spared, _rest(of_spared)))
    return _ratio((1 - hit, _rest(of_hit)), (spared, of_spared))


def _ratio(above: tuple[float, Interval], below: tuple[float, Interval]) -> tuple[float, float, float]:
    """σ(log a − log b) with its interval, for two independent shares with theirs."""
    (one, of_one), (other, of_other) = above, below
    middle = math.log(one) - math.log(other)
    down = math.hypot(_log(one) - _log(min(of_one.low, one)), _log(max(of_other.high, other)) - _log(other))
    up = math.hypot(_log(max(of_one.high, one)) - _log(one), _log(other) - _log(min(of_other.low, other)))
    return _sigmoid(middle), _sigmoid(middle - down), _sigmoid(middle + up)


def _wider(one: Interval, other: Interval) -> Interval:
    return Interval(min(one.low, other.low), max(one.high, other.high))


def _rest(of: Interval) -> Interval:
    return Interval(1 - of.high, 1 - of.low)


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
