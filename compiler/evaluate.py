"""The reference evaluator: RewardProgram x Trace -> Score. It decides what is true.

Plain Python over the whole text, one term after another. Automata, masks, rewards and audits are tested against it.
Three-valued: a fact that the trace does not have, or a division by zero, leaves a term `unscored` with the reason,
never satisfied and never violated, unless the rest of the sentence settles it (false `and` unknown is false).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec import catalog
from bylaw.spec.expression import (
    MIRRORED,
    OPPOSITE,
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Continued,
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
    Operator,
    Or,
    TextConstant,
    TextExpression,
)
from bylaw.spec.trace import FactValue, Trace

NEGATIVE_INFINITY = float("-inf")

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*")
"""A number as tables and people write it; Python itself would also read `nan`, `1_000` and digits of other scripts."""


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
    For a budget on an event, `violated` says that this response counts against it, which the budget permits now and
    then: the event happened, or did not where it has to happen often enough (`at least`). A quantity is measured and
    counts as satisfied. `evidence` points into the response.
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
    return Score(tuple(evaluate_term(term, trace) for term in program.terms))


def evaluate_term(term: RewardTerm, trace: Trace) -> TermScore:
    """The truth about one term."""
    if trace.response is None:
        return _score(term, Unknown("the conversation does not end with an assistant message"))
    applies = True if term.condition is None else truth(term.condition, trace)
    if isinstance(applies, Unknown):
        return _score(term, applies)
    if not applies:
        return TermScore(term.id, Verdict.NOT_APPLICABLE, 0.0, 0.0, is_hard=term.kind == "hard")
    if term.holds is not None:
        holds = truth(term.holds, trace)
        if isinstance(holds, Unknown):
            return _score(term, holds)
        return _score(term, *_judge(term, holds), _evidence(term.holds, trace, holds))
    if term.value is None:
        raise ValueError(f"term {term.id!r} has neither `holds` nor `value`")
    return _score(term, number(term.value, trace))


def _judge(term: RewardTerm, holds: bool) -> tuple[float, bool]:
    """(what the law weighs, whether the response counts against the term)."""
    if term.kind == "budget":
        return (1.0 if holds else 0.0), holds is not (term.sense == "at least")
    return (0.0 if holds else -1.0), not holds


def _score(
    term: RewardTerm, value: float | Unknown, violated: bool = False, evidence: tuple[Extent, ...] = ()
) -> TermScore:
    is_hard = term.kind == "hard"
    if isinstance(value, Unknown):
        return TermScore(term.id, Verdict.UNSCORED, None, None, reason=value.reason, is_hard=is_hard)
    verdict = Verdict.VIOLATED if violated else Verdict.SATISFIED
    shown = evidence if violated else ()
    return TermScore(term.id, verdict, value, _contribution(term, value), shown, is_hard=is_hard)


def _contribution(term: RewardTerm, value: float) -> float | None:
    if term.kind == "hard":
        return NEGATIVE_INFINITY if value < 0 else 0.0
    price = term.weight if term.kind != "budget" else None if term.multiplier is None else -term.multiplier
    return None if price is None else price * value + 0.0  # never -0.0


# ------------------------------------------------------------------------------------------------- expressions
def truth(expression: BooleanExpression, trace: Trace) -> bool | Unknown:
    """Kleene's three-valued logic: unknown only where the known parts do not settle it."""
    match expression:
        case BooleanConstant(value):
            return value
        case BooleanFact(path):
            return _boolean_fact(path, trace)
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


def _boolean_fact(path: str, trace: Trace) -> bool | Unknown:
    value = _fact(path, trace)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"  # tables have texts only
    if isinstance(value, (bool, Unknown)):
        return value
    return Unknown(f"the fact `{path}` is neither true nor false")


def _fact(path: str, trace: Trace) -> FactValue | Unknown:
    return trace.facts[path] if path in trace.facts else Unknown(f"the fact `{path}` is not given")


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
    value = _fact(path, trace)
    if isinstance(value, Unknown):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)  # tables have texts only
    if isinstance(value, (str, bool)) or not math.isfinite(value):
        return Unknown(f"the fact `{path}` is not a number")
    return float(value)


def _arithmetic(operator: str, left: float | Unknown, right: float | Unknown) -> float | Unknown:
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    try:
        value = _calculated(operator, left, right)
    except ZeroDivisionError:
        return Unknown("a division by zero has no value")
    return value if math.isfinite(value) else Unknown("a number is too large")


def _calculated(operator: str, left: float, right: float) -> float:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
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
        case Continued(before):
            response = trace.response
            return Unknown("there is no response") if response is None else before + response
        case Fact(path):
            fact = _fact(path, trace)
            return fact if isinstance(fact, (str, Unknown)) else _written(fact)


def _written(value: float | bool) -> str:
    """A number or truth value as a person would write it: `true`, `12`, `0.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


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
            broken = OPPOSITE[operator] if wanted else operator
            if isinstance(left, (Count, Occurrences)):
                return _surplus(broken, left, right, trace)
            if isinstance(right, (Count, Occurrences)):
                return _surplus(MIRRORED[broken], right, left, trace)
    return []


def _surplus(broken: Operator, counted: Count | Occurrences, bound: NumberExpression, trace: Trace) -> list[Extent]:
    """Where there is too much for `counted broken bound` to hold: every match of a pattern, or the units from the first
    one too many to the last one. Nothing in particular where there is too little."""
    limit = number(bound, trace)
    if isinstance(limit, Unknown) or counted.subject != MessageText("response"):
        return []
    text = trace.response or ""
    if isinstance(counted, Occurrences):
        question = catalog.predicate(counted.predicate)
        return [extent for matcher in counted.matchers for extent in question.find(text, matcher)]
    allowed = {"<=": math.floor(limit), "<": math.ceil(limit) - 1, "==": math.floor(limit), "!=": 0}.get(broken)
    found = catalog.unit(counted.unit).find(text)
    if allowed is None or len(found) <= max(allowed, 0):
        return []
    return [Extent(found[max(allowed, 0)].start, found[-1].end)]
