"""The law of a program on the scored responses of a suite, and the rates under it.

The law p*(y|x) ∝ p0(y|x)·1[hard]·exp(Σ θ_t φ_t) of LAW.md §1 on the N responses of all X prompts together, each with
the weight p0/m of the mixture m that drew it, normalised prompt by prompt. θ_t is a weight, or minus a multiplier; φ_t
is −1 for a broken soft rule, the quantity of a preference or limit, and `value − bound` for a limit on each prompt or
among some responses (0 where the term does not count). Errors are Monte-Carlo errors within prompts, with the strengths
θ as they stand: what is priced is the law that would be enforced. Sources: self-normalised importance sampling and the
delta method for ratios (Owen, *Monte Carlo theory*, ch. 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bylaw.compiler.law.numerics import NORMAL_95, BoolArray, FloatArray, IntArray, grouped_weights
from bylaw.compiler.law.prices import PricedPrompt
from bylaw.compiler.law.samples import Moments, Population, PromptSamples
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.prices.errors import Unanswerable
from bylaw.runtime.prices.scored import ScoredSuite


@dataclass(frozen=True, eq=False)
class Scores:
    """The responses of a suite in one piece, prompt after prompt, without the draws that ended without a text.

    Attributes:
        prompts: X ids. starts, sizes: [X] where each begins, and how many responses it has.
        drawn: how many draws there were, those without a text included.
        log_ratio: [N] log p0/m in nats, finite. values, counts, violated: [N, T] as in `ScoredPrompt`.
        exact: the responses are all that there are, with log_ratio their log probability: nothing is estimated, so
            there is no bias to take away (and errors say nothing).
    """

    prompts: tuple[str, ...]
    starts: IntArray
    sizes: IntArray
    drawn: int
    log_ratio: FloatArray
    values: FloatArray
    counts: BoolArray
    violated: BoolArray
    exact: bool = False

    @cached_property
    def applies(self) -> BoolArray:
        """[X, T] whether a term is about any response to a prompt."""
        result: BoolArray = np.logical_or.reduceat(self.counts, self.starts, axis=0)
        return result

    @cached_property
    def share(self) -> FloatArray:
        """[T] the share of the prompts to which a term applies at all."""
        result: FloatArray = self.applies.mean(axis=0)
        return result

    def spread(self, by_prompt: FloatArray) -> FloatArray:
        """[N, ...] what each prompt has [X, ...], at each of its responses."""
        result: FloatArray = np.repeat(by_prompt, self.sizes, axis=0)
        return result


def flatten(suite: ScoredSuite, exact: bool = False) -> Scores:
    """The scores of a suite in one piece. `exact`: see `Scores`.

    Raises Unanswerable where a prompt has no response with a text.
    """
    kept = [np.isfinite(prompt.log_ratio) for prompt in suite.prompts]
    empty = [prompt.id for prompt, mask in zip(suite.prompts, kept, strict=True) if not mask.any()]
    if empty:
        raise Unanswerable(f"there is no scored response for {_names('prompt', empty)}; calibrate with more samples")
    sizes = np.array([int(mask.sum()) for mask in kept], dtype=np.int64)

    def joined(name: str) -> np.ndarray:
        parts = [getattr(prompt, name)[mask] for prompt, mask in zip(suite.prompts, kept, strict=True)]
        return np.concatenate(parts)

    return Scores(
        prompts=tuple(prompt.id for prompt in suite.prompts),
        starts=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)[:-1]]),
        sizes=sizes,
        drawn=suite.size,
        log_ratio=joined("log_ratio"),
        values=joined("values"),
        counts=joined("counts"),
        violated=joined("violated"),
        exact=exact,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """A rate or mean with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Law:
    """The law of some terms.

    Attributes:
        terms: T terms in the order of the columns of `scores`.
        active: [T] which of them are in the law; the others are only measured.
        strength: [X, T] θ in nats for each prompt: the weight, or minus the multiplier; 0 for a hard rule.
    """

    scores: Scores
    terms: tuple[RewardTerm, ...]
    active: BoolArray
    strength: FloatArray

    @cached_property
    def features(self) -> FloatArray:
        """[N, T] φ; 0 for a hard rule."""
        return features(self.scores, self.terms)

    @cached_property
    def log_factors(self) -> FloatArray:
        """[N, T] the terms' parts of the exponent in nats; −inf where a hard rule is broken."""
        factors = self.scores.spread(np.where(self.active, self.strength, 0.0)) * self.features
        factors[broken(self.scores, self.terms) & self.active] = -np.inf
        return factors

    @cached_property
    def log_weight(self) -> FloatArray:
        """[N] log of p*(y)/m(y), not normalised, in nats."""
        result: FloatArray = self.scores.log_ratio + self.log_factors.sum(axis=1)
        return result

    @cached_property
    def moments(self) -> Moments:
        """First and second moments of the events [T] and then of whether the terms count [T].

        Raises Unanswerable where the hard rules leave no response to some prompt.
        """
        columns = np.concatenate([events(self.scores, self.terms), self.scores.counts], axis=1)
        return population(self.scores, self.terms, self.log_weight, columns).moments(np.zeros(columns.shape[1]))

    @cached_property
    def weights(self) -> FloatArray:
        """[N] the weights of the responses under the law, 1 in all for each prompt."""
        return grouped_weights(self.log_weight, self.scores.starts, self.scores.sizes)

    def rates(self) -> tuple[Measured | None, ...]:
        """[T] how often each event happens, or the mean of each quantity, among what the term is about; None where it
        is about no response."""
        moments, count = self.moments, len(self.terms)
        mean = moments.mean if self.scores.exact else moments.mean - moments.bias
        found: list[Measured | None] = []
        for index, term in enumerate(self.terms):
            share = float(self.scores.share[index])
            about = mean[count + index] if _is_ratio(term) else share
            if share == 0 or about <= 0:
                found.append(None)
                continue
            if term.kind == "hard" and self.active[index]:
                kept = float(term.bound or 0.0)
                found.append(Measured(kept, kept, kept))
                continue
            value = float(mean[index] / about)
            error = _ratio_error(moments, index, count + index, value, about, _is_ratio(term))
            found.append(measured(value, error, moments.freedom * float(about), is_share(term)))
        return tuple(found)

    def priced_prompts(self) -> list[PricedPrompt]:
        """The same for `bylaw.compiler.law.prices`."""
        edges = self.scores.starts[1:]
        ratios, factors = np.split(self.scores.log_ratio, edges), np.split(self.log_factors, edges)
        return [PricedPrompt(ratio, factor) for ratio, factor in zip(ratios, factors, strict=True)]


def is_share(term: RewardTerm) -> bool:
    """Whether a term is about how often something happens; else it is about a quantity."""
    return term.holds is not None


def base_law(scores: Scores, terms: tuple[RewardTerm, ...]) -> Law:
    """The law without any rule."""
    nothing = np.zeros((len(scores.prompts), len(terms)))
    return Law(scores, terms, np.zeros(len(terms), dtype=np.bool_), nothing)


def features(scores: Scores, terms: Sequence[RewardTerm]) -> FloatArray:
    """[N, T] what the strengths multiply."""
    result = scores.values.copy()
    for index, term in enumerate(terms):
        if term.kind == "hard":
            result[:, index] = 0.0
        elif term.among is not None or term.each_prompt:
            result[:, index] -= float(term.bound or 0.0) * scores.counts[:, index]
    return result


def broken(scores: Scores, terms: Sequence[RewardTerm]) -> BoolArray:
    """[N, T] where a hard rule forbids a response."""
    result: BoolArray = np.zeros(scores.violated.shape, dtype=np.bool_)
    for index, term in enumerate(terms):
        if term.kind == "hard" and term.bound is not None:  # a limit at 0 % or 100 %
            result[:, index] = scores.counts[:, index] & (scores.values[:, index] != term.bound)
        elif term.kind == "hard":
            result[:, index] = scores.violated[:, index] | (scores.values[:, index] < 0)
    return result


def events(scores: Scores, terms: Sequence[RewardTerm]) -> FloatArray:
    """[N, T] what rates are about: 1 where a rule is broken, the event or quantity of a limit or preference."""
    ruled = np.array([term.kind in ("hard", "soft") and term.bound is None for term in terms], dtype=np.bool_)
    result: FloatArray = np.where(ruled, scores.violated | (scores.values < 0), scores.values)
    return result


def population(scores: Scores, terms: Sequence[RewardTerm], log_weight: FloatArray, columns: FloatArray) -> Population:
    """The responses with their weights [N] (nats) and `columns` [N, K] as features. Raises Unanswerable."""
    from bylaw.compiler.law.numerics import EmptySupport

    edges = scores.starts[1:]
    parts = zip(np.split(log_weight, edges), np.split(columns, edges), strict=True)
    try:
        return Population([PromptSamples(weight, feature) for weight, feature in parts])
    except EmptySupport as error:
        names = [scores.prompts[index] for index in error.prompts]
        hard = tuple(term.id for term in terms if term.kind == "hard")
        raise Unanswerable(
            f"the hard rules leave none of the scored responses to {_names('prompt', names)}; calibrate with more "
            "samples",
            hard,
        ) from None


def measured(value: float, error: float, independent: float, share: bool) -> Measured:
    """A value with its 95 % interval: Wilson's on the number of independent responses that would have this error for a
    share, else the normal one. Without an error, `independent` says how many responses stand behind it."""
    if not share:
        return Measured(value, value - NORMAL_95 * error, value + NORMAL_95 * error)
    inside = min(max(value, 0.0), 1.0)
    worth = inside * (1 - inside) / error**2 if error > 0 else independent
    total = max(worth, 1.0)
    found = wilson(inside * total, total)
    return Measured(value, found.low, found.high)


def room(law: Law, index: int, rate: Measured | None) -> float | None:
    """``slack`` of a limit under the law; of one on each prompt that of the prompt which has the least."""
    term = law.terms[index]
    if term.kind != "budget" or not term.each_prompt or rate is None:
        return slack(term, rate)
    weights, scores = law.weights, law.scores
    occurs = np.add.reduceat(weights * scores.counts[:, index], scores.starts)
    above = np.add.reduceat(weights * law.features[:, index], scores.starts)
    if not scores.exact:  # the bias of self-normalisation, as in the bounds that the multipliers were solved for
        above += np.add.reduceat(weights**2 * (law.features[:, index] - scores.spread(above)), scores.starts)
    over = above[occurs > 0] / occurs[occurs > 0]
    worst = {"at most": float(-over.max()), "at least": float(over.min())}
    return worst.get(str(term.sense), float(-np.abs(over).max()))


def slack(term: RewardTerm, rate: Measured | None) -> float | None:
    """How far a rate is from the bound of its limit, in its unit: negative where it is missed."""
    if term.kind != "budget" or rate is None or term.bound is None:
        return None
    room = {"at most": term.bound - rate.value, "at least": rate.value - term.bound}
    return room.get(str(term.sense), -abs(rate.value - term.bound))


def _is_ratio(term: RewardTerm) -> bool:
    """Whether a rate is one mean divided by another. A limit that is not `among` is about all answers to the prompts
    that it applies to, whose share is known."""
    return term.kind != "budget" or term.among is not None


def _ratio_error(moments: Moments, top: int, bottom: int, value: float, about: float, is_ratio: bool) -> float:
    """The error of mean[top] / about, where `about` is mean[bottom] or known."""
    variance = moments.mean_variance
    squared = variance[top, top]
    if is_ratio:
        squared = squared - 2 * value * variance[top, bottom] + value**2 * variance[bottom, bottom]
    return math.sqrt(max(float(squared), 0.0)) / about


def _names(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"
