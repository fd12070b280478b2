"""What a rate may be when some samples could not be scored: the estimate on the others, and the worst and best cases.

Nothing is assumed of the unscored samples (Manski 2003, Partial Identification of Probability Distributions, chapter
1): the rate lies between that with none of them a violation and that with all. The interval of the whole range reaches
from the lower end of the best case's to the upper end of the worst case's, each of the confidence given.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

MOST_UNSCORED = 0.02
"""The share of unscored samples above which a gate fails, unless said otherwise."""


@dataclass(frozen=True, slots=True)
class BoundedRate:
    """The rate of a rule with samples [n] of which some are unscored.

    Attributes:
        rate, interval: of the scored samples; None and [0, 1] where none was scored.
        best, worst: the rate with every unscored sample kept, and broken. best_interval, worst_interval: of these.
        interval_of_all: holds the true rate of all samples whatever the unscored ones are.
        scored, unscored: how many. unscored_share, unscored_interval: of all samples.
        is_scored_enough: the observed share is at most the one allowed.
    """

    rate: float | None
    interval: Interval
    best: float
    worst: float
    best_interval: Interval
    worst_interval: Interval
    interval_of_all: Interval
    scored: int
    unscored: int
    unscored_share: float
    unscored_interval: Interval
    is_scored_enough: bool


def bounded_rate(
    outcomes: Sequence[float | None],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    most_unscored: float = MOST_UNSCORED,
) -> BoundedRate:
    """The rate of outcomes [n]: 1 broken, 0 kept, None unscored; clustered or independent.

    Raises ValueError: no outcomes, one other than these, lengths that differ, a bad confidence or share, or clusters
    that are all the same. Scored samples that are fewer than two clusters have the interval [0, 1].
    """
    clustered.confident(confidence)
    if not 0 <= most_unscored <= 1:
        raise ValueError(f"the most that may be unscored is a share, got {most_unscored}")
    names = clustered.keys(clusters, len(outcomes))
    known = [(value, name) for value, name in zip(outcomes, names, strict=True) if value is not None]
    cases = {case: [case if value is None else value for value in outcomes] for case in (0.0, 1.0)}
    best, worst = (_rate(cases[case], names, confidence) for case in (0.0, 1.0))
    missing = [float(value is None) for value in outcomes]
    lost = _rate(missing, names, confidence)
    interval, rate = Interval(0.0, 1.0), None
    if known:
        values = [value for value, _ in known]
        rate = sum(values) / len(values)
        if len({name for _, name in known}) > 1:
            interval = _rate(values, [name for _, name in known], confidence)[1]
    share = sum(missing) / len(missing)
    return BoundedRate(
        rate,
        interval,
        best[0],
        worst[0],
        best[1],
        worst[1],
        Interval(best[1].low, worst[1].high),
        len(known),
        len(outcomes) - len(known),
        share,
        lost[1],
        share <= most_unscored,
    )


def _rate(values: Sequence[float], names: list[Hashable], confidence: float) -> tuple[float, Interval]:
    """(share, interval); one independent sample alone has an interval too."""
    found = clustered.binary(values)
    if len(found) == 1:
        return found[0], statistics.wilson(found[0], 1, confidence)
    estimate = clustered.rate(found, names, confidence)
    return estimate.mean, estimate.interval
