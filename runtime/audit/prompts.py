"""Answers to the same prompt: which they are, and whether limits hold for the answers to each prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.record import PromptRate
from bylaw.spec.regulator import Sense
from bylaw.spec.trace import Message, Trace

ERROR = 0.05
"""How often, at most, a policy that keeps to a limit for each prompt is said to break it for some prompt."""

Judge = Callable[[RewardTerm, Sequence[float], Sequence[Hashable] | None], tuple[float | None, bool | None]]
"""(the one-sided bound, whether the limit is met) of the values of a limit."""

LONGEST = 60
"""Characters of a prompt by which it is called."""


def prompts_of(traces: Sequence[Trace]) -> list[str] | None:
    """What to call the prompt that each trace answers; None where no two answer the same one.

    Two traces answer the same prompt where the conversations up to the last message of the user are the same; a trace
    without such a message answers a prompt of its own. Answers to one prompt are not independent of each other.
    """
    names: dict[Hashable, str] = {}
    taken: set[str] = set()
    found = []
    for number, trace in enumerate(traces):
        context = asked_in(trace.messages)
        key: Hashable = context or number
        if key not in names:
            name = name_of(context) or f"transcript {number + 1}"
            names[key] = name if name not in taken else f"{name} (transcript {number + 1})"
            taken.add(names[key])
        found.append(names[key])
    return found if len(names) < len(traces) else None


def asked_in(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation up to the last message of the user; nothing where there is none."""
    return messages[: max((place + 1 for place, each in enumerate(messages) if each.role == "user"), default=0)]


def name_of(context: tuple[Message, ...]) -> str:
    """The beginning of its last message, on one line; nothing where there is none, or it has no words."""
    text = " ".join(context[-1].content.split()) if context else ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def by_prompt(values: Sequence[float], prompts: Sequence[Hashable]) -> dict[str, list[float]]:
    """The values of each prompt; nothing where no prompt has several."""
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
    prompt keeps to it (its bound, where a confidence is asked for). One answer to a prompt is not enough to say so.
    """
    if overall is False:
        return False
    if not prompts:
        return None
    certain = 1.0 - ERROR / len(prompts)
    if any(_speak_against(term, values, certain, judge) for values in prompts.values()):
        return False
    met = all(len(values) > 1 and judge(term, values, None)[1] is True for values in prompts.values())
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
