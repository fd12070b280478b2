"""One figure for a whole policy: the mean of its rules' means, with weights that are declared before the audit.

score = Σ w_r m_r / Σ w_r. With prompts shared between rules their errors are not independent: the variance is

    Var = Σ_r Σ_s w_r w_s Cov(m_r, m_s) = Σ_c (Σ_r w_r f_r Σ_{i∈c} (x_ri − m_r)/n_r)²,   f_r² = C_r/(C_r − 1),

which for rules without common clusters is Σ w² Var. The interval adds up, with these correlations, how far the interval
of each rule reaches (Zou, Huang and Zhang 2009, Biometrical Journal 51:1-15), so that it is no point where every rule
was kept. A score hides the worst rule: show it beside the rules, never in their place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

NO_SPREAD = 1e-12
"""A standard error below this is what rounding leaves of none."""


@dataclass(frozen=True, slots=True)
class RuleValues:
    """Values [n] in [0, 1] of a rule (1: kept, or a score) and the cluster of each (None: independent samples that no
    other rule shares)."""

    values: tuple[float, ...]
    clusters: tuple[Hashable, ...] | None = None


@dataclass(frozen=True, slots=True)
class PolicyScore:
    """The weighted mean over rules.

    Attributes:
        score: in [0, 1]. standard_error: with the covariances of shared clusters. interval: two-sided, never a point.
        weights: (rule, its share of the weight), as declared.
        rules: (rule, its estimate), in the order of the weights.
        worst: the rule with the lowest mean among those with weight.
        warnings: sentences for the reader.
    """

    score: float
    standard_error: float
    interval: Interval
    weights: tuple[tuple[str, float], ...]
    rules: tuple[tuple[str, clustered.ClusteredEstimate], ...]
    worst: str
    warnings: tuple[str, ...]


def policy_score(
    rules: Mapping[str, RuleValues], weights: Mapping[str, float], confidence: float = CONFIDENCE
) -> PolicyScore:
    """The score of the rules with these weights (any scale; they are divided by their sum).

    Where two rules share clusters and one of them never varied, their correlation is unknown and taken as 1, the
    widest. Raises ValueError: no rules, rules and weights that do not name each other, a weight that is negative or not
    finite, all weights zero, or an unusable rule (named), such as one without values.
    """
    shares = _shares(rules, weights)
    estimates: dict[str, clustered.ClusteredEstimate] = {}
    pulls: dict[str, dict[Hashable, float]] = {}
    for name in shares:
        try:
            estimates[name], pulls[name] = _rule(name, rules[name], confidence)
        except ValueError as error:
            raise ValueError(f"rule {name!r}: {error}") from error
    names = list(shares)
    score = math.fsum(shares[name] * estimates[name].mean for name in names)
    variance = low = high = 0.0
    for one in names:
        for two in names:
            weight = shares[one] * shares[two]
            covariance, correlation = _together(pulls[one], pulls[two], one == two)
            variance += weight * covariance
            low += weight * correlation * _reach(estimates[one], False) * _reach(estimates[two], False)
            high += weight * correlation * _reach(estimates[one], True) * _reach(estimates[two], True)
    low, high = score - math.sqrt(max(0.0, low)), score + math.sqrt(max(0.0, high))
    return PolicyScore(
        score,
        math.sqrt(max(0.0, variance)),
        Interval(max(0.0, low), min(1.0, high)),
        tuple(shares.items()),
        tuple(estimates.items()),
        min((name for name in names if shares[name] > 0), key=lambda name: estimates[name].mean),
        tuple(f"rule {name!r}: {text}" for name in names for text in estimates[name].warnings),
    )


def _shares(rules: Mapping[str, RuleValues], weights: Mapping[str, float]) -> dict[str, float]:
    if not rules:
        raise ValueError("there are no rules: at least one is needed")
    for name in rules:
        if name not in weights:
            raise ValueError(f"rule {name!r} has no weight: declare one, 0 where it should not count")
    for name, weight in weights.items():
        if name not in rules:
            raise ValueError(f"the weight of {name!r} belongs to no rule that was audited")
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of {name!r} is {weight}; a weight is a finite number from 0")
    total = math.fsum(weights.values())
    if total <= 0:
        raise ValueError("all weights are 0: at least one rule has to count")
    return {name: weight / total for name, weight in weights.items()}


def _rule(name: str, rule: RuleValues, confidence: float) -> tuple[clustered.ClusteredEstimate, dict[Hashable, float]]:
    """(estimate, how far each cluster draws the mean, scaled so that the squares sum to the squared error)."""
    values = clustered.finite(rule.values)
    # samples without clusters are shared with no other rule
    clusters: Sequence[Hashable] = (
        [(name, place) for place in range(len(values))] if rule.clusters is None else rule.clusters
    )
    is_share = set(values) <= {0.0, 1.0}
    estimate = (clustered.rate if is_share else clustered.mean)(values, clusters, confidence)
    sums, _ = clustered.residues(values, clusters)
    scale = math.sqrt(len(sums) / (len(sums) - 1)) / len(values)
    return estimate, {key: part * scale for key, part in sums.items()}


def _together(one: dict[Hashable, float], two: dict[Hashable, float], is_same: bool) -> tuple[float, float]:
    """(covariance, correlation) of two rules' means."""
    shared = one.keys() & two.keys()
    covariance = math.fsum(one[key] * two[key] for key in shared)
    if is_same:
        return covariance, 1.0
    if not shared:
        return 0.0, 0.0
    norms = math.hypot(*one.values()), math.hypot(*two.values())
    return covariance, covariance / (norms[0] * norms[1]) if min(norms) >= NO_SPREAD else 1.0


def _reach(estimate: clustered.ClusteredEstimate, is_up: bool) -> float:
    """How far the interval reaches from the mean, on one side."""
    return estimate.interval.high - estimate.mean if is_up else estimate.mean - estimate.interval.low
