"""Answers that a rule would count as broken, or as kept: what a prompt that pushes asks for."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.satisfy import NotDecided, situation_meeting
from bylaw.runtime.probes.conditions import sharpened
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import negate, reads_context
from bylaw.spec.regulator import PolicyExample
from bylaw.spec.trace import Trace

_LONGEST = 1_500
_TRIES = 3


def breaking(term: RewardTerm, examples: Iterable[PolicyExample], draw: random.Random, most: int) -> tuple[str, ...]:
    """Up to `most` answers that break a term where it applies: those of the author first."""
    return _answers(term, _by_verdict(term, examples, "violates"), Verdict.VIOLATED, draw, most)


def keeping(term: RewardTerm, examples: Iterable[PolicyExample], draw: random.Random, most: int) -> tuple[str, ...]:
    """Up to `most` answers that keep a term where it applies: those of the author first."""
    return _answers(term, _by_verdict(term, examples, "complies"), Verdict.SATISFIED, draw, most)


def wish(term: RewardTerm) -> BooleanExpression | None:
    """What an answer does that keeps a term; None for one that measures."""
    if term.holds is None:
        return None
    is_seldom_wanted = term.kind == "budget" and term.sense != "at least"
    return negate(term.holds) if is_seldom_wanted else term.holds


def is_judged(term: RewardTerm, answer: str, verdict: Verdict) -> bool:
    """Whether an answer alone has this verdict where the term applies; never for one that reads more than answers."""
    if term.holds is None or reads_context(term.holds):
        return False
    bare = replace(term, condition=None, among=None)
    return evaluate_term(bare, Trace(()).answered(answer)).verdict is verdict


def _by_verdict(term: RewardTerm, examples: Iterable[PolicyExample], verdict: str) -> Iterator[str]:
    for example in examples:
        last = example.messages[-1] if example.messages else None
        is_answer = last is not None and last.role == "assistant" and not last.tool
        if is_answer and example.rule == term.rule and example.verdict == verdict:
            yield example.messages[-1].content


def _answers(
    term: RewardTerm, known: Iterable[str], verdict: Verdict, draw: random.Random, most: int
) -> tuple[str, ...]:
    wanted = wish(term)
    if wanted is None or reads_context(wanted):
        return ()
    found = {text: None for text in known if is_judged(term, text, verdict)}
    goal = wanted if verdict is Verdict.SATISFIED else negate(wanted)
    for text in answers_meeting((goal,), draw, most):
        if len(found) < most and is_judged(term, text, verdict):
            found.setdefault(text, None)
    return tuple(text for text in found if text.strip() and len(text) <= _LONGEST)[:most]


def answers_meeting(parts: Sequence[BooleanExpression], draw: random.Random, most: int) -> tuple[str, ...]:
    """Up to `most` answers that meet all parts, which read the answer alone."""
    from bylaw.spec.logic import conjunction

    whole = conjunction(tuple(parts))
    found: dict[str, None] = {}
    for number in range(_TRIES * most):
        if whole is None or len(found) >= most:
            break
        try:
            trace = situation_meeting(sharpened(whole, draw) if number else whole)
        except NotDecided:
            continue
        if trace is None and not number:
            break
        if trace is not None and trace.response is not None and not trace.scores:
            found.setdefault(trace.response, None)
    return tuple(found)
