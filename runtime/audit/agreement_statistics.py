"""How far labellers, judges and repeats agree: beyond chance, and with the prevalence that explains the number.

Agreement by chance depends on how common a label is, so each figure comes with the shares of the labels and with the
raw agreement. Labels are hashable values; None means that no label was given. All figures are shares or shares beyond
chance (1 at most), without a unit.

Sources: Cohen 1960; its error from Fleiss, Cohen and Everitt 1969, Psychological Bulletin 72:323-327, equation 13;
Krippendorff 2019, Content Analysis, 4th edition, chapter 12 (nominal data, missing values); pass@k from Chen et al.
2021, arXiv:2107.03374, equation 1; pass^k from Yao et al. 2024, arXiv:2406.12045, section 3.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

DRAWS = 2_000
"""Bootstrap draws for an interval."""
_POINT = 1e-7  # an interval shorter than this is a point up to rounding


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two or more labellers agree on.

    Attributes:
        value: Cohen's kappa or Krippendorff's alpha; at most 1, 0 where chance agrees as often.
        interval: two-sided, never a point.
        raw: the share of pairs of labels on one item that are equal. raw_interval: Wilson's, counting items.
        chance: the raw agreement that the label shares alone would give.
        prevalence: (label, its share of all labels), the most common first.
        items: how many carry at least two labels. labels: how many labels those have.
    """

    value: float
    interval: Interval
    raw: float
    raw_interval: Interval
    chance: float
    prevalence: tuple[tuple[Hashable, float], ...]
    items: int
    labels: int


@dataclass(frozen=True, slots=True)
class Repeats:
    """The mean over tasks of pass@k (any of k tries succeeds) or pass^k (all of them do), with its interval."""

    k: int
    value: float
    interval: Interval
    tasks: int


# ------------------------------------------------------------------------------------------------------ two labellers
def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable], confidence: float = CONFIDENCE) -> Agreement:
    """Cohen's kappa of labels [n] and [n] on the same items; items that lack a label are left out.

    The interval is kappa ∓ z · error. Where that would be a point (no disagreement, or one labeller who always says the
    same) it is that of the raw agreement, beyond the chance seen. Raises ValueError: lengths that differ, no item with
    two labels, a label that is nan, a bad confidence, or one label only on both sides (chance explains all).
    """
    clustered.confident(confidence)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} labels do not speak of the same items")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    for pair in pairs:
        _no_nan(pair)
    if not pairs:
        raise ValueError("no item has two labels: agreement needs at least one")
    count, table = len(pairs), Counter(pairs)
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    same = sum(n for (a, b), n in table.items() if a == b)
    raw = same / count
    chance = sum(rows[label] * columns[label] for label in rows) / count**2
    if len(rows) == 1 and rows.keys() == columns.keys():
        raise ValueError(f"all labels are {next(iter(rows))!r}: agreement beyond chance is not defined there")
    kappa = (raw - chance) / (1 - chance)
    wilson = statistics.wilson(same, count, confidence)
    half = statistics.normal_quantile((1 + confidence) / 2) * _kappa_error(table, rows, columns, raw, chance)
    interval = _inside(kappa - half, kappa + half)
    if same == count or half < _POINT:
        interval = _beyond_chance(wilson, chance)
    return Agreement(
        kappa, interval, raw, wilson, chance, _shares([*rows.elements(), *columns.elements()]), count, 2 * count
    )


def _kappa_error(
    table: Counter[tuple[Hashable, Hashable]],
    rows: Counter[Hashable],
    columns: Counter[Hashable],
    raw: float,
    chance: float,
) -> float:
    """The large-sample standard error of kappa."""
    count = table.total()
    kappa = (raw - chance) / (1 - chance)
    equal = unequal = 0.0
    for (a, b), seen in table.items():
        if a == b:
            equal += seen / count * (1 - (rows[a] + columns[a]) / count * (1 - kappa)) ** 2
        else:
            unequal += seen / count * ((columns[a] + rows[b]) / count) ** 2
    variance = equal + (1 - kappa) ** 2 * unequal - (kappa - chance * (1 - kappa)) ** 2
    return math.sqrt(max(0.0, variance) / count) / (1 - chance)


# ----------------------------------------------------------------------------------------------------- many labellers
def krippendorff_alpha(
    labels: Sequence[Sequence[Hashable]], confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha for nominal labels [items, labellers], None where a labeller gave none.

    The interval is the percentile bootstrap over items (the expected disagreement is drawn anew as well); where nobody
    disagrees it is that of the raw agreement, beyond chance. Raises ValueError: fewer than two items with two labels, a
    label that is nan, one label only (chance explains all), a bad confidence or number of draws.
    """
    clustered.confident(confidence)
    if draws < 100:
        raise ValueError(f"{draws} draws are too few for an interval: use at least 100")
    units = [Counter(label for label in item if label is not None) for item in labels]
    units = [unit for unit in units if unit.total() > 1]
    for unit in units:
        _no_nan(tuple(unit))
    if len(units) < 2:
        raise ValueError(f"{len(units)} items have two labels or more: at least two such items are needed")
    names = list(dict.fromkeys(label for unit in units for label in unit))
    if len(names) == 1:
        raise ValueError(f"all labels are {names[0]!r}: agreement beyond chance is not defined there")
    import numpy as np

    # items with the same labels are drawn together: the law of a draw is the same, however many items there are
    patterns, numbers = np.unique([[unit[name] for name in names] for unit in units], axis=0, return_counts=True)
    counts = patterns.astype(np.float64)
    sizes = counts.sum(axis=1)
    # ordered pairs of unequal labels in each item, each item with the weight of its labels
    observed = (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)
    value, disagreement, expected = (float(part) for part in _alpha(numbers @ counts, np.asarray(numbers @ observed)))
    raw = 1 - disagreement
    wilson = statistics.wilson(raw * len(units), len(units), confidence)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(units), numbers / len(units), size=draws)
    found = _alpha(weights @ counts, weights @ observed)[0]
    # a draw with one label only says nothing of agreement beyond chance
    low, high = np.quantile(found[np.isfinite(found)], [(1 - confidence) / 2, (1 + confidence) / 2])
    interval = _inside(float(low), float(high))
    if disagreement == 0 or interval.high - interval.low < _POINT:
        interval = _beyond_chance(wilson, 1 - expected)
    given = [label for unit in units for label in unit.elements()]
    return Agreement(value, interval, raw, wilson, 1 - expected, _shares(given), len(units), len(given))


def _alpha(totals: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(alpha, observed, expected disagreement) from label totals [..., labels] and disagreeing pairs [...]."""
    import numpy as np

    count = totals.sum(axis=-1)
    expected = (count**2 - (totals**2).sum(axis=-1)) / (count * (count - 1))
    found = observed / count
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - found / expected), np.asarray(found), np.asarray(expected)


def _inside(low: float, high: float) -> Interval:
    return Interval(max(-1.0, low), min(1.0, high))


def _beyond_chance(raw: Interval, chance: float) -> Interval:
    """The interval of a raw agreement on the scale of agreement beyond chance."""
    return _inside((raw.low - chance) / (1 - chance), (raw.high - chance) / (1 - chance))


# ------------------------------------------------------------------------------------------------------------ repeats
def pass_at_k(successes: Sequence[int], tries: Sequence[int], k: int, confidence: float = CONFIDENCE) -> Repeats:
    """The chance that at least one of k tries succeeds, for tasks [t] with successes [t] of tries [t], unbiased.

    Raises ValueError: fewer than two tasks, counts that are not 0 ≤ successes ≤ tries, or fewer tries than k ≥ 1.
    """
    return _repeats(successes, tries, k, confidence, lambda c, n: 1 - math.comb(n - c, k) / math.comb(n, k))


def pass_hat_k(successes: Sequence[int], tries: Sequence[int], k: int, confidence: float = CONFIDENCE) -> Repeats:
    """pass^k: the chance that all of k tries succeed, unbiased. Shapes and errors as in `pass_at_k`."""
    return _repeats(successes, tries, k, confidence, lambda c, n: math.comb(c, k) / math.comb(n, k))


def _repeats(
    successes: Sequence[int], tries: Sequence[int], k: int, confidence: float, of: Callable[[int, int], float]
) -> Repeats:
    if len(successes) != len(tries):
        raise ValueError(f"{len(successes)} successes do not fit {len(tries)} tasks")
    if k < 1:
        raise ValueError(f"k is a whole number from 1, got {k}")
    values = []
    for place, (good, all_) in enumerate(zip(successes, tries, strict=True), 1):
        if not 0 <= good <= all_ or good != int(good) or all_ != int(all_):
            raise ValueError(f"task {place}: {good} of {all_} is no count of successes")
        if all_ < k:
            raise ValueError(f"task {place} was tried {all_} times: k = {k} needs as many tries of each task")
        values.append(of(int(good), int(all_)))
    found = clustered.mean(values, None, confidence)
    return Repeats(k, found.mean, found.interval, found.clusters)


# -------------------------------------------------------------------------------------------------------------- parts
def _shares(labels: Sequence[Hashable]) -> tuple[tuple[Hashable, float], ...]:
    return tuple((label, count / len(labels)) for label, count in Counter(labels).most_common())


def _no_nan(labels: tuple[Hashable, ...]) -> None:
    if any(label != label for label in labels):
        raise ValueError("a label is nan; write None where no label was given")
