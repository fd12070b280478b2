"""One row for each rule: how often it is broken before and after, multiplier, price, and its part of the divergence.

Rates and divergences are those of the law with the strengths as they stand, with Monte-Carlo intervals (95 %). Sources:
LAW.md §2 for shadow prices; Shapley 1953 for the shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.prices.interactions import WeightBuys, weight_buys
from bylaw.runtime.prices.law import Measured, base_law, is_share, room
from bylaw.runtime.prices.remarks import remarks
from bylaw.runtime.prices.shares import ROUNDING, Shares, divided
from bylaw.runtime.prices.solve import Solved


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What one term costs.

    Attributes:
        base, law: how often it is broken or its event happens, or the mean of its quantity, without any rule and under
            the law; None where it is about no response.
        strength: the weight or multiplier in nats; None for a hard rule. low, high: the interval of a multiplier.
        shadow_price: nats by which the objective (divergence less what weighed rules gain, and with what a bound that
            gives way is missed by at its price) changes for one more unit of the bound; for a limit of a share, a unit
            is from 0 to 100 %. low, high: its interval.
        buys: what one more nat of a weight does; None for hard rules and limits.
        kl, kl_standard_error: its part of the divergence from the base model in nats, and the standard error.
        share: the same as a share of the whole; None where the whole is nothing.
        slack: how far a limit is from its bound, in its unit, of one on each prompt where it is nearest; negative where
            it is missed.
        remarks: what to know: redundant, never seen, at its highest price.
    """

    term: str
    rule: str
    title: str | None
    kind: str
    level: str
    sense: str | None
    bound: float | None
    is_share: bool
    base: Measured | None
    law: Measured | None
    strength: float | None
    strength_low: float | None
    strength_high: float | None
    shadow_price: float | None
    shadow_low: float | None
    shadow_high: float | None
    buys: WeightBuys | None
    kl: float
    kl_standard_error: float
    share: float | None
    slack: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All rows, and what they come to. `method` says how the divergence was divided; `ess` is the effective number of
    responses in all, and of the hardest prompt, under the law; `samples` how many were drawn."""

    rows: tuple[PriceRow, ...]
    kl: Measured
    method: str
    samples: int
    prompts: int
    ess: float
    smallest_ess: float
    base_ess: float


def price_table(solved: Solved, ceilings: Mapping[str, float] | None = None) -> PriceTable:
    """The rows of a solved law. `ceilings` are upper bounds (95 %) on the rates, by term id, of what no draw from the
    base model showed.

    Raises Unanswerable where a prompt has no response left."""
    law = solved.law
    base, under = base_law(law.scores, law.terms), law.rates()
    before = base.rates()
    shares = divided(law)
    buys = weight_buys(law, binding(solved))
    said = remarks(solved, before, ceilings or {})
    rows = tuple(
        _row(solved, index, term, before[index], under[index], shares, buys.get(index), said[index])
        for index, term in enumerate(law.terms)
    )
    moments = law.moments
    return PriceTable(
        rows,
        shares.total,
        shares.method,
        law.scores.drawn,
        len(law.scores.prompts),
        moments.ess,
        float(moments.prompt_ess.min()),
        base.moments.ess,
    )


def binding(solved: Solved) -> tuple[int, ...]:
    """The columns of limits that hold with equality, at a multiplier that is free to move."""
    if solved.solution is None:
        return ()
    return tuple(
        index for index, status in zip(solved.columns, solved.solution.status, strict=True) if status == "binding"
    )


def _row(
    solved: Solved,
    index: int,
    term: RewardTerm,
    base: Measured | None,
    under: Measured | None,
    shares: Shares,
    buys: WeightBuys | None,
    said: tuple[str, ...],
) -> PriceRow:
    strength, low, high = _strength(solved, index, term)
    price = shadow_price(solved, index, term)
    kl = float(shares.parts[index])
    return PriceRow(
        term=term.id,
        rule=term.rule,
        title=term.title,
        kind=term.kind,
        level=term.level,
        sense=None if term.sense is None else str(term.sense),
        bound=term.bound,
        is_share=is_share(term),
        base=base,
        law=under,
        strength=strength,
        strength_low=low,
        strength_high=high,
        shadow_price=None if price is None else price.value,
        shadow_low=None if price is None else price.low,
        shadow_high=None if price is None else price.high,
        buys=buys,
        kl=kl,
        kl_standard_error=float(shares.errors[index]),
        share=kl / shares.total.value if shares.total.value > ROUNDING else None,
        slack=room(solved.law, index, under),
        remarks=said,
    )


def _strength(solved: Solved, index: int, term: RewardTerm) -> tuple[float | None, float | None, float | None]:
    """A weight, or a multiplier (the mean over prompts, where each has its own) with its interval."""
    if term.kind == "hard":
        return None, None, None
    if term.kind != "budget":
        return term.weight, None, None
    found = solved.multiplier(index)
    return found.value, found.low, found.high


def shadow_price(solved: Solved, index: int, term: RewardTerm) -> Measured | None:
    """By how many nats the objective (divergence less what weighed rules gain) changes for one more unit of a bound.

    By the envelope theorem that is −μ times the derivative of the constraint: the share of the prompts that the limit
    is about, or for a limit `among` others how often those occur under the law, prompt by prompt where each has its
    own multiplier. For a limit that gives way, the objective has what it is missed by as well, at its price.
    """
    if term.kind != "budget":
        return None
    law = solved.law
    about = float(law.moments.mean[len(law.terms) + index] if term.among is not None else law.scores.share[index])
    found = solved.multiplier(index)
    if term.each_prompt and found.value:
        occurs = np.add.reduceat(law.weights * law.scores.counts[:, index], law.scores.starts)
        about = float(-law.strength[:, index] @ occurs) / len(occurs) / found.value
    return Measured(-found.value * about, -found.high * about, -found.low * about)
