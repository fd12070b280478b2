"""Which rules pull against each other, and what one more nat of a weight would do, LAW.md §2.

dE[φ_i]/dθ_j = Cov_ij = dE[φ_j]/dθ_i under the law, summed over prompts. With every φ turned so that its rule wants more
of it, a negative covariance is a pair in tension: what one of them gains, the other loses. A hard rule is constant
under the law that it is part of; its covariances are those of the law without it (for two of them, without both).

The covariances, their errors and which pairs are told apart come from `bylaw.compiler.law.interactions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bylaw.compiler.law import interactions as law_interactions
from bylaw.compiler.law.numerics import NORMAL_95, FloatArray
from bylaw.runtime.prices.law import Law, Measured, broken, events

FALSE_ALARM = 0.05
"""Of any pair at all, when no two rules have to do with each other."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two terms that are told apart from free of each other. `correlation` is negative where they pull against each
    other; `covariance` is what one more nat of either changes in the mean of what the other wants."""

    first: str
    second: str
    correlation: float
    covariance: float
    covariance_error: float


@dataclass(frozen=True, eq=False)
class Interactions:
    """All pairs of T terms.

    Attributes:
        terms: ids, in the order of rows and columns.
        covariance, error: [T, T] in the units of the features, and its standard error; NaN where a hard rule was never
            broken, so that nothing is known.
        correlation, correlation_error: [T, T] the same over the standard deviations; NaN where one of them is 0. The
            error is at least that of two rules that are free of each other, unless they are told apart.
        tension, support: pairs that pull against each other, and that help each other, the strongest first.
        pairs: how many pairs were looked at, which the threshold allows for.
    """

    terms: tuple[str, ...]
    covariance: FloatArray
    error: FloatArray
    correlation: FloatArray
    correlation_error: FloatArray
    tension: tuple[Pair, ...]
    support: tuple[Pair, ...]
    pairs: int


def interactions(law: Law) -> Interactions:
    """Every pair of terms under the law. Raises Unanswerable where the law is empty for some prompt."""
    count = len(law.terms)
    hard = [index for index, term in enumerate(law.terms) if term.kind == "hard"]
    other = [index for index in range(count) if index not in hard]
    made = [np.full((count, count), np.nan) for _ in range(5)]
    columns = _wanted(law)
    if other:
        for matrix, values in zip(made, _together(law, columns[:, other]), strict=True):
            matrix[np.ix_(other, other)] = values
    for place, index in enumerate(hard):
        for partner in (None, *hard[place + 1 :]):
            without = law.active.copy()
            without[[index] if partner is None else [index, partner]] = False
            group = [index, *other] if partner is None else [index, partner]
            found = _together(replace(law, active=without), columns[:, group])
            for matrix, values in zip(made, found, strict=True):
                matrix[index, group[1:]] = matrix[group[1:], index] = values[0, 1:]
                if partner is None:
                    matrix[index, index] = values[0, 0]
    names = tuple(term.id for term in law.terms)
    both = law_interactions.Interactions(*made)
    apart = both.told_apart(FALSE_ALARM)
    error = np.fmax(made[3], made[4])
    for i, j in apart:
        error[i, j] = error[j, i] = made[3][i, j]
    pairs = [
        Pair(names[i], names[j], float(made[2][i, j]), float(made[0][i, j]), float(made[1][i, j])) for i, j in apart
    ]
    looked = int(np.isfinite(np.triu(made[2], 1)[np.triu_indices(count, 1)]).sum())
    return Interactions(
        terms=names,
        covariance=made[0],
        error=made[1],
        correlation=made[2],
        correlation_error=error,
        tension=tuple(pair for pair in pairs if pair.correlation < 0),
        support=tuple(pair for pair in pairs if pair.correlation > 0),
        pairs=looked,
    )


@dataclass(frozen=True, slots=True)
class WeightBuys:
    """What one more nat of a weight buys, the multipliers of binding limits solved for again: nats of divergence from
    the base model, and the change of the rule's own rate (for a preference, of its mean)."""

    kl: Measured
    rate: Measured


def weight_buys(law: Law, binding: Sequence[int]) -> dict[int, WeightBuys]:
    """By column of each soft or graded term. `binding` are the columns of limits that hold with equality; for which
    prompts one on each prompt does is read off its multipliers. What does not bind keeps its multiplier."""
    weighed = [i for i, term in enumerate(law.terms) if term.kind in ("soft", "graded") and law.active[i]]
    weighed = [index for index in weighed if law.scores.share[index] > 0]
    if not weighed:
        return {}
    each = [i for i, term in enumerate(law.terms) if term.kind == "budget" and term.each_prompt]
    pooled = [index for index in binding if not law.terms[index].each_prompt]
    size, features = len(weighed), law.features
    kept = [index for index in range(len(law.terms)) if law.terms[index].kind != "hard" and index not in pooled]
    reward = law.log_factors[:, kept].sum(axis=1)  # of binding limits only what is fixed falls out below
    free = np.stack([_binds(law, index) for index in each], axis=1) if each else np.zeros((len(law.scores.prompts), 0))
    given = features[:, each] * law.scores.spread(free)
    # A limit on each prompt has a multiplier there, one on all prompts has one for all of them.
    columns = np.concatenate([features[:, weighed], reward[:, None], features[:, pooled]], axis=1)
    rest = _residual(law, columns, given, by_prompt=True)
    both = _residual(law, rest[:, : size + 1], rest[:, size + 1 :], by_prompt=False)
    own, reward = both[:, :size], both[:, size]
    counts, happened = law.scores.counts[:, weighed], events(law.scores, law.terms)[:, weighed]
    means = law.moments.mean
    about = means[len(law.terms) :][weighed]
    rate = means[weighed] / np.where(about > 0, about, 1.0)
    deviation = (happened - rate * counts) / np.where(about > 0, about, 1.0)
    covariance, error, *_ = _together(law, np.concatenate([own, reward[:, None], deviation], axis=1))
    result = {}
    for place, index in enumerate(weighed):
        if about[place] <= 0:
            continue
        towards = -1.0 if law.strength[0, index] < 0 else 1.0  # more of a weight is more of its size
        last = size + 1 + place
        result[index] = WeightBuys(
            _normal(towards * covariance[place, size], error[place, size]),
            _normal(towards * covariance[place, last], error[place, last]),
        )
    return result


# ------------------------------------------------------------------------------------------------------------ parts
def _binds(law: Law, index: int) -> FloatArray:
    """[X] 1 where a limit on each prompt has a multiplier that is free to move, else 0: not at 0, not at its price."""
    term, size = law.terms[index], np.abs(law.strength[:, index])
    price = np.inf if term.price is None else term.price
    is_free: FloatArray = ((size > 0.0) & (size < price)).astype(np.float64)
    return is_free


def _wanted(law: Law) -> FloatArray:
    """[N, T] what each term wants more of."""
    wanted = law.features.copy()
    forbidden = broken(law.scores, law.terms)
    for index, term in enumerate(law.terms):
        if term.kind == "hard":
            wanted[:, index] = -forbidden[:, index].astype(np.float64)
        elif term.kind == "graded":
            wanted[:, index] *= -1.0 if (term.weight or 0.0) < 0 else 1.0
        elif term.kind == "budget" and (
            term.sense == "at most" or (term.sense == "exactly" and law.strength[:, index].mean() <= 0)
        ):
            wanted[:, index] *= -1.0
    return wanted


def _together(law: Law, columns: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Of columns [N, K] under the law, each [K, K]: covariance, its error, correlation, its error, that by chance."""
    found = law_interactions.interactions(law.priced_prompts(), np.split(columns, law.scores.starts[1:]))
    return found.covariance, found.covariance_error, found.correlation, found.correlation_error, found.chance_error


def _residual(law: Law, columns: FloatArray, given: FloatArray, by_prompt: bool) -> FloatArray:
    """Columns [N, K] less what `given` [N, B] explains, with slopes for each prompt or the same for all of them."""
    if not given.shape[1]:
        return columns
    scores, weight = law.scores, law.weights
    both = np.concatenate([columns, given], axis=1)
    centred = both - scores.spread(np.add.reduceat(weight[:, None] * both, scores.starts, axis=0))
    size = columns.shape[1]
    sizes = scores.sizes if by_prompt else [len(weight)]
    parts, start = [], 0
    for count in sizes:
        rows = slice(start, start + int(count))
        start = rows.stop
        slope = _slope((centred[rows] * weight[rows, None]).T @ centred[rows], size)
        parts.append(columns[rows] - given[rows] @ slope)
    return np.concatenate(parts)


def _slope(covariance: FloatArray, size: int) -> FloatArray:
    """[B, K] the regression of the first `size` columns on the others."""
    result: FloatArray = (
        np.linalg.pinv(covariance[size:, size:], rcond=1e-12, hermitian=True) @ covariance[size:, :size]
    )
    return result


def _normal(value: float, error: float) -> Measured:
    return Measured(float(value), float(value - NORMAL_95 * error), float(value + NORMAL_95 * error))
