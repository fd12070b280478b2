"""What a whole rule says of a conversation: the verdicts of its terms put together, and why it does not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bylaw.compiler.defeat import waived
from bylaw.compiler.evaluate import TermScore, Unknown, Verdict, evaluate_term, truth
from bylaw.compiler.program import RewardTerm, Waiver
from bylaw.spec.logic import conjuncts
from bylaw.spec.trace import Trace


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """`verdict` is `complies`, `violates`, `skips`, `waived` or `unscored`.

    `broken` are the terms that the conversation breaks; `waiver` is what lifts the rule here; `reason` is why it cannot
    be decided. A rule is waived where it would count but for a waiver; it skips where its own condition is false.
    """

    verdict: str
    terms: tuple[RewardTerm, ...]
    scores: tuple[TermScore, ...]
    broken: tuple[RewardTerm, ...] = ()
    waiver: Waiver | None = None
    reason: str | None = None


def rule_verdict(terms: Iterable[RewardTerm], trace: Trace) -> RuleVerdict:
    """The verdict of the terms of one rule; graded terms have none and are left out."""
    judged = tuple(term for term in terms if term.holds is not None)
    scores = tuple(evaluate_term(term, trace) for term in judged)
    broken = tuple(t for t, s in zip(judged, scores, strict=True) if s.verdict is Verdict.VIOLATED)
    if broken:
        return RuleVerdict("violates", judged, scores, broken)
    unscored = next((score for score in scores if score.verdict is Verdict.UNSCORED), None)
    if unscored is not None:
        return RuleVerdict("unscored", judged, scores, reason=unscored.reason)
    if any(score.verdict is Verdict.SATISFIED for score in scores):
        return RuleVerdict("complies", judged, scores)
    waiver = next((found for term in judged if (found := waiver_of(term, trace)) is not None), None)
    return RuleVerdict("skips" if waiver is None else "waived", judged, scores, waiver=waiver)


def waiver_of(term: RewardTerm, trace: Trace) -> Waiver | None:
    """What lifts a term here: the first waiver that is known to count."""
    for waiver in term.waivers:
        parts = (*conjuncts(term.own), *conjuncts(waiver.where))
        if all(truth(part, trace) is True for part in parts):
            return waiver
    return None


def with_known_waivers(term: RewardTerm, trace: Trace) -> RewardTerm:
    """The term with those waivers only of which the trace tells whether they count.

    For examples and tests: an exception whose facts are not given is not what they are about.
    """
    if not term.waivers:
        return term
    known = [w for w in term.waivers if w.where is None or not isinstance(truth(w.where, trace), Unknown)]
    return waived(term, tuple(known))
