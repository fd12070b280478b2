"""The two ends of an interval, for every record and every estimate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided 95 % interval unless said otherwise."""

    low: float
    high: float
