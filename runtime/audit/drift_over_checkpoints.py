"""Rule rates over the checkpoints of a training run: how far behaviour moved, when it had settled, and what is noise.

At each checkpoint every rule has a share of answers that keep it, that break it, and to which it does not apply. The
magnitude between two checkpoints is the mean over rules of the L1 distance of these shares (0 to 2) or of their
Jensen-Shannon divergence (nats, at most log 2). A finite sample makes both too large, so each comes with what
relabelling the checkpoints at random within each prompt gives. Source: Value Drifts, arXiv:2510.26707.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bylaw.compiler.evaluate import Verdict
from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.comparison import PairedDifference, paired_difference
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

FloatArray = NDArray[np.float64]

KINDS = (Verdict.SATISFIED, Verdict.NOT_APPLICABLE, Verdict.VIOLATED)
TOLERANCE = 0.05
"""A rate has settled when it stays within this share of the whole change from where it ends."""


# ------------------------------------------------------------------------------------------------------ pure functions
def distance(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """(L1, Jensen-Shannon in nats) between shares [R, K] of R rules, mean over the rules.

    A rule whose shares are not known on one side (NaN) counts on neither. Raises ValueError for shapes that differ,
    rows that are no laws, and where no rule is known on both sides.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 2 or one.shape != two.shape:
        raise ValueError("two vectors of shares need the same rules and outcomes")
    known = ~(np.isnan(one).any(axis=1) | np.isnan(two).any(axis=1))
    one, two = one[known], two[known]
    if not len(one):
        raise ValueError("no rule has a verdict at both checkpoints")
    if (one < 0).any() or (two < 0).any() or np.abs(np.stack([one.sum(1), two.sum(1)]) - 1).max() > 1e-9:
        raise ValueError("the shares of a rule are not negative and sum to one")
    l1, js = _distances(one, two)
    return float(l1.mean()), float(js.mean())


def _distances(one: FloatArray, two: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(L1, Jensen-Shannon) over the last axis."""
    middle = 0.5 * (one + two)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(each > 0, each * np.log(each / middle), 0.0) for each in (one, two)]
    js = np.maximum(0.5 * (terms[0] + terms[1]).sum(axis=-1), 0.0)
    return np.abs(one - two).sum(axis=-1), js


def settled(rates: ArrayLike, tolerance: float = TOLERANCE) -> int:
    """The first of the checkpoints from which `rates` [C] or [C, R] stay near the last one.

    Near: the L1 distance to the last is at most `tolerance` times that of the first to the last. 0 where nothing
    changed. Raises ValueError for no checkpoints or a tolerance outside [0, 1].
    """
    values = np.asarray(rates, dtype=np.float64)
    if not len(values) or not 0 <= tolerance <= 1:
        raise ValueError("settling needs a checkpoint, and a tolerance between 0 and 1")
    left = np.abs(values - values[-1]).reshape(len(values), -1).sum(axis=1)
    far = np.flatnonzero(left > tolerance * left[0] + 1e-12)
    return int(far[-1]) + 1 if far.size else 0


# ------------------------------------------------------------------------------------------------------------ samples
@dataclass(frozen=True, slots=True)
class RuleDrift:
    """One rule over the checkpoints.

    `rates`: of the answers to which it applies, the share that break it; None where it never applies. `intervals`:
    theirs, clustered by prompt. `change`: last minus first, paired by prompt, None where fewer than two prompts have
    the rule applied at both. `settled`: the step from which the rate stays within the tolerance of its end, with the
    middle 95% over resampled prompts; None where the change may be none (its interval holds 0): nothing had to settle.
    """

    term: str
    rates: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    change: PairedDifference | None
    settled: float | None
    settled_range: tuple[float, float] | None
    unscored: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """From one checkpoint to a later one: magnitude over all rules, its interval (of 95% at least), what
    relabelling gives on average (`noise`), and how often that is as large (`p_value`)."""

    first: str
    last: str
    l1: float
    l1_interval: Interval
    jensen_shannon: float
    noise: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Checkpoints with their steps; `stretches` between neighbours, then from the first to the last."""

    names: tuple[str, ...]
    steps: tuple[float, ...]
    rules: tuple[RuleDrift, ...]
    stretches: tuple[Stretch, ...]
    prompts: int
    samples: tuple[int, ...]
    tolerance: float
    warnings: tuple[str, ...]


Verdicts = Sequence[Sequence[Sequence[Sequence[Verdict]]]]
"""[checkpoint][prompt][answer][rule]; every prompt has an answer at every checkpoint."""


def drift(
    terms: Sequence[str],
    names: Sequence[str],
    steps: Sequence[float],
    verdicts: Verdicts,
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    resamples: int = 500,
    confidence: float = CONFIDENCE,
) -> Drift:
    """The drift of `verdicts`, on the same prompts at every checkpoint.

    Raises ValueError for fewer than two checkpoints or prompts, steps that do not rise, a prompt without answers, and
    where no rule has a verdict at two checkpoints that are compared.
    """
    prompts = len(verdicts[0]) if verdicts else 0
    if len(names) < 2 or not len(names) == len(steps) == len(verdicts) or prompts < 2:
        raise ValueError("drift needs two checkpoints with their steps, and two prompts that all of them answer")
    if any(len(each) != prompts or not all(each) for each in verdicts):
        raise ValueError("every checkpoint answers every prompt")
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError("the steps of the checkpoints must rise")
    counts = _counts(verdicts, len(terms))
    rng = np.random.default_rng(seed)
    # [B, P] how often each prompt is in a resample
    weights = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples).astype(np.float64)
    places = [(at, at + 1) for at in range(len(names) - 1)]
    places += [(0, len(names) - 1)] if len(names) > 2 else []
    stretches = tuple(_stretch(counts, verdicts, names, place, weights, rng, confidence) for place in places)
    rules = tuple(_rule(each, at, steps, verdicts, counts, weights, tolerance, confidence) for at, each in
                  enumerate(terms))  # fmt: skip
    samples = tuple(sum(len(answers) for answers in each) for each in verdicts)
    warnings = clustered.few(prompts)
    return Drift(tuple(names), tuple(steps), rules, stretches, prompts, samples, tolerance, warnings)


def _counts(verdicts: Verdicts, terms: int) -> FloatArray:
    """[checkpoint, prompt, rule, kind] how many answers have which verdict; unscored ones are in no kind."""
    place = {kind: at for at, kind in enumerate(KINDS)}
    counts = np.zeros((len(verdicts), len(verdicts[0]), terms, len(KINDS)))
    for at, checkpoint in enumerate(verdicts):
        for prompt, answers in enumerate(checkpoint):
            for answer in answers:
                for term, verdict in enumerate(answer):
                    if verdict in place:
                        counts[at, prompt, term, place[verdict]] += 1
    return counts


def _shares(counts: FloatArray) -> FloatArray:
    """Counts [..., R, K] as shares; NaN where a rule has none."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / np.where(total > 0, total, np.nan))


def _stretch(
    counts: FloatArray,
    verdicts: Verdicts,
    names: Sequence[str],
    place: tuple[int, int],
    weights: FloatArray,
    rng: np.random.Generator,
    confidence: float,
) -> Stretch:
    one, two = (counts[at] for at in place)
    l1, js = distance(_shares(one.sum(axis=0)), _shares(two.sum(axis=0)))
    half = _half_width(one, two, weights, confidence)
    # under no drift the answers to a prompt are exchangeable between the checkpoints
    total = one.sum(axis=0) + two.sum(axis=0)
    moved = np.zeros((len(weights), *total.shape))
    for prompt in range(counts.shape[1]):
        groups = [verdicts[at][prompt] for at in place]
        pool = _counts([[[answer] for group in groups for answer in group]], counts.shape[2])[0]
        chosen = rng.random((len(weights), len(pool))).argsort(axis=1) < len(groups[0])
        moved += np.tensordot(chosen.astype(np.float64), pool, axes=1)
    chance = _l1(moved, total - moved)
    p_value = (1 + int((chance >= l1 - 1e-12).sum())) / (1 + len(chance))
    interval = Interval(max(0.0, l1 - half), min(2.0, l1 + half))
    return Stretch(names[place[0]], names[place[1]], l1, interval, js, float(chance.mean()), p_value)


def _half_width(one: FloatArray, two: FloatArray, weights: FloatArray, confidence: float) -> float:
    """How far the magnitude may be off: the size of the error of the differences, from resampled prompts.

    A magnitude is a norm: it is off by no more than the norm of the error (triangle inequality). Resampling it directly
    would be too short where little moved, since noise only ever adds to it.
    """
    prompts = weights.shape[1]
    gap = _shares(one.sum(axis=0)) - _shares(two.sum(axis=0))
    again = _shares(np.tensordot(weights, one, axes=1)) - _shares(np.tensordot(weights, two, axes=1))
    off = np.abs(again - gap).sum(axis=-1)
    known = ~np.isnan(off)
    size = np.where(known, off, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    half = float(np.quantile(size, confidence)) * math.sqrt(prompts / (prompts - 1))
    # where nothing varies between prompts, their number alone says how far off it may be
    return half if half > 1e-12 else 2 * (1 - (1 - confidence) ** (1 / prompts))


def _l1(one: FloatArray, two: FloatArray) -> FloatArray:
    """[B] the mean over rules of the L1 distance of counts [B, R, K]; 0 where no rule is known on both sides."""
    gaps = np.abs(_shares(one) - _shares(two)).sum(axis=-1)
    known = ~np.isnan(gaps)
    total = np.where(known, gaps, 0.0).sum(axis=-1)
    return np.asarray(total / np.maximum(known.sum(axis=-1), 1))


def _rule(
    name: str,
    term: int,
    steps: Sequence[float],
    verdicts: Verdicts,
    counts: FloatArray,
    weights: FloatArray,
    tolerance: float,
    confidence: float,
) -> RuleDrift:
    kept, broken = (counts[:, :, term, KINDS.index(kind)] for kind in (Verdict.SATISFIED, Verdict.VIOLATED))
    rates: list[float | None] = []
    intervals: list[Interval | None] = []
    for at in range(len(steps)):
        outcomes = [1.0] * int(broken[at].sum()) + [0.0] * int(kept[at].sum())
        owners = np.concatenate(
            [np.repeat(np.arange(counts.shape[1]), side[at].astype(int)) for side in (broken, kept)]
        )
        rates.append(math.fsum(outcomes) / len(outcomes) if outcomes else None)
        intervals.append(clustered.rate_interval(outcomes, owners.tolist(), confidence) if outcomes else None)
    change = _change(kept, broken, confidence)
    step, around = None, None
    if change is not None and not change.interval.low <= 0 <= change.interval.high and None not in rates:
        step = steps[settled(np.array(rates), tolerance)]
        found = sorted(_settled_steps(kept, broken, weights, steps, tolerance))
        if found:
            cut = int((1 - confidence) / 2 * len(found))
            around = (found[cut], found[len(found) - 1 - cut])
    unscored = tuple(
        sum(answer[term] is Verdict.UNSCORED for answers in each for answer in answers) for each in verdicts
    )
    return RuleDrift(name, tuple(rates), tuple(intervals), change, step, around, unscored)


def _change(kept: FloatArray, broken: FloatArray, confidence: float) -> PairedDifference | None:
    """Last minus first: the rate of each prompt to which the rule applies at both, prompts alike."""
    total = kept + broken
    both = (total[0] > 0) & (total[-1] > 0)
    if both.sum() < 2:
        return None
    first, last = (broken[at][both] / total[at][both] for at in (0, -1))
    return paired_difference(last.tolist(), first.tolist(), None, confidence)


def _settled_steps(
    kept: FloatArray, broken: FloatArray, weights: FloatArray, steps: Sequence[float], tolerance: float
) -> list[float]:
    hit, total = weights @ broken.T, weights @ (kept + broken).T
    known = (total > 0).all(axis=1)
    return [steps[settled(rates, tolerance)] for rates in hit[known] / total[known]]
