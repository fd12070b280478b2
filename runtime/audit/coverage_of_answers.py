"""Coverage of valid answers and diversity, before and after a policy is enforced.

Against a known law, exactly: the mass on the answers that are valid, and how far the law on them is from a target. On
samples, without bias: the share of valid answers, how many distinct valid ones to expect in m draws (rarefaction,
Hurlbert 1971, Ecology 52:577-586), and how often two answers differ. Divergences in nats, shares between 0 and 1.
Source of the metrics: Spectrum Tuning, arXiv:2510.06084.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.comparison import PairedDifference, paired_difference
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

FloatArray = NDArray[np.float64]

SMOOTHING = 1e-6
DRAWS = 100
"""Draws in which distinct valid answers are counted, where there are so many."""


# ----------------------------------------------------------------------------------------------------------- exactly
@dataclass(frozen=True, slots=True)
class Coverage:
    """A law against a target on the valid answers.

    `mass`: what the law has on them. The rest compares the law given that the answer is valid, q, with the target t:
    `kl` KL(t‖q), `reverse_kl` KL(q‖t), `jensen_shannon` (at most log 2), `cross_entropy` of t under q; `is_mode_found`:
    whether the likeliest answer of q is one of the likeliest of t.
    """

    mass: float
    kl: float
    reverse_kl: float
    jensen_shannon: float
    cross_entropy: float
    is_mode_found: bool


def coverage(probabilities: ArrayLike, target: ArrayLike | None = None, *, smoothing: float = SMOOTHING) -> Coverage:
    """The law's probabilities [A] of the valid answers, against `target` [A] (default: all alike).

    `smoothing` is added to each entry of both before they are made to sum to one; 0 gives the exact divergences, which
    may be infinite. Raises ValueError for no answers, a negative entry, a total above one, shapes that differ, or
    nothing left to normalise.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    t = np.ones_like(p) if target is None else np.asarray(target, dtype=np.float64)
    if p.ndim != 1 or not p.size or p.shape != t.shape:
        raise ValueError("coverage needs one probability of the law and one of the target for each valid answer")
    if not np.isfinite([p, t]).all() or (p < 0).any() or (t < 0).any() or p.sum() > 1 + 1e-9 or smoothing < 0:
        raise ValueError("probabilities are not negative, and those of the law are at most one in all")
    if p.sum() + smoothing == 0 or t.sum() + smoothing == 0:
        raise ValueError("no valid answer has any probability: without smoothing there is nothing to compare")
    q, goal = (values + smoothing for values in (p, t / t.sum() if t.sum() else t))
    q, goal = q / q.sum(), goal / goal.sum()
    middle = 0.5 * (q + goal)
    shannon = 0.5 * _kl(q, middle) + 0.5 * _kl(goal, middle)
    kl = _kl(goal, q)
    own = float(-np.sum(goal * np.log(np.where(goal > 0, goal, 1.0))))
    modes = goal >= goal.max() * (1 - 1e-12)
    return Coverage(float(p.sum()), kl, _kl(q, goal), shannon, kl + own, bool(modes[int(q.argmax())]))


def _kl(first: FloatArray, second: FloatArray) -> float:
    if ((first > 0) & (second == 0)).any():
        return math.inf
    has = first > 0
    return max(0.0, float(np.sum(first[has] * np.log(first[has] / second[has]))))


def expected_distinct(probabilities: ArrayLike, draws: int) -> float:
    """How many distinct ones of these answers to expect in `draws` independent draws: Σ 1 − (1 − p)^draws."""
    p = np.asarray(probabilities, dtype=np.float64)
    if (p < 0).any() or (p > 1).any() or draws < 0:
        raise ValueError("probabilities lie between 0 and 1, and draws are counted from 0")
    with np.errstate(divide="ignore"):
        return float(-np.expm1(draws * np.log1p(-p)).sum()) if draws else 0.0


# ----------------------------------------------------------------------------------------------------------- samples
def rarefied(counts: Sequence[int], total: int, draws: int) -> float:
    """How many distinct ones of the answers seen `counts` times among `total` to expect in `draws` ≤ total draws.

    Σ 1 − C(total − c, draws)/C(total, draws): unbiased for `expected_distinct`. Raises ValueError for other counts.
    """
    if not 0 <= draws <= total or sum(counts) > total or (counts and min(counts) < 1):
        raise ValueError(f"{draws} draws cannot be rarefied from {total} samples with the counts {list(counts)[:5]}")
    every = math.comb(total, draws)
    return math.fsum(1 - math.comb(total - count, draws) / every for count in counts)


@dataclass(frozen=True, slots=True)
class Diversity:
    """The answers to one prompt.

    `valid`: the share of scored answers that are. `unique`: distinct answers in m draws, as a share of m. `distinct`:
    distinct valid answers in m draws (the yield). `pairwise`: how likely two answers differ. `listed`: the share of the
    answers of a list that were seen in m draws, None without a list. All are unbiased. `samples`: answers, `unscored`
    of them without a verdict: they are in none of the figures but the bounds of `valid`.
    """

    valid: float
    unique: float
    distinct: float
    pairwise: float
    listed: float | None
    samples: int
    unscored: int


def diversity(
    answers: Sequence[str], valid: Sequence[bool | None], draws: int, listed: Sequence[str] | None = None
) -> Diversity:
    """Of `answers` [n] to one prompt, of which `valid` [n] says whether they are (None: not known), at `draws`.

    Raises ValueError for fewer scored answers than draws or than two, and for lengths that differ.
    """
    scored = [(text, known) for text, known in zip(answers, valid, strict=True) if known is not None]
    total = len(scored)
    if total < max(draws, 2) or draws < 1:
        raise ValueError(f"{draws} draws need so many scored answers, and two at least; there are {total}")
    seen = Counter(text for text, _ in scored)
    good = Counter(text for text, known in scored if known)
    same = sum(count * (count - 1) for count in seen.values()) / (total * (total - 1))
    wanted = None
    if listed is not None:
        wanted = rarefied([seen[text] for text in set(listed) if seen[text]], total, draws) / len(set(listed))
    return Diversity(
        sum(good.values()) / total,
        rarefied(list(seen.values()), total, draws) / draws,
        rarefied(list(good.values()), total, draws),
        1 - same,
        wanted,
        len(answers),
        len(answers) - total,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One measure over prompts: before, after, and the paired difference after − before with its interval."""

    name: str
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    difference: PairedDifference


@dataclass(frozen=True, slots=True)
class CoverageComparison:
    """Before against after, mean over prompts. `draws`: m of the counts. `valid_bounds`: of the two shares of valid
    answers, if all unscored ones were not valid, or all were."""

    lines: tuple[Line, ...]
    prompts: int
    draws: int
    before_samples: int
    after_samples: int
    unscored: tuple[int, int]
    valid_bounds: tuple[Interval, Interval]
    warnings: tuple[str, ...]


Answers = Mapping[str, tuple[Sequence[str], Sequence[bool | None]]]
"""By prompt: the answers, and of each whether it is valid (None: not known)."""


def compare_coverage(
    before: Answers,
    after: Answers,
    *,
    draws: int = DRAWS,
    listed: Mapping[str, Sequence[str]] | None = None,
    confidence: float = CONFIDENCE,
) -> CoverageComparison:
    """Both on the same prompts. Counts are at m = `draws`, or the fewest scored answers to a prompt if that is less.

    Raises ComparisonError for prompts that differ, fewer than two of them, and a prompt with fewer than two scored
    answers on a side.
    """
    names = list(before)
    if set(names) != set(after) or len(names) < 2:
        raise ComparisonError("coverage is compared on the same prompts, two at least")
    fewest = min(sum(known is not None for known in side[name][1]) for side in (before, after) for name in names)
    if fewest < 2:
        raise ComparisonError("each prompt needs two scored answers at least, before and after: sample more of them")
    size = min(draws, fewest)
    sides = [
        [diversity(*side[name], size, None if listed is None else listed[name]) for name in names]
        for side in (before, after)
    ]
    measures: list[tuple[str, str, tuple[float, float]]] = [
        ("valid answers", "valid", (0.0, 1.0)),
        (f"distinct valid answers in {size} draws", "distinct", (0.0, float(size))),
        (f"distinct answers in {size} draws, share", "unique", (0.0, 1.0)),
        ("two answers differ", "pairwise", (0.0, 1.0)),
    ]
    if listed is not None:
        measures.append((f"listed answers seen in {size} draws, share", "listed", (0.0, 1.0)))
    lines = []
    for name, field, bounds in measures:
        values = [[float(getattr(each, field)) for each in side] for side in sides]
        lines.append(_line(name, values[0], values[1], bounds, confidence))
    samples = [sum(each.samples for each in side) for side in sides]
    unscored = [sum(each.unscored for each in side) for side in sides]
    return CoverageComparison(
        tuple(lines), len(names), size, samples[0], samples[1], (unscored[0], unscored[1]),
        (_bounds(before), _bounds(after)), clustered.few(len(names)),
    )  # fmt: skip


def _line(name: str, before: list[float], after: list[float], bounds: tuple[float, float], confidence: float) -> Line:
    before, after = ([min(max(value, bounds[0]), bounds[1]) for value in side] for side in (before, after))
    one, two = (clustered.mean(side, None, confidence, bounds) for side in (before, after))
    gap = paired_difference(after, before, None, confidence, bounds)
    return Line(name, one.mean, one.interval, two.mean, two.interval, gap)


def _bounds(side: Answers) -> Interval:
    """The share of valid answers, mean over prompts, if no unscored one were valid, or all were."""
    shares = [
        (sum(known is True for known in valid) / len(valid), sum(known is not False for known in valid) / len(valid))
        for _, valid in side.values()
    ]
    return Interval(*(math.fsum(column) / len(shares) for column in zip(*shares, strict=True)))
