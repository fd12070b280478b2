"""What corrected rates have in common: their error, their result, and moments with the divisor n − 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.record import Interval


class CorrectionError(Exception):
    """Labels from which nothing can be said about a judge or a rate; text fit for users."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A rate (or mean score) of what people would have said, estimated with a judge's help.

    `value` with its standard error and 95 % interval; `power`: how much the verdicts count (PPI++'s λ: 0 labels alone,
    1 fully; None for Rogan–Gladen). `labels_alone`: what the labels say without a judge, `judged`: what the judge says
    without labels: the correction shows beside both. `labelled`, `audited`: texts with a label, texts with a verdict
    in all.
    """

    value: float
    standard_error: float
    interval: Interval
    power: float | None
    labels_alone: float | None
    judged: float
    labelled: int
    audited: int

    def describe(self) -> str:
        """One line: the rate with its interval, and the judge's own."""
        return (
            f"{self.value:.3f} {shown(self.interval)} corrected with {self.labelled} labels; the judge alone says "
            f"{self.judged:.3f}"
        )


def check_pairs(people: Sequence[object], judge: Sequence[object]) -> None:
    """Raises CorrectionError for lengths that differ and for none at all."""
    if len(people) != len(judge):
        raise CorrectionError(f"there are {len(people)} labels and {len(judge)} verdicts; each label has one verdict")
    if not people:
        raise CorrectionError("no text has both a label and a verdict")


def check_values(*values: Sequence[float]) -> None:
    """Raises CorrectionError for a label or verdict that is no number from 0 to 1."""
    for value in (value for part in values for value in part):
        # not a number is not within either
        if not 0 <= value <= 1:
            raise CorrectionError(f"labels and verdicts are numbers from 0 to 1, not {value}")


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return math.fsum(values) / len(values)


def variance(values: Sequence[float]) -> float:
    """With the divisor n − 1; 0 of a single value."""
    return covariance(values, values)


def covariance(left: Sequence[float], right: Sequence[float]) -> float:
    """With the divisor n − 1; 0 of a single value."""
    if len(left) < 2:
        return 0.0
    at = (mean(left), mean(right))
    return math.fsum((x - at[0]) * (y - at[1]) for x, y in zip(left, right, strict=True)) / (len(left) - 1)


def around(found: Interval, value: float) -> Interval:
    """Inside 0 to 1, and around the value."""
    low, high = (min(1.0, max(0.0, edge)) for edge in (found.low, found.high))
    return Interval(min(low, value), max(high, value))


def shown(interval: Interval) -> str:
    """As in `[0.12, 0.34]`."""
    return f"[{interval.low:.2f}, {interval.high:.2f}]"
