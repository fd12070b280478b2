"""What a policy costs on a real model: the shares of its rules in KL(p*||p0), in nats a response."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bylaw.compiler.law.path_prices import attribute
from bylaw.compiler.law.prices import PricedPrompt, balance_log_ratio
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.decoders.engine import proposal_log_prob
from bylaw.runtime.decoders.interface import DecodeResult, DecodeTask
from bylaw.runtime.enforcement import BATCH, PromptPlan, score_samples
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.sampling import BaseSample
from bylaw.runtime.record import Interval, Price, TermPrice

ROUNDING = 1e-12
"""Nats."""


def price_policy(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    results: Sequence[DecodeResult],
    tasks: Sequence[DecodeTask],
    model: LanguageModel,
    *,
    max_tokens: int,
    masked: bool,
    progress: Callable[[int, int], None],
) -> Price | None:
    """The shares of terms in KL(p*||p0) on base and regulated samples together (balance heuristic).

    The look-ahead of the proposal was counted on the same base samples, so their q is not quite that of fresh ones: an
    error of the order of one over their number, against an interval of one over its root. `masked` says that the
    results come from masking. None for a policy without terms. Raises EmptySupport when a prompt has no legal sample.
    """
    by_law: dict[int, list[int]] = {}
    for index, task in enumerate(tasks):
        by_law.setdefault(id(task.law), []).append(index)
    priced: dict[int, PricedPrompt] = {}
    for members in by_law.values():
        prompts = [tasks[index].prompt for index in members for _ in base[index]]
        tokens = [sample.tokens for index in members for sample in base[index]]
        first = tasks[members[0]]
        log_q = proposal_log_prob(
            model,
            prompts,
            tokens,
            first.law,
            first.twists,
            max_tokens,
            batch_size=BATCH,
            masked=masked,
        )
        split = np.split(log_q, np.cumsum([len(base[index]) for index in members])[:-1])
        for index, own in zip(members, split, strict=True):
            priced[index] = _priced_prompt(program, plans[index], base[index], own, results[index])
            progress(len(priced), len(tasks))
    if not program.terms:
        return None
    found = attribute([priced[index] for index in range(len(tasks))])
    low, high = found.total.interval
    terms = tuple(
        TermPrice(term.id, _without_noise(share), _without_noise(np.hypot(error, order)))
        for term, share, error, order in zip(
            program.terms, found.shares, found.standard_error, found.approximation_error, strict=True
        )
    )
    return Price(found.total.value, Interval(max(low, 0.0), high), terms, found.method)


def _without_noise(nats: float) -> float:
    """A price that differs from nothing by rounding alone is nothing."""
    return float(nats) if abs(nats) > ROUNDING else 0.0


def _priced_prompt(
    program: RewardProgram, plan: PromptPlan, base: Sequence[BaseSample], base_log_q: np.ndarray, result: DecodeResult
) -> PricedPrompt:
    # Proposals that only a finished text shows to be forbidden belong to the base law as much as all others.
    drawn = (*result.samples, *result.refused)
    log_p0 = np.array([s.log_p0 for s in base] + [s.log_p0 for s in drawn])
    log_q = np.concatenate([base_log_q, [s.log_q for s in drawn]])
    ratio = balance_log_ratio(log_p0, log_q, len(base), result.particles)
    # The law is over texts: a base sample that is not valid UTF-8 has none, and p0 is taken given that there is one.
    ratio[: len(base)][[not sample.is_text for sample in base]] = -np.inf
    texts = [sample.text for sample in base] + [sample.text for sample in drawn]
    return PricedPrompt(ratio, score_samples(program, plan, texts).factors)
