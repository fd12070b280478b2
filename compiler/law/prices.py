"""What each rule costs: KL per rule as Shapley shares, LAW.md §2.

Every term t of the law is a log factor L_t: 0 or −inf for a hard rule, w·r for a soft one, −μ·f for a budget. A
coalition S of terms has the law p_S ∝ p0 · exp(Σ_{t∈S} L_t) and the value

    v(S) = mean_x KL(p_S(.|x)‖p0(.|x)) = mean_x ( E_{p_S}[Σ_{t∈S} L_t] − log Ẑ_S ),

estimated on samples pooled from several proposals with weights p0/m for their mixture m (the balance heuristic). p0 is
itself self-normalised on the sample, so that v(∅) = 0 exactly and v(S) ≥ 0 always. Sources: Veach and Guibas 1995
(balance heuristic); Shapley 1953; the infinitesimal jackknife (Jaeckel 1972) for errors. Beyond ``EXACT_TERMS`` rules
``path_prices`` divides the same total along a path.

Errors are Monte-Carlo errors within prompts, prompts being a fixed suite, like everywhere in this package. v is a
smooth function of the sample, so its influence function gives them without resampling and without a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import (
    BoolArray,
    EmptySupport,
    FloatArray,
    IntArray,
    as_vector,
    log_sum_exp,
)
from bylaw.compiler.law.samples import Estimate

EXACT_TERMS = 12  # 2^12 coalitions are quick
_BLOCK = 256  # coalitions evaluated at once: bounds memory at N × 256 numbers


@dataclass(frozen=True, eq=False)
class PricedPrompt:
    """The pooled samples of one prompt.

    Attributes:
        log_base_ratio: [N] log p0(y)/m(y) in nats, m the mixture that the samples came from; −inf allowed.
        log_factors: [N, T] the terms' log factors in nats; −inf only means "forbidden by this rule".

    Raises:
        ValueError: shapes disagree, no samples, NaN or +inf.
    """

    log_base_ratio: FloatArray
    log_factors: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_base_ratio", as_vector(self.log_base_ratio, "log_base_ratio"))
        factors = np.array(self.log_factors, dtype=np.float64)
        factors.setflags(write=False)
        object.__setattr__(self, "log_factors", factors)
        if self.log_base_ratio.size == 0 or factors.ndim != 2 or factors.shape[0] != self.log_base_ratio.size:
            raise ValueError(
                "expected log_base_ratio [N ≥ 1] and log_factors [N, T], "
                f"got {self.log_base_ratio.shape} and {factors.shape}"
            )
        if np.isnan(factors).any() or np.isposinf(factors).any() or np.isposinf(self.log_base_ratio).any():
            raise ValueError("log factors and ratios must be below +inf and not NaN")


@dataclass(frozen=True, eq=False)
class Attribution:
    """KL paid per rule, in nats; ``shares`` sums exactly to ``total.value``.

    Attributes:
        shares: [T]; a negative share is possible only for a rule that undoes others.
        standard_error: [T] Monte-Carlo error of the shares from the finite sample (infinitesimal jackknife).
        approximation_error: [T] bound on what the division itself adds: of a quadrature; zero where it is exact.
        prompt_error: [T] jackknife error over prompts, for readers who take the prompts as a random draw; NaN for one.
        prompt_shares: [X, T] the shares of each prompt.
        total: v(all terms), the KL of the law to the base model.
        alone: [T] v({t}), what the rule would cost if it were the only one.
        last: [T] v(all) − v(all but t), what dropping it would save.
        method: how the total was divided, in words. evaluations: of how many laws a prompt.
    """

    shares: FloatArray
    standard_error: FloatArray
    approximation_error: FloatArray
    prompt_error: FloatArray
    prompt_shares: FloatArray
    total: Estimate
    alone: FloatArray
    last: FloatArray
    method: str
    evaluations: int


def shapley(prompts: Sequence[PricedPrompt], prompt_weight: npt.ArrayLike | None = None) -> Attribution:
    """Divide KL(p*‖p0) among the T ≤ ``EXACT_TERMS`` terms by their Shapley values over all 2^T coalitions.

    Raises:
        ValueError: no prompts, prompts disagree on T, or T is too large: ``path_prices.attribute`` takes any number.
        EmptySupport: all terms together leave some prompt without a sample of positive weight.
    """
    weights, terms = checked_prompts(prompts, prompt_weight)
    if terms > EXACT_TERMS:
        raise ValueError(f"{terms} terms have too many coalitions: at most {EXACT_TERMS}, or use the path integral")
    coalitions, coefficients = all_coalitions(terms)
    values = np.zeros((len(prompts), len(coalitions)))
    variance = np.zeros(terms)
    for row, prompt in enumerate(prompts):
        quick = _all_coalition_values(prompt, coefficients)
        values[row], influence = coalition_values(prompt, coalitions, coefficients) if quick is None else quick
        variance += weights[row] ** 2 * np.square(influence).sum(axis=0)
    return attribution(
        prompts,
        prompt_weight,
        prompt_shares=values @ coefficients,
        variance=variance,
        approximation_error=np.zeros(terms),
        method="Shapley value over all sets of rules",
        evaluations=len(coalitions),
    )


def attribution(
    prompts: Sequence[PricedPrompt],
    prompt_weight: npt.ArrayLike | None,
    *,
    prompt_shares: FloatArray,
    variance: FloatArray,
    approximation_error: FloatArray,
    method: str,
    evaluations: int,
) -> Attribution:
    """The shares [X, T] of each prompt, with the variances [T] of their mean, as a whole: what all methods report."""
    weights, terms = checked_prompts(prompts, prompt_weight)
    one = np.eye(terms, dtype=np.bool_)
    fringe = np.concatenate([np.ones((1, terms), dtype=np.bool_), one, ~one])
    nothing = np.zeros((len(fringe), 0))
    around = np.sum(
        [share * coalition_values(prompt, fringe, nothing)[0] for share, prompt in zip(weights, prompts, strict=True)],
        axis=0,
    )
    shares: FloatArray = weights @ prompt_shares
    total = total_kl(prompts, prompt_weight)
    # The shares agree with v(all) up to rounding and quadrature; the remainder goes where it is relatively smallest.
    if terms:
        shares[np.argmax(np.abs(shares))] += total.value - shares.sum()
    return Attribution(
        shares=shares,
        standard_error=np.sqrt(variance),
        approximation_error=approximation_error,
        prompt_error=_jackknife_error(prompt_shares, weights),
        prompt_shares=prompt_shares,
        total=total,
        alone=around[1 : terms + 1],
        last=around[0] - around[terms + 1 :],
        method=method,
        evaluations=evaluations,
    )


def total_kl(prompts: Sequence[PricedPrompt], prompt_weight: npt.ArrayLike | None = None) -> Estimate:
    """mean_x KL(p*‖p0) in nats with its within-prompt Monte-Carlo error.

    Raises:
        ValueError, EmptySupport: as for ``shapley``.
    """
    weights, terms = checked_prompts(prompts, prompt_weight)
    full = np.ones((1, terms), dtype=np.bool_)
    value = variance = 0.0
    for share, prompt in zip(weights, prompts, strict=True):
        found, influence = coalition_values(prompt, full, np.ones((1, 1)))
        value += share * float(found[0])
        variance += share**2 * float(np.square(influence).sum())
    return Estimate(float(value), float(np.sqrt(variance)))


def balance_log_ratio(log_p0: npt.ArrayLike, log_q: npt.ArrayLike, n_base: int, n_proposal: int) -> FloatArray:
    """log p0(y)/m(y) [N] in nats for samples pooled from the base law and a proposal (balance heuristic).

    m = (n_base·p0 + n_proposal·q)/(n_base + n_proposal): p0's log-probability log_p0 [N] and the proposal's log_q [N],
    each evaluated on every pooled sample, whichever law it came from.

    Raises:
        ValueError: shapes disagree, counts are negative or both zero, or a sample is impossible under the mixture.
    """
    base, proposal = as_vector(log_p0, "log_p0"), as_vector(log_q, "log_q")
    if base.shape != proposal.shape:
        raise ValueError(f"log_p0 {base.shape} and log_q {proposal.shape} must have one shape")
    if n_base < 0 or n_proposal < 0 or n_base + n_proposal == 0:
        raise ValueError("sample counts must be nonnegative and not both zero")
    with np.errstate(divide="ignore"):
        shares = np.log(np.array([n_base, n_proposal], dtype=np.float64) / (n_base + n_proposal))
    mixture = np.logaddexp(base + shares[0], proposal + shares[1])
    if np.isneginf(mixture).any():
        raise ValueError("a pooled sample has probability zero under the mixture that is said to have drawn it")
    result: FloatArray = base - mixture
    return result


def coalition_values(
    prompt: PricedPrompt, coalitions: BoolArray, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(v(S) [K] of one prompt, influence [M, C] of each sample on the C linear combinations ``coefficients`` [K, C]).

    Perturbing the weight of sample n moves v(S) by w̃_S,n (L_S,n − E_S) − w̃_S,n + w̃_∅,n, whose squares sum to the
    variance.
    """
    kept = prompt.log_base_ratio > -np.inf
    if not kept.any():
        raise EmptySupport("a prompt has no sample that the base law can produce")
    ratio = prompt.log_base_ratio[kept]
    base = ratio - log_sum_exp(ratio)
    factors = prompt.log_factors[kept]
    forbidden = np.isneginf(factors)
    finite = np.where(forbidden, 0.0, factors)
    values = np.zeros(coalitions.shape[0])
    influence = np.zeros((ratio.size, coefficients.shape[1]))
    for start in range(0, coalitions.shape[0], _BLOCK):
        block = coalitions[start : start + _BLOCK].T.astype(np.float64)
        factor = finite @ block
        log_weight = np.where(forbidden @ block > 0.0, -np.inf, base[:, None] + factor)
        peak = log_weight.max(axis=0)
        scaled = np.exp(log_weight - peak)
        total = scaled.sum(axis=0)
        weight = scaled / total
        mean = (weight * factor).sum(axis=0)
        values[start : start + _BLOCK] = mean - (peak + np.log(total))
        if coefficients.shape[1]:
            single = weight * (factor - mean - 1.0) + np.exp(base)[:, None]
            influence += single @ coefficients[start : start + _BLOCK]
    return np.maximum(values, 0.0), influence  # KL ≥ 0: only rounding can fall below


def _all_coalition_values(prompt: PricedPrompt, coefficients: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """``coalition_values`` of all 2^T coalitions in the order of ``all_coalitions``, by matrix products.

    Split the terms in two halves with subset tables A [M, I] and B [M, J] of weights and a, b of log factors: coalition
    (i, j) has weight A_i B_j and log factor a_i + b_j, so every sum over samples is a product of tables. None when some
    coalition's weights underflow, which is left to the slower log-space path.
    """
    kept = prompt.log_base_ratio > -np.inf
    base = np.exp(prompt.log_base_ratio[kept] - log_sum_exp(prompt.log_base_ratio[kept]))
    factors = prompt.log_factors[kept]
    terms = factors.shape[1]
    half = terms // 2
    low, high = _Tables.of(factors[:, :half]), _Tables.of(factors[:, half:])
    shift = np.add.outer(high.peak, low.peak)
    based = base[:, None] * high.weight
    total = based.T @ low.weight
    if not total.min() > 1e-250:
        return None
    mean = ((based * high.factor).T @ low.weight + based.T @ (low.weight * low.factor)) / total
    values = mean - shift - np.log(total)
    influence = np.outer(base, coefficients.sum(axis=0))
    for column in range(coefficients.shape[1]):
        scaled = coefficients[:, column].reshape(total.shape) / total
        mixed = based @ scaled
        influence[:, column] += (
            ((based * high.factor) @ scaled - based @ (scaled * (mean + 1.0))) * low.weight
            + mixed * low.weight * low.factor
        ).sum(axis=1)
    return np.maximum(values.ravel(), 0.0), influence


def all_set_values(prompts: Sequence[PricedPrompt]) -> FloatArray | None:
    """[2^T] v(S) in nats of every set of the terms, the mean over prompts, in the order of ``all_coalitions``.

    For many samples, without errors: few combinations of log factors are different, so sets are weighed on those of
    each half of the terms, and how much weight each two of them have together is counted. None where the weights of
    some set underflow, which is left to ``shapley``.
    """
    terms = prompts[0].log_factors.shape[1]
    half, edges = terms // 2, np.cumsum([len(prompt.log_base_ratio) for prompt in prompts])[:-1]
    factors = np.concatenate([prompt.log_factors for prompt in prompts])
    (low, low_rows), (high, high_rows) = _merged_tables(factors[:, :half]), _merged_tables(factors[:, half:])
    shift = np.add.outer(high.peak, low.peak)
    result = np.zeros(2**terms)
    for prompt, own_low, own_high in zip(prompts, np.split(low_rows, edges), np.split(high_rows, edges), strict=True):
        base = np.exp(prompt.log_base_ratio - log_sum_exp(prompt.log_base_ratio))
        (lows, at_low), (highs, at_high) = (np.unique(rows, return_inverse=True) for rows in (own_low, own_high))
        cells = np.bincount(at_high * len(lows) + at_low, base, len(highs) * len(lows)).reshape(len(highs), len(lows))
        weight, other = low.weight[lows], high.weight[highs]
        moved = cells @ weight
        total = other.T @ moved
        if not total.min() > 1e-250:
            return None
        mean = ((other * high.factor[highs]).T @ moved + other.T @ (cells @ (weight * low.factor[lows]))) / total
        result += np.maximum(mean - shift - np.log(total), 0.0).ravel() / len(prompts)
    return result


@dataclass(frozen=True, eq=False)
class _Tables:
    """What M rows of K log factors come to in every set of the K terms, indexed by bit mask.

    Attributes:
        factor: [M, 2^K] the log factor, 0 where the set forbids the row. peak: [2^K] what it is measured from, nats.
        weight: [M, 2^K] exp(factor − peak), 0 where the set forbids the row.
    """

    factor: FloatArray
    weight: FloatArray
    peak: FloatArray

    @classmethod
    def of(cls, factors: FloatArray) -> _Tables:
        forbidden = np.isneginf(factors)
        sums = _subset_sums(np.where(forbidden, 0.0, factors))
        allowed = _subset_sums(forbidden.astype(np.float64)) == 0.0
        peak = _subset_sums(np.maximum(factors.max(axis=0, initial=-1e300), -1e300)[None])[0]
        weight = np.where(allowed, np.exp(np.where(allowed, sums - peak, 0.0)), 0.0)
        return cls(np.where(allowed, sums, 0.0), weight, peak)


def _merged_tables(factors: FloatArray) -> tuple[_Tables, IntArray]:
    """(tables of the R different rows of [N, K], which of them each row is [N])."""
    plain = np.where(np.isneginf(factors), 1e6, factors)
    key = plain @ np.sqrt(np.arange(2.0, 2.0 + factors.shape[1]) + np.pi)
    _, first, rows = np.unique(key, return_index=True, return_inverse=True)
    if not np.array_equal(plain[first][rows], plain):  # two rows with one key: compare them in full
        _, first, rows = np.unique(plain, axis=0, return_index=True, return_inverse=True)
    return _Tables.of(factors[first]), rows.ravel()


def _subset_sums(values: FloatArray) -> FloatArray:
    """[M, 2^K] sums of the columns of ``values`` [M, K] over every subset, indexed by bit mask."""
    result = np.zeros((values.shape[0], 1))
    for column in values.T:
        result = np.concatenate([result, result + column[:, None]], axis=1)
    return result


def all_coalitions(terms: int) -> tuple[BoolArray, FloatArray]:
    """(every subset [K, T], Shapley's weights |S|!(T−1−|S|)!/T! on the marginal contributions [K, T])."""
    masks = np.arange(2**terms)
    coalitions = (masks[:, None] >> np.arange(terms)) & 1 == 1
    size = coalitions.sum(axis=1)
    entering = np.array([factorial(k) * factorial(terms - 1 - k) / factorial(terms) for k in range(terms)] + [0.0])
    # S with t counts as the coalition after t entered one of size |S| − 1, S without t as the one before.
    after = np.where(size > 0, entering[size - 1], 0.0)
    return coalitions, np.where(coalitions, after[:, None], -entering[size][:, None])


def _jackknife_error(prompt_shares: FloatArray, weights: FloatArray) -> FloatArray:
    """[T] error of the weighted mean over prompts; for a weighted mean the jackknife has this closed form."""
    if len(weights) < 2:
        return np.full(prompt_shares.shape[1], np.nan)
    deviation = (prompt_shares - weights @ prompt_shares) * weights[:, None]
    result: FloatArray = np.sqrt(np.square(deviation).sum(axis=0) * len(weights) / (len(weights) - 1))
    return result


def checked_prompts(prompts: Sequence[PricedPrompt], prompt_weight: npt.ArrayLike | None) -> tuple[FloatArray, int]:
    """(prompt weights [X] that sum to 1, T).

    Raises:
        ValueError: no prompts, prompts disagree on T, or bad weights.
        EmptySupport: all terms together leave some prompt without a sample of positive weight.
    """
    if not prompts:
        raise ValueError("at least one prompt is needed")
    if len({prompt.log_factors.shape[1] for prompt in prompts}) != 1:
        raise ValueError("prompts disagree on the number of terms")
    weights = np.ones(len(prompts)) if prompt_weight is None else as_vector(prompt_weight, "prompt_weight")
    if weights.shape != (len(prompts),) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"prompt_weight must be {len(prompts)} finite nonnegative numbers, not all zero")
    empty = tuple(
        index
        for index, prompt in enumerate(prompts)
        if np.isneginf(prompt.log_base_ratio + prompt.log_factors.sum(axis=1)).all()
    )
    if empty:
        raise EmptySupport(f"the rules leave no pooled sample for prompt(s) {list(empty)}", prompts=empty)
    return weights / weights.sum(), int(prompts[0].log_factors.shape[1])
