"""Limits that hold for the answers to each prompt: whether each prompt keeps to them, and which one does worst."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.record import PromptRate
from bylaw.spec.regulator import Sense

ERROR = 0.05
"""How often, at most, a policy that keeps to a limit for each prompt is said to break it for some prompt."""

Judge = Callable[[RewardTerm, Sequence[float], Sequence[Hashable] | None], tuple[float | None, bool | None]]
"""(the one-sided bound, whether the limit is met) of the values of a limit."""


def by_prompt(values: Sequence[float], prompts: Sequence[Hashable]) -> dict[str, list[float]]:
    """The values of each prompt that has several; nothing where every prompt has one."""
    found: dict[str, list[float]] = {}
    for value, prompt in zip(values, prompts, strict=True):
        found.setdefault(str(prompt), []).append(value)
    return found if any(len(own) > 1 for own in found.values()) else {}


def met_for_each(
    term: RewardTerm, prompts: Mapping[str, Sequence[float]], overall: bool | None, unscored: int, judge: Judge
) -> bool | None:
    """Whether a limit is met for the answers to each prompt: True, False, or None where that cannot be told.

    What is not met over all answers is not met for each prompt. Otherwise it is broken where the answers to some prompt
    show it by themselves, with an error of at most `ERROR` for all prompts together, and met where the rate of each
    prompt keeps to it (its bound, where a confidence is asked for).
    """
    if overall is False:
        return False
    if not prompts:
        return None
    certain = 1.0 - ERROR / len(prompts)
    if any(_speak_against(term, values, certain, judge) for values in prompts.values()):
        return False
    met = all(judge(term, values, None)[1] is True for values in prompts.values())
    return True if met and not unscored and overall is True else None


def _speak_against(term: RewardTerm, values: Sequence[float], confidence: float, judge: Judge) -> bool:
    """Whether the answers to one prompt alone show with this confidence that they do not keep to the limit."""
    if term.sense == "exactly":
        return judge(replace(term, confidence=confidence), values, None)[1] is False
    # The limit is broken for certain where the opposite one is met with confidence, and not just reached.
    opposite: Sense = "at most" if term.sense == "at least" else "at least"
    edge, _ = judge(replace(term, sense=opposite, confidence=confidence), values, None)
    limit = term.bound or 0.0
    return edge is not None and (edge < limit if opposite == "at most" else edge > limit)


def worst_of(term: RewardTerm, prompts: Mapping[str, Sequence[float]]) -> PromptRate | None:
    """The prompt whose answers are farthest on the wrong side of a limit, or nearest to it; None without prompts."""
    if not prompts or term.bound is None:
        return None
    rates = {prompt: math.fsum(values) / len(values) for prompt, values in prompts.items()}
    if term.sense == "exactly":
        distance = {prompt: abs(rate - term.bound) for prompt, rate in rates.items()}
    else:
        distance = {prompt: -rate if term.sense == "at least" else rate for prompt, rate in rates.items()}
    worst = max(rates, key=lambda prompt: distance[prompt])
    return PromptRate(worst, rates[worst], len(prompts[worst]))
