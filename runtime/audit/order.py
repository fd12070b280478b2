"""Order sensitivity: does the order of rules in a prompt, or of evidence before a judge, change what comes out?

For a model that treats its context as a set, every order gives the same probability: the spread over orders is exactly
zero, so it is a regression test. What is left of it after averaging over m orders shrinks as m^(−1/2). Log
probabilities and code lengths in nats. Source: LLMs are Bayesian, in Expectation, not in Realization,
arXiv:2507.11768v2; the code of Krichevsky and Trofimov 1981 for the comparison.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.clustered import ClusteredEstimate
from bylaw.runtime.audit.comparison import PairedDifference, paired_difference
from bylaw.runtime.audit.statistics import CONFIDENCE

if TYPE_CHECKING:
    from bylaw.runtime.models.interface import LanguageModel

FloatArray = NDArray[np.float64]


# ------------------------------------------------------------------------------------------------------ pure functions
def orders(parts: int, most: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Different orders of `parts` things: all of them if they are at most `most`, else the one as written and `most`
    − 1 random ones. The one as written comes first. Raises ValueError for fewer than two parts or orders."""
    if parts < 2 or most < 2:
        raise ValueError("an order needs two parts, and a comparison two orders")
    if parts <= 10 and math.factorial(parts) <= most:
        return tuple(itertools.permutations(range(parts)))
    rng = np.random.default_rng(seed)
    found = {tuple(range(parts)): None}
    while len(found) < most:
        found[tuple(int(at) for at in rng.permutation(parts))] = None
    return tuple(found)


def dispersion(values: ArrayLike) -> FloatArray:
    """[N] the standard deviation (factor m − 1) over orders of `values` [N, m], with what equals exactly 0 exact.

    Raises ValueError for fewer than two orders or values that are not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError("the spread over orders needs finite values for two orders at least")
    # taking the first off keeps equal values equal: a mean would round
    shifted = table - table[:, :1]
    return np.asarray(shifted.std(axis=1, ddof=1))


def order_divergence(log_laws: ArrayLike) -> float:
    """The generalised Jensen-Shannon divergence of next-token laws [m, V] (nats, at most log m) over m orders.

    It is how many nats the order tells about the token. Raises ValueError for rows that are no laws.
    """
    rows = np.asarray(log_laws, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 1 or np.abs(np.exp(rows).sum(axis=1) - 1).max() > 1e-6:
        raise ValueError("order divergence needs the log-probabilities of one law for each order")
    middle = np.logaddexp.reduce(rows, axis=0) - math.log(len(rows))
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(rows), 0.0, np.exp(rows) * (rows - middle))
    return max(0.0, float(terms.sum(axis=1).mean()))


def kt_code_length(ones: int, zeros: int) -> float:
    """Nats that the code of Krichevsky and Trofimov (Beta(½, ½) predictions) needs for bits, in any order."""
    if ones < 0 or zeros < 0:
        raise ValueError("counts are not negative")
    half = math.lgamma(0.5)
    return 2 * half + math.lgamma(ones + zeros + 1) - math.lgamma(ones + 0.5) - math.lgamma(zeros + 0.5)


# ---------------------------------------------------------------------------------------------------------- verdicts
@dataclass(frozen=True, slots=True)
class VerdictOrders:
    """Verdicts of a judge on items that it saw in several orders.

    `flips`: how likely two orders give different verdicts on one item, mean over items. `repeats`: how likely two
    answers to the same question in the same order differ, on the items that were repeated; None where none was.
    `beyond`: `flips` minus `repeats` on these items, paired: what the order does, and chance does not. `majority`:
    the mean share of orders that agree with the item's most common verdict. `unstable`: items with more than one.
    """

    flips: ClusteredEstimate
    repeats: ClusteredEstimate | None
    beyond: PairedDifference | None
    majority: float
    unstable: int
    items: int
    verdicts: int
    left_out: int


def verdict_orders(
    verdicts: Mapping[str, Mapping[str, Sequence[Hashable]]], confidence: float = CONFIDENCE
) -> VerdictOrders:
    """From `verdicts`: by item, by order, the verdicts (one, or several repeats).

    Items seen in one order only are left out. Raises ComparisonError where fewer than two are left.
    """
    used = {item: by for item, by in verdicts.items() if sum(bool(said) for said in by.values()) > 1}
    if len(used) < 2:
        raise ComparisonError(
            f"{len(used)} of {len(verdicts)} items have verdicts in two orders; two such items are needed at least"
        )
    flips, within, across, majority, unstable = [], [], [], [], 0
    for by in used.values():
        groups = [list(said) for said in by.values() if said]
        flip = _between(groups)
        flips.append(flip)
        own = _within(groups)
        if own is not None:
            within.append(own)
            across.append(flip)
        every = [said for group in groups for said in group]
        top = max(every.count(said) for said in set(every))
        majority.append(top / len(every))
        unstable += top < len(every)
    enough = len(within) > 1
    return VerdictOrders(
        clustered.mean(flips, None, confidence, (0.0, 1.0)),
        clustered.mean(within, None, confidence, (0.0, 1.0)) if enough else None,
        paired_difference(across, within, None, confidence) if enough else None,
        math.fsum(majority) / len(majority),
        unstable,
        len(used),
        sum(len(said) for by in used.values() for said in by.values()),
        len(verdicts) - len(used),
    )


def _between(groups: Sequence[Sequence[Hashable]]) -> float:
    """The mean over pairs of orders of how likely a verdict from each differ."""
    shares = [
        sum(one != two for one in first for two in second) / (len(first) * len(second))
        for first, second in itertools.combinations(groups, 2)
    ]
    return math.fsum(shares) / len(shares)


def _within(groups: Sequence[Sequence[Hashable]]) -> float | None:
    shares = [
        sum(one != two for one, two in itertools.combinations(group, 2)) / math.comb(len(group), 2)
        for group in groups
        if len(group) > 1
    ]
    return math.fsum(shares) / len(shares) if shares else None


# ------------------------------------------------------------------------------------------------------------- models
@dataclass(frozen=True, slots=True)
class ModelOrders:
    """One prompt's answer under every order of what stands before it.

    `log_probs` [m]: of the whole answer, nats; `spread` their standard deviation; `divergence`: what the order tells
    about the first token (nats); `is_top_changed`: whether the likeliest first token depends on the order.
    """

    log_probs: tuple[float, ...]
    spread: float
    divergence: float
    is_top_changed: bool


def model_orders(
    model: LanguageModel, prompts: Sequence[tuple[int, ...]], answer: Sequence[int], *, ended: bool
) -> ModelOrders:
    """`answer` (regular tokens) after each of `prompts`, the same content in m orders.

    `ended`: whether the end of text belongs to the answer. Raises ModelError as the model does, ValueError for fewer
    than two prompts or an empty answer without its end.
    """
    from bylaw.runtime.audit.shift import token_laws

    if len(prompts) < 2 or not (answer or ended):
        raise ValueError("order sensitivity needs two orders, and an answer")
    totals = np.zeros(len(prompts))
    first: FloatArray | None = None
    for law, token in token_laws(model, list(prompts), answer, ended=ended):
        first = law.copy() if first is None else first
        totals += law[:, token]
    assert first is not None
    if not np.isfinite(totals).all():
        raise ValueError("the answer has no probability under some order")
    tops = first.argmax(axis=1)
    return ModelOrders(
        tuple(float(value) for value in totals),
        float(dispersion(totals[None, :])[0]),
        order_divergence(first),
        len(set(tops.tolist())) > 1,
    )
