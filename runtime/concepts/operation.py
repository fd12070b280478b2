"""What the threshold of a policy makes of a concept's scores, on examples that were held out.

A calibration says how good a score of 0.5 is as threshold. An author may write another one (`threshold 0.05`), and then
other texts express the concept: what is said of the scores has to be said of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bylaw.runtime.audit.clustered import rate_interval
from bylaw.runtime.concepts.examples import HeldOut
from bylaw.runtime.concepts.performance import Difference, Estimated

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration

MOST_FOLDS = 500
"""Of the check of prediction sets: so many groups are left out one by one, of more several together."""
BEST = 0.5
"""The score at which examples are told apart best: scores are made so."""


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, with the 95 % interval of the share (texts of one conversation count as what they are)."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.total


@dataclass(frozen=True, slots=True)
class Sets:
    """What class-conditional prediction sets did with examples, each held out with its group: shares of those that do
    and of those that do not whose set held the truth, and of all that got no score: their set was no single answer, or
    not the one that a score of 0.5 gives. `against`: of all, those with a score whose set says the opposite of what the
    threshold of the policy makes of it."""

    does: Share
    does_not: Share
    unscored: Share
    against: Share


@dataclass(frozen=True, slots=True)
class Operation:
    """What a threshold on the score does with examples that were held out. `balanced_accuracy`, `accuracy`: of saying
    "does" from `threshold` on, cross-fitted; `from_best`: the balanced accuracy less that of a score of 0.5."""

    threshold: float
    balanced_accuracy: Estimated
    accuracy: Estimated
    from_best: Difference

    @property
    def is_worse(self) -> bool:
        """Whether 0.5 would clearly tell the examples apart better: the interval of the difference excludes 0."""
        return self.from_best.high < 0


def operation(threshold: float, held: HeldOut | None, calibration: Calibration) -> Operation | None:
    """How good a threshold is; None where it is not 0.5 and no scores of examples are known (`held` is None)."""
    if threshold == BEST:
        none = Difference(0.0, 0.0, 0.0)
        return Operation(threshold, calibration.balanced_accuracy, calibration.accuracy, none)
    if held is None:
        return None
    from bylaw.runtime.concepts import performance
    from bylaw.runtime.concepts.calibration_fit import cross_fitted

    raw, does, groups = _arrays(held)
    crossed = cross_fitted(raw, does, groups, calibration.how)
    above = crossed.score >= threshold
    found = performance.decisions(above, does, groups)
    return Operation(threshold, found.balanced, found.plain, performance.moved(above, crossed.above, does, groups))


def held_out_sets(held: HeldOut, alpha: float, threshold: float = BEST) -> Sets:
    """Makes prediction sets for each example from those of the other groups, and counts what they hold."""
    from bylaw.runtime.concepts.calibration import FEW_BELOW
    from bylaw.runtime.concepts.calibration_fit import cross_fitted
    from bylaw.runtime.concepts.conformal import class_conformal

    raw, does, groups = _arrays(held)
    folds = groups % MOST_FOLDS
    sets = np.empty((len(raw), 2), dtype=bool)
    for fold in np.unique(folds):
        out = folds == fold
        sets[out] = class_conformal(raw[~out], does[~out]).sets(raw[out], alpha)
    truth = np.where(does, sets[:, 1], sets[:, 0])
    is_few = min(int(does.sum()), int((~does).sum())) < FEW_BELOW
    score = cross_fitted(raw, does, groups, "midpoint" if is_few else "out_of_fold").score
    has_score = (sets.sum(axis=1) == 1) & (sets[:, 1] == (score >= BEST))
    return Sets(
        share(truth[does], groups[does]),
        share(truth[~does], groups[~does]),
        share(~has_score, groups),
        share(has_score & (sets[:, 1] != (score >= threshold)), groups),
    )


def _arrays(held: HeldOut) -> tuple[Any, Any, Any]:
    """(raw scores, labels, numbers of groups), each [N]."""
    from bylaw.runtime.concepts.performance import group_numbers

    does = np.array([each.expresses for each in held.examples], dtype=bool)
    return np.array(held.raw), does, group_numbers([each.group for each in held.examples], len(does))


def share(outcomes: Sequence[Any] | Any, groups: Sequence[Any] | Any) -> Share:
    """The share of outcomes [N] that are true, with its interval; `groups` [N]: the conversation of each."""
    said, of = [bool(each) for each in outcomes], [int(each) for each in groups]
    value = sum(said) / len(said)
    found = rate_interval(said, of if len(set(of)) < len(of) else None)
    return Share(sum(said), len(said), min(found.low, value), max(found.high, value))
