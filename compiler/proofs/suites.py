"""Limits with a confidence that their suite is too small for (P415).

An audit takes such a limit as met when the exact one-sided bound of Clopper and Pearson (1934) keeps to it. With no
answer out of n against the limit, that bound is 1 - (1 - confidence)^(1/n), so with one answer to each prompt a suite
may be too small for any model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs._limits import Limit, asked, limits_of, mark, percent, reads_only_prompt_and_facts
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.logic import conjuncts
from bylaw.spec.regulator import Suite

CODES = ("P415",)

SLACK = 1e-12
"""How far rounding may put a bound over a limit that it meets; the same as in an audit."""
MOST_PROMPTS = 10**9


def find(view: PolicyView) -> Iterator[Diagnostic]:
    """P415 for each limit that answers to its suite can never show to be met, with one answer to each prompt."""
    suites = {suite.name: suite for suite in view.policy.suites}
    for limit in limits_of(view):
        suite = suites.get(limit.term.suite or "")
        confidence = limit.term.confidence
        if suite is None or confidence is None:
            continue
        needed = prompts_needed(limit.term)
        there = sum(_may_count(limit.term, prompt) for prompt in dict.fromkeys(suite.prompts))
        if needed is not None and there < needed:
            yield _too_small(limit, suite, there, needed)


def prompts_needed(term: RewardTerm) -> int | None:
    """The fewest prompts, with one answer each and none against the limit, that show it to be met with its confidence.

    None where any number may: a limit without a confidence, and `exactly`, which counts as met until answers speak
    against it. An average takes two prompts, because one tells nothing about how far answers differ.
    """
    if term.confidence is None or term.bound is None or term.sense == "exactly":
        return None
    if term.holds is None:
        return 2
    most_wrong = term.bound if term.sense == "at most" else 1.0 - term.bound
    if most_wrong <= 0.0 or most_wrong >= 1.0:
        return None
    count = max(1, math.floor(math.log1p(-term.confidence) / math.log1p(-most_wrong)) - 1)
    while count < MOST_PROMPTS and _edge(count, term.confidence) > most_wrong + SLACK:
        count += 1
    return count


def _edge(count: int, confidence: float) -> float:
    """The upper end of the share that is still possible after `count` answers, none of them wrong."""
    return -math.expm1(math.log1p(-confidence) / count)


def _may_count(term: RewardTerm, prompt: str) -> bool:
    """Whether answers to a prompt of the suite may count: the other conditions are not known to be false of it."""
    parts = [part for part in conjuncts(term.condition) if reads_only_prompt_and_facts(part)]
    return all(truth(part, asked(prompt)) is not False for part in parts)


def _too_small(limit: Limit, suite: Suite, there: int, needed: int) -> Diagnostic:
    confidence = Fraction(repr(limit.term.confidence))
    counted = f"{there} prompt{'' if there == 1 else 's'}"
    which = "" if there == len(suite.prompts) else " that the limit is about"
    notes = [
        f"{needed:,} prompts are needed; `{suite.name}` has {there:,}{which}",
        "more answers to the same prompts tell of these prompts, not of others like them",
    ]
    if limit.term.holds is not None and limit.term.confidence is not None and there:
        edge = Fraction(repr(round(100 * _edge(there, limit.term.confidence), 1))) / 100
        if limit.term.sense == "at most":
            found = f"even if no answer shows it, the rate can still be as high as {percent(edge)}"
        else:
            found = f"even if every answer shows it, the rate can still be as low as {percent(1 - edge)}"
        notes.insert(0, f"{found} (exact bound, {percent(confidence)} sure)")
    elif limit.term.holds is None:
        notes.insert(0, "one answer does not tell how far answers differ, so nothing can be said of their average")
    return Diagnostic(
        "P415",
        Severity.WARNING,
        f"one answer to each prompt of suite `{suite.name}` cannot show with {percent(confidence)} confidence "
        f"that {limit.name} is met",
        mark(limit.term.extent, f"this asks for {limit.asks} ..."),
        (mark(suite.extent, f"... over {counted}"),),
        tuple(notes),
        Fix("add prompts to the suite, or ask for less confidence or a wider bound"),
    )
