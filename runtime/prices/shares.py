"""The divergence of a law from the base model, divided among its terms: Shapley values, LAW.md §2.

Terms that change no response's weight pay nothing and are left aside, so that what remains is small enough for all sets
of rules more often. With many responses the shares come from all of them, but their standard errors, which cost far
more, from an even selection: an error of a mean shrinks with the root of the number of responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.law.numerics import EmptySupport, FloatArray, IntArray
from bylaw.compiler.law.path_prices import path_integral
from bylaw.compiler.law.prices import (
    EXACT_TERMS,
    PricedPrompt,
    all_coalitions,
    all_set_values,
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
