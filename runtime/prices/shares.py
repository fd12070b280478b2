"""The divergence of a law from the base model, divided among its terms: Shapley values, LAW.md §2.

Terms that change no response's weight pay nothing and are left aside, so that what remains is small enough for all sets
of rules more often. With many responses the shares come from all of them, but their standard errors, which cost far
more, from an even selection: an error of a mean shrinks with the root of the number of responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.law.numerics import EmptySupport, FloatArray, IntArray, log_sum_exp
from bylaw.compiler.law.path_prices import path_integral
from bylaw.compiler.law.prices import (
    EXACT_TERMS,
    PricedPrompt,
    all_coalitions,
    shapley,
    total_kl,
)
from bylaw.runtime.prices.law import Law, Measured

ROUNDING = 1e-12
"""Nats: a share of the divergence that is smaller is none."""
FOR_ERRORS = 5_000
"""Responses, all prompts together, that standard errors are taken from."""


@dataclass(frozen=True, eq=False)
class Shares:
    """The divergence of a law from the base model in nats and its parts [T], with standard errors."""

    total: Measured
    parts: FloatArray
    errors: FloatArray
    method: str


def paying(law: Law) -> IntArray:
    """The columns of the terms that change the weight of some response."""
    return np.flatnonzero((law.log_factors != 0.0).any(axis=0)).astype(np.int64)


def is_long(law: Law) -> bool:
    """Whether there are too many paying terms for all sets of them."""
    return len(paying(law)) > EXACT_TERMS


def divided(law: Law, along_path: bool = False) -> Shares:
    """Divides the divergence among the terms: by Shapley values, or by the path integral where there are too many
    terms or `along_path` asks for it."""
    prompts, columns = law.priced_prompts(), paying(law)
    narrow = [PricedPrompt(each.log_base_ratio, each.log_factors[:, columns]) for each in prompts]
    by_path = along_path or len(columns) > EXACT_TERMS
    found = None if by_path else _many(narrow)
    if found is None:
        whole = path_integral(narrow) if by_path else shapley(narrow)
        found = whole.shares, np.hypot(whole.standard_error, whole.approximation_error), whole.method
    total = total_kl(narrow)
    parts, spread = np.zeros(len(law.terms)), np.zeros(len(law.terms))
    parts[columns] = np.where(np.abs(found[0]) > ROUNDING, found[0], 0.0)
    spread[columns] = found[1]
    low, high = total.interval
    return Shares(Measured(total.value, max(low, 0.0), high), parts, spread, found[2])


def _many(prompts: Sequence[PricedPrompt]) -> tuple[FloatArray, FloatArray, str] | None:
    """([K] Shapley values, [K] standard errors, how they were found) of many responses; None where there are few, or
    where some set of rules or a selection leaves a prompt without weight."""
    sizes = np.array([len(prompt.log_base_ratio) for prompt in prompts])
    step = -(-int(sizes.sum()) // FOR_ERRORS)
    values = None if step == 1 else all_set_values(prompts)
    if values is None:
        return None
    try:
        thin = shapley([PricedPrompt(each.log_base_ratio[::step], each.log_factors[::step]) for each in prompts])
    except EmptySupport:
        return None
    terms = prompts[0].log_factors.shape[1]
    parts = values @ all_coalitions(terms)[1]
    errors = thin.standard_error * np.sqrt(np.mean(-(-sizes // step) / sizes))
    return parts, errors, f"{thin.method} (errors from every {step}th response)"


def all_set_values(prompts: Sequence[PricedPrompt]) -> FloatArray | None:
    """[2^K] the divergence of the law of every set of the K terms, the mean over prompts, in nats; the set is the
    binary number of its members. None where the weights of some set underflow.

    Few combinations of log factors are different: sets are weighed on those of each half of the terms, and how much
    weight each two of them have together is counted.
    """
    terms = prompts[0].log_factors.shape[1]
    half, edges = terms // 2, np.cumsum([len(prompt.log_base_ratio) for prompt in prompts])[:-1]
    factors = np.concatenate([prompt.log_factors for prompt in prompts])
    low, high = _Half.of(factors[:, :half]), _Half.of(factors[:, half:])
    shift = np.add.outer(high.peak, low.peak)
    result = np.zeros(2**terms)
    for prompt, low_codes, high_codes in zip(
        prompts, np.split(low.codes, edges), np.split(high.codes, edges), strict=True
    ):
        base = np.exp(prompt.log_base_ratio - log_sum_exp(prompt.log_base_ratio))
        (lows, at_low), (highs, at_high) = (np.unique(codes, return_inverse=True) for codes in (low_codes, high_codes))
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
class _Half:
    """The R different rows of some K terms: `codes` [N] says which a response has; `weight` and `factor` [R, 2^K] are
    those of every set of the terms, the weight less its largest, `peak` [2^K] (nats)."""

    codes: IntArray
    weight: FloatArray
    factor: FloatArray
    peak: FloatArray

    @classmethod
    def of(cls, factors: FloatArray) -> _Half:
        first, codes = _different(factors)
        rows = factors[first]
        forbidden = np.isneginf(rows)
        peak = _sums(np.maximum(rows.max(axis=0, initial=-1e300), -1e300)[None])[0]
        allowed = _sums(forbidden.astype(np.float64)) == 0.0
        factor = np.where(allowed, _sums(np.where(forbidden, 0.0, rows)), 0.0)
        return cls(codes, np.where(allowed, np.exp(factor - peak), 0.0), factor, peak)


def _different(rows: FloatArray) -> tuple[IntArray, IntArray]:
    """(where the R different rows of [N, K] stand first, which of them each row is [N])."""
    plain = np.where(np.isneginf(rows), 1e6, rows)
    key = plain @ np.sqrt(np.arange(2.0, 2.0 + rows.shape[1]) + np.pi)
    _, first, codes = np.unique(key, return_index=True, return_inverse=True)
    if not np.array_equal(plain[first][codes], plain):  # two rows with one key: compare them in full
        _, first, codes = np.unique(plain, axis=0, return_index=True, return_inverse=True)
    return first, codes.ravel()


def _sums(rows: FloatArray) -> FloatArray:
    """[N, 2^K] the sums of [N, K] over every set of columns, by its binary number."""
    result = np.zeros((rows.shape[0], 1))
    for column in rows.T:
        result = np.concatenate([result, result + column[:, None]], axis=1)
    return result
