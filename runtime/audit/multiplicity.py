"""Many rules at once: p-values of "this rule is broken more often than its limit", adjusted for how many were tested.

For a list of discoveries Benjamini and Hochberg hold the expected share of false ones to the level, when tests are
independent or positively dependent (1995; Benjamini and Yekutieli 2001, theorem 1.2), Benjamini and Yekutieli under
any dependence (theorem 1.3), and Holm 1979 the probability of even one false one, under any dependence: for gates.
An adjusted p-value is the smallest level at which its hypothesis is rejected. Never gate on a raw p-value.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.counts import ClusterCounts

Method = Literal["benjamini-hochberg", "holm", "benjamini-yekutieli"]

DISCOVERY_LEVEL = 0.10
"""The share of false discoveries that a list of broken rules may have, unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """p-values of m tests, in the order they came in, with their adjusted ones.

    Attributes:
        p_values, adjusted, rejected: [m] each; rejected where adjusted ≤ level.
        method, level: what is held to the level: the expected share of false discoveries (Benjamini and Hochberg or
            Yekutieli) or the probability of any (Holm).
    """

    p_values: tuple[float, ...]
    adjusted: tuple[float, ...]
    rejected: tuple[bool, ...]
    method: Method
    level: float

    @property
    def discoveries(self) -> int:
        """How many hypotheses are rejected."""
        return sum(self.rejected)


@dataclass(frozen=True, slots=True)
class RuleSample:
    """Outcomes [n] of a rule (1: broken), the cluster of each (None: independent), and the rate it may have."""

    name: str
    outcomes: tuple[float, ...]
    limit: float
    clusters: tuple[Hashable, ...] | None = None


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """A rule's observed rate, its p-value (rate above limit, one-sided, exact), and whether it counts as broken."""

    name: str
    rate: float
    limit: float
    samples: int
    effective: float
    p_value: float
    adjusted: float
    is_found: bool


def adjust(
    p_values: Sequence[float], method: Method = "benjamini-hochberg", level: float = DISCOVERY_LEVEL
) -> Adjusted:
    """The adjusted p-values of m tests. Raises ValueError: no p-value, one outside [0, 1], a bad level or method."""
    if method not in get_args(Method):
        raise ValueError(f"{method!r} is no method: choose {', '.join(get_args(Method))}")
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    found = clustered.finite(p_values, "p-values")
    for place, value in enumerate(found, 1):
        if not 0 <= value <= 1:
            raise ValueError(f"p-value {place} is {value}; it lies between 0 and 1")
    adjusted = _step_down(found) if method == "holm" else _step_up(found, method == "benjamini-yekutieli")
    return Adjusted(tuple(found), tuple(adjusted), tuple(p <= level for p in adjusted), method, level)


def _step_up(p_values: list[float], any_dependence: bool) -> list[float]:
    """min over j ≥ i of p_(j) · m/j, times Σ 1/j for any dependence."""
    tests = len(p_values)
    factor = math.fsum(1 / rank for rank in range(1, tests + 1)) if any_dependence else 1.0
    adjusted, least = [1.0] * tests, 1.0
    order = sorted(range(tests), key=p_values.__getitem__)
    for rank in range(tests, 0, -1):
        place = order[rank - 1]
        least = min(least, p_values[place] * factor * tests / rank)
        adjusted[place] = least
    return adjusted


def _step_down(p_values: list[float]) -> list[float]:
    """max over j ≤ i of p_(j) · (m − j + 1), at most 1."""
    tests = len(p_values)
    adjusted, most = [1.0] * tests, 0.0
    for passed, place in enumerate(sorted(range(tests), key=p_values.__getitem__)):
        most = max(most, p_values[place] * (tests - passed))
        adjusted[place] = min(1.0, most)
    return adjusted


def above(count: float, total: float, limit: float) -> float:
    """P(X ≥ count) for X ~ Binomial(total, limit): small where the rate is above the limit.

    Exact for whole counts, and the matching beta probability for an effective number of samples: it is below 1 − c
    just where `statistics.exact_lower(count, total, c)` is above the limit. Raises ValueError when the count is not
    between 0 and total > 0, or the limit not in [0, 1].
    """
    _check(count, total, limit)
    return 1.0 if count == 0 else statistics.beta_cdf(limit, count, total - count + 1)


def below(count: float, total: float, limit: float) -> float:
    """P(X ≤ count) for X ~ Binomial(total, limit): small where the rate is below the limit. Errors as in `above`."""
    _check(count, total, limit)
    return 1.0 if count == total else 1 - statistics.beta_cdf(limit, count + 1, total - count)


def clustered_above(outcomes: Sequence[float], limit: float, clusters: Sequence[Hashable] | None = None) -> float:
    """The p-value of "the rate is above the limit" for outcomes [n] of 0 and 1, dependent inside a cluster.

    Counts are divided by the design effect of `clustered.rate`, and by (t/z)² for the few degrees of freedom in which
    it is known (Korn and Graubard 1998, Survey Methodology 24:193-201). Raises ValueError as `clustered.rate` and
    `above` do.
    """
    return above(*_counts(outcomes, clusters), limit)


def clustered_below(outcomes: Sequence[float], limit: float, clusters: Sequence[Hashable] | None = None) -> float:
    """The p-value of "the rate is below the limit", for gates. As `clustered_above`."""
    return below(*_counts(outcomes, clusters), limit)


def _counts(outcomes: Sequence[float], clusters: Sequence[Hashable] | None) -> tuple[float, float]:
    """(effective count, effective total) of outcomes [n]."""
    found = clustered.binary(outcomes)
    names = clustered.keys(clusters, len(found))
    if clusters is None or len(set(names)) == len(found):
        return math.fsum(found), float(len(found))
    if len(set(names)) < 2:
        raise ValueError("one cluster says nothing about the spread between clusters: at least two are needed")
    return clustered.effective_counts(ClusterCounts.of_outcomes(found, names))


def broken_rules(
    rules: Sequence[RuleSample], method: Method = "benjamini-hochberg", level: float = DISCOVERY_LEVEL
) -> tuple[RuleFinding, ...]:
    """Which of m rules are broken more often than their limits, in the order given.

    Raises ValueError: no rules, two of one name, or an unusable sample (its rule is named).
    """
    if not rules:
        raise ValueError("there are no rules: at least one is needed")
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two rules are called {name!r}: give each its own name")
    counts, p_values = [], []
    for rule in rules:
        try:
            counted = _counts(rule.outcomes, rule.clusters)
            p_values.append(above(*counted, rule.limit))
        except ValueError as error:
            raise ValueError(f"rule {rule.name!r}: {error}") from error
        counts.append(counted)
    result = adjust(p_values, method, level)
    return tuple(
        RuleFinding(
            rule.name, sum(rule.outcomes) / len(rule.outcomes), rule.limit, len(rule.outcomes), counted[1], p, q, found
        )
        for rule, counted, p, q, found in zip(
            rules, counts, result.p_values, result.adjusted, result.rejected, strict=True
        )
    )


def _check(count: float, total: float, limit: float) -> None:
    if not (total > 0 and 0 <= count <= total and math.isfinite(total)):
        raise ValueError(f"{count} of {total} is not a share")
    if not 0 <= limit <= 1:
        raise ValueError(f"a limit lies between 0 and 1, got {limit}")
