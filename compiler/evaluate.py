"""The reference evaluator: RewardProgram x Trace -> Score. It decides what is true.

Plain Python over the whole text, one term after another. Automata, masks, rewards and audits are tested against it.
What cannot be told leaves a term `unscored` with the reason, never satisfied and never violated. What expressions say
is in compiler/expressions.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bylaw.compiler.evidence import Evidence, evidence_of
from bylaw.compiler.expressions import number_in, text_in, truth_in
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.situation import Situation
from bylaw.compiler.values import Unknown
from bylaw.spec.expression import BooleanExpression, Extent, NumberExpression, TextExpression
from bylaw.spec.trace import Trace

__all__ = (
    "NEGATIVE_INFINITY",
    "Score",
    "TermScore",
    "Unknown",
    "Verdict",
    "evaluate",
    "evaluate_term",
    "number",
    "settled",
    "text_of",
    "truth",
    "violated",
)

NEGATIVE_INFINITY = float("-inf")


class Verdict(StrEnum):
    SATISFIED = "satisfied"
    VIOLATED = "violated"
    NOT_APPLICABLE = "not applicable"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class TermScore:
    """What one term says about one trace.

    `value` is what the law weighs: -1 or 0 for a hard or soft term (violated or not), the quantity of a graded term
    or budget, 0 where the term does not apply; None when unscored. `contribution` (nats) is its part of the exponent:
    -inf for a broken hard rule, weight * value, or -multiplier * value; None when unscored or not calibrated. A budget
    about a part of the responses (`among`) applies to these; it contributes -multiplier * (value - bound).
    For a budget on an event, `violated` says that this response counts against it, which the budget permits now and
    then: the event happened, or did not where it has to happen often enough (`at least`). A quantity is measured and
    counts as satisfied. `evidence` points into the response; a `reason` says why a term is unscored, or which event
    violates it.
    """

    term: str
    verdict: Verdict
    value: float | None
    contribution: float | None
    evidence: tuple[Extent, ...] = ()
    reason: str | None = None
    is_hard: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """All terms of a program for one trace. `reward` (nats) is None while any term has no contribution."""

    terms: tuple[TermScore, ...]

    @property
    def allowed(self) -> bool:
        """Whether every hard rule is known to hold."""
        return all(t.contribution == 0.0 for t in self.terms if t.is_hard)

    @property
    def reward(self) -> float | None:
        parts = [t.contribution for t in self.terms]
        return None if any(p is None for p in parts) else float(sum(p for p in parts if p is not None))

    def term(self, identifier: str) -> TermScore:
        """The score of the term with this id. Raises KeyError."""
        for score in self.terms:
            if score.term == identifier:
                return score
        raise KeyError(identifier)


def evaluate(program: RewardProgram, trace: Trace) -> Score:
    """The truth about every term of `program` in `trace`."""
    here = Situation(trace)
    return Score(tuple(_evaluated(term, here) for term in program.terms))


def evaluate_term(term: RewardTerm, trace: Trace) -> TermScore:
    """The truth about one term."""
    return _evaluated(term, Situation(trace))


def settled(term: RewardTerm, verdict: Verdict) -> TermScore:
    """The score of a term about which only this is known: it does not apply, or its statement counts for nothing.

    Raises ValueError for another verdict, and for a term that measures: that depends on the response.
    """
    if verdict is Verdict.NOT_APPLICABLE:
        return TermScore(term.id, verdict, 0.0, 0.0, is_hard=term.kind == "hard")
    if verdict is not Verdict.SATISFIED or term.holds is None:
        raise ValueError(f"what {term.id!r} says is not settled by its being {verdict}")
    value, violated = _judge(term, term.kind != "budget" or term.sense == "at least")
    assert not violated
    return _score(term, value)


def violated(term: RewardTerm, here: Situation) -> TermScore:
    """The score of a term that is known to be violated: only what it points to is worked out. Raises ValueError for a
    term that measures."""
    if term.holds is None:
        raise ValueError(f"{term.id!r} measures, and is never violated")
    holds = term.kind == "budget" and term.sense != "at least"
    return _broken(term, _judge(term, holds)[0], holds, here)


def _evaluated(term: RewardTerm, here: Situation) -> TermScore:
    for condition in (term.condition, term.among):
        applies = True if condition is None else truth_in(condition, here)
        if isinstance(applies, Unknown):
            return _score(term, applies)
        if not applies:
            return settled(term, Verdict.NOT_APPLICABLE)
    if term.holds is not None:
        holds = truth_in(term.holds, here)
        if isinstance(holds, Unknown):
            return _score(term, holds)
        value, violated = _judge(term, holds)
        return _broken(term, value, holds, here) if violated else _score(term, value)
    if term.value is None:
        raise ValueError(f"term {term.id!r} has neither `holds` nor `value`")
    return _score(term, number_in(term.value, here))


def _broken(term: RewardTerm, value: float, holds: bool, here: Situation) -> TermScore:
    """The score of a term that is violated by its statement's being `holds`."""
    assert term.holds is not None
    evidence = evidence_of(term.holds, here, holds)
    return _score(term, value, evidence, evidence.reason(here))


def _judge(term: RewardTerm, holds: bool) -> tuple[float, bool]:
    """(what the law weighs, whether the response counts against the term)."""
    if term.kind == "budget":
        return (1.0 if holds else 0.0), holds is not (term.sense == "at least")
    return (0.0 if holds else -1.0), not holds


def _score(
    term: RewardTerm, value: float | Unknown, evidence: Evidence | None = None, reason: str | None = None
) -> TermScore:
    """The score of a term that applies; `evidence` is given where it is violated."""
    is_hard = term.kind == "hard"
    if isinstance(value, Unknown):
        return TermScore(term.id, Verdict.UNSCORED, None, None, reason=value.reason, is_hard=is_hard)
    verdict = Verdict.SATISFIED if evidence is None else Verdict.VIOLATED
    places = () if evidence is None else evidence.places
    return TermScore(term.id, verdict, value, _contribution(term, value), places, reason, is_hard)


def _contribution(term: RewardTerm, value: float) -> float | None:
    if term.kind == "hard":
        return NEGATIVE_INFINITY if value < 0 else 0.0
    if term.kind != "budget":
        return None if term.weight is None else term.weight * value + 0.0  # never -0.0
    if term.multiplier is None:
        return None
    over = value if term.among is None else value - (term.bound or 0.0)
    return -term.multiplier * over + 0.0


# ------------------------------------------------------------------------------------------------- expressions
def truth(expression: BooleanExpression, trace: Trace) -> bool | Unknown:
    """Whether a statement holds in a trace."""
    return truth_in(expression, Situation(trace))


def number(expression: NumberExpression, trace: Trace) -> float | Unknown:
    """The value of a quantity in a trace."""
    return number_in(expression, Situation(trace))


def text_of(expression: TextExpression, trace: Trace) -> str | Unknown:
    """A text of a trace."""
    return text_in(expression, Situation(trace))
