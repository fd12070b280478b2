"""How well scores tell two classes apart, with intervals that count what belongs together once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from bylaw.runtime.audit.clustered import rate_interval
from bylaw.runtime.audit.statistics import normal_quantile
from bylaw.runtime.concepts.conformal import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]
_CONFIDENCE = 0.95
_BINS = 10


@dataclass(frozen=True, slots=True)
class Estimated:
    """A value with its two-sided 95 % interval."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1:
            raise ValueError(f"a share inside its interval, not {self.low}, {self.value}, {self.high}")


@dataclass(frozen=True, slots=True)
class Decisions:
    """Accuracy of yes-or-no decisions: the mean of both classes, and over all texts."""

    balanced: Estimated
    plain: Estimated


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two shares, with its two-sided 95 % interval; below 0 where the first is the smaller one."""

    value: float
    low: float
    high: float


def group_numbers(groups: Sequence[object] | None, count: int) -> IntArray:
    """[N] numbers 0 … G − 1 of groups, in the order of their first text; "" and None are groups of their own."""
    if groups is None:
        return np.arange(count)
    numbers: dict[object, int] = {}
    keys = (("alone", i) if group in ("", None) else ("group", group) for i, group in enumerate(groups))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64, count=count)


def auc(raw: FloatArray, does: BoolArray, groups: IntArray) -> Estimated:
    """The probability that a text that does scores above one that does not (ties count half), with Newcombe's interval
    (method 5), which is right at 1. Groups that make the variance greater make the numbers of examples smaller."""
    parts = _placements(raw, does)
    value = float(parts[does].mean())
    share = _independent(parts, does, groups)
    low, high = _newcombe(value, *(max(1.0, share * float(mask.sum())) for mask in (does, ~does)))
    return Estimated(value, min(low, value), max(high, value))


def independent_share(raw: FloatArray, does: BoolArray, groups: IntArray) -> float:
    """How many independent examples one example is worth, as far as the AUC tells (Kish's design effect, inverted): 1
    where groups do not matter."""
    return _independent(_placements(raw, does), does, groups)


def _independent(parts: FloatArray, does: BoolArray, groups: IntArray) -> float:
    value = float(parts[does].mean())
    # what each example adds to the error of the AUC; summed over a group, its examples are not taken as independent
    added = np.where(does, (parts - value) / does.sum(), (parts - value) / (~does).sum())
    naive, clustered = float(added @ added), float((np.bincount(groups, added) ** 2).sum())
    if naive == 0:
        # nothing tells how alike the examples of a group are: count groups
        return min(len(np.unique(groups[mask])) / int(mask.sum()) for mask in (does, ~does))
    return naive / clustered if clustered > naive else 1.0


def _placements(raw: FloatArray, does: BoolArray) -> FloatArray:
    """[N] for each text the share of the other class that it is on the right side of; ties count half."""
    found = np.empty(len(raw))
    for mask, sign in ((does, 1.0), (~does, -1.0)):
        other = np.sort(sign * raw[~mask])
        mine = sign * raw[mask]
        below, upto = np.searchsorted(other, mine, "left"), np.searchsorted(other, mine, "right")
        found[mask] = (below + upto) / (2 * len(other))
    return found


def _newcombe(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """Where |value − θ| = z · standard error at θ (Hanley and McNeil's, with the mean of both sizes for either)."""
    z, middle = normal_quantile((1 + _CONFIDENCE) / 2), (positives + negatives) / 2

    def beyond(theta: float) -> float:
        spread = 1 + (middle - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = math.sqrt(theta * (1 - theta) * spread / (positives * negatives))
        return abs(value - theta) - z * error

    low = 0.0 if value == 0 else _edge(beyond, 0.0, value)
    high = 1.0 if value == 1 else _edge(beyond, 1.0, value)
    return low, high


def _edge(beyond: Callable[[float], float], outside: float, inside: float) -> float:
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if beyond(middle) > 0 else (outside, middle)
    return outside


def decisions(above: BoolArray, does: BoolArray, groups: IntArray) -> Decisions:
    """Accuracy of deciding "does" where `above`. The interval of the mean of both classes is put together from those
    of each (Zou and Donner's MOVER), so that it is right at 0 and at 1."""
    numbers = groups.tolist()
    hits, misses = _rate(above, does, numbers), _rate(~above, ~does, numbers)
    centre = (hits.value + misses.value) / 2
    down = math.hypot(hits.value - hits.low, misses.value - misses.low) / 2
    up = math.hypot(hits.high - hits.value, misses.high - misses.value) / 2
    everything = np.ones(len(does), dtype=bool)
    return Decisions(
        Estimated(centre, max(0.0, centre - down), min(1.0, centre + up)), _rate(above == does, everything, numbers)
    )


def moved(above: BoolArray, best: BoolArray, does: BoolArray, groups: IntArray) -> Difference:
    """Balanced accuracy of `above` less that of `best`, two decisions [N] of which one says "does" wherever the other
    does (thresholds on one score). So one class only gains and the other only loses; the interval is put together from
    those of both shares (MOVER), as that of `decisions`."""
    numbers, changed = groups.tolist(), above != best
    gains = does if bool((above & ~best).any()) else ~does
    won, lost = _rate(changed, gains, numbers), _rate(changed, ~gains, numbers)
    value = (won.value - lost.value) / 2
    down = math.hypot(won.value - won.low, lost.high - lost.value) / 2
    up = math.hypot(won.high - won.value, lost.value - lost.low) / 2
    return Difference(value, value - down, value + up)


def _rate(right: BoolArray, among: BoolArray, groups: list[int]) -> Estimated:
    """The share of `right` among some texts."""
    outcomes = right[among].tolist()
    keys = [group for group, is_in in zip(groups, among.tolist(), strict=True) if is_in]
    clusters = cast("list[Hashable]", keys) if len(set(keys)) < len(keys) else None
    value, found = sum(outcomes) / len(outcomes), rate_interval(outcomes, clusters)
    return Estimated(value, min(found.low, value), max(found.high, value))


def calibration_error(probability: FloatArray, does: BoolArray, bins: int = _BINS) -> float:
    """The expected calibration error: |mean of the label − mean probability| of each bin of equal width, weighted by
    how many texts fall into it. It has a positive bias where texts are few: 0 cannot be reached by chance alone."""
    where = np.minimum((probability * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(where, does.astype(float) - probability, bins)
    return float(np.abs(gaps).sum() / len(does))
