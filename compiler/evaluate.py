"""The reference evaluator: RewardProgram x Trace -> Score. It decides what is true.

Plain Python over the whole text, one term after another. Automata, masks, rewards and audits are tested against it.
Three-valued: a fact that the trace does not have, or a division by zero, leaves a term `unscored` with the reason,
never satisfied and never violated, unless the rest of the sentence settles it (false `and` unknown is false).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    Compare,
    Count,
    Extent,
    Fact,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Or,
    TextConstant,
    TextExpression,
)
from bylaw.spec.trace import Trace

NEGATIVE_INFINITY = float("-inf")


class Verdict(StrEnum):
    SATISFIED = "satisfied"
    VIOLATED = "violated"
    NOT_APPLICABLE = "not applicable"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be told, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class TermScore:
    """What one term says about one trace.

    `value` is what the law weighs: -1 or 0 for a hard or soft term (violated or not), the quantity of a graded term
    or budget, 0 where the term does not apply; None when unscored. `contribution` (nats) is its part of the exponent:
    -inf for a broken hard rule, weight * value, or -multiplier * value; None when unscored or not calibrated.
    For a budget on an event, `violated` says that the event happened, which the budget permits now and then.
    `evidence` points into the response.
    """

    term: str
    verdict: Verdict
    value: float | None
    contribution: float | None
    evidence: tuple[Extent, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """All terms of a program for one trace. `reward` (nats) is None while any term has no contribution."""

    terms: tuple[TermScore, ...]

    @property
    def allowed(self) -> bool:
        """Whether every hard rule is known to hold."""
        return all(t.contribution is not None and t.contribution > NEGATIVE_INFINITY for t in self.terms)

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
    return Score(tuple(evaluate_term(term, trace) for term in program.terms))


def evaluate_term(term: RewardTerm, trace: Trace) -> TermScore:
    """The truth about one term."""
    if trace.response is None:
        return _unscored(term, "the conversation does not end with an assistant message")
    applies = True if term.condition is None else truth(term.condition, trace)
    if isinstance(applies, Unknown):
        return _unscored(term, applies.reason)
    if not applies:
        return TermScore(term.id, Verdict.NOT_APPLICABLE, 0.0, 0.0)
    if term.holds is not None:
        return _evaluate_statement(term, term.holds, trace)
    if term.value is None:
        raise ValueError(f"term {term.id!r} has neither `holds` nor `value`")
    amount = number(term.value, trace)
    if isinstance(amount, Unknown):
        return _unscored(term, amount.reason)
    return TermScore(term.id, Verdict.SATISFIED, amount, _contribution(term, amount))


def _evaluate_statement(term: RewardTerm, statement: BooleanExpression, trace: Trace) -> TermScore:
    holds = truth(statement, trace)
    if isinstance(holds, Unknown):
        return _unscored(term, holds.reason)
    if term.kind == "budget":
        verdict, value = (Verdict.VIOLATED, 1.0) if holds else (Verdict.SATISFIED, 0.0)
        return TermScore(term.id, verdict, value, _contribution(term, value), _evidence(statement, trace, holds))
    if holds:
        return TermScore(term.id, Verdict.SATISFIED, 0.0, 0.0)
    return TermScore(
        term.id, Verdict.VIOLATED, -1.0, _contribution(term, -1.0), _evidence(statement, trace, False)
    )


def _contribution(term: RewardTerm, value: float) -> float | None:
    if term.kind == "hard":
        return NEGATIVE_INFINITY if value < 0 else 0.0
    if term.kind == "budget":
        return None if term.multiplier is None else -term.multiplier * value
    return None if term.weight is None else term.weight * value


def _unscored(term: RewardTerm, reason: str) -> TermScore:
    return TermScore(term.id, Verdict.UNSCORED, None, None, reason=reason)


# ------------------------------------------------------------------------------------------------- expressions
def truth(expression: BooleanExpression, trace: Trace) -> bool | Unknown:
    """Kleene's three-valued logic: unknown only where the known parts do not settle it."""
    match expression:
        case BooleanConstant(value):
            return value
        case Not(item):
            inner = truth(item, trace)
            return inner if isinstance(inner, Unknown) else not inner
        case And(items) | Or(items):
            return _connective(items, isinstance(expression, Or), trace)
        case Compare(operator, left, right):
            return _compare(operator, number(left, trace), number(right, trace))
        case Holds(name, subject, matchers, quantity):
            text = text_of(subject, trace)
            if isinstance(text, Unknown):
                return text
            question = catalog.predicate(name)
            if not question.takes_matchers:
                return bool(question.find(text, None))
            found = (bool(question.find(text, matcher)) for matcher in matchers)
            return any(found) if quantity == "any" else all(found)


def _connective(items: tuple[BooleanExpression, ...], deciding: bool, trace: Trace) -> bool | Unknown:
    """`or` is decided by one true item, `and` by one false one."""
    unknown: Unknown | None = None
    for item in items:
        value = truth(item, trace)
        if isinstance(value, Unknown):
            unknown = unknown or value
        elif value is deciding:
            return deciding
    return unknown or (not deciding)


def _compare(operator: str, left: float | Unknown, right: float | Unknown) -> bool | Unknown:
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    match operator:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case "!=":
            return left != right
    raise ValueError(f"unknown comparison {operator!r}")


def number(expression: NumberExpression, trace: Trace) -> float | Unknown:
    """The value of a quantity."""
    match expression:
        case NumberConstant(value):
            return value
        case NumberFact(path):
            return _number_fact(path, trace)
        case Count(unit, subject):
            text = text_of(subject, trace)
            return text if isinstance(text, Unknown) else float(len(catalog.unit(unit).find(text)))
        case Occurrences(name, subject, matchers):
            text = text_of(subject, trace)
            if isinstance(text, Unknown):
                return text
            return float(sum(len(catalog.predicate(name).find(text, matcher)) for matcher in matchers))
        case Arithmetic(operator, left, right):
            return _arithmetic(operator, number(left, trace), number(right, trace))


def _number_fact(path: str, trace: Trace) -> float | Unknown:
    value = trace.facts.get(path)
    if value is None:
        return Unknown(f"the fact `{path}` is not given")
    if isinstance(value, str):
        # Tables have texts only.
        try:
            return float(value)
        except ValueError:
            return Unknown(f"the fact `{path}` is not a number")
    return Unknown(f"the fact `{path}` is not a number") if isinstance(value, bool) else float(value)


def _arithmetic(operator: str, left: float | Unknown, right: float | Unknown) -> float | Unknown:
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return Unknown("a division by zero has no value") if right == 0 else left / right
        case "distance":
            return abs(left - right)
    raise ValueError(f"unknown operator {operator!r}")


def text_of(expression: TextExpression, trace: Trace) -> str | Unknown:
    """The text that a sentence is about."""
    match expression:
        case TextConstant(value):
            return value
        case MessageText(role):
            text = trace.text(role)
            return Unknown(f"the conversation has no {role}") if text is None else text
        case Fact(path):
            if path not in trace.facts:
                return Unknown(f"the fact `{path}` is not given")
            value = trace.facts[path]
            return str(value).lower() if isinstance(value, bool) else str(value)


# ---------------------------------------------------------------------------------------------------- evidence
def _evidence(statement: BooleanExpression, trace: Trace, wanted: bool) -> tuple[Extent, ...]:
    """The places in the response that make `statement` come out as `wanted`; the whole response where nothing in
    particular does (something is missing)."""
    places = tuple(sorted(set(_places(statement, trace, wanted)), key=lambda extent: (extent.start, extent.end)))
    return places or (Extent(0, len(trace.response or "")),)


def _places(statement: BooleanExpression, trace: Trace, wanted: bool) -> list[Extent]:
    if truth(statement, trace) is not wanted:
        return []
    match statement:
        case Not(item):
            return _places(item, trace, not wanted)
        case And(items) | Or(items):
            return [place for item in items for place in _places(item, trace, wanted)]
        case Holds(name, MessageText("response"), matchers) if wanted:
            text, question = trace.response or "", catalog.predicate(name)
            return [e for matcher in (matchers or (None,)) for e in question.find(text, matcher)]
        case Compare(operator, left, right):
            return _surplus(operator, left, right, trace)
    return []


def _surplus(operator: str, left: NumberExpression, right: NumberExpression, trace: Trace) -> list[Extent]:
    """Where a count went past its limit: from the first unit too many to the end of the last one."""
    limit = number(right, trace)
    if isinstance(limit, Unknown):
        return []
    text = trace.response or ""
    match left:
        case Count(unit, MessageText("response")):
            found = catalog.unit(unit).find(text)
        case Occurrences(name, MessageText("response"), matchers):
            found = tuple(sorted((e for m in matchers for e in catalog.predicate(name).find(text, m)), key=_start))
        case _:
            return []
    if len(found) <= limit:
        return list(found) if isinstance(left, Occurrences) else []
    return list(found) if isinstance(left, Occurrences) else [Extent(found[int(max(limit, 0))].start, found[-1].end)]


def _start(extent: Extent) -> int:
    return extent.start
