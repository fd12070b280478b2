"""Prompt-time partial evaluation: what is left of a program once everything but the response is known.

Most conditions are about the prompt or about facts. They are settled here, before the first token; what remains of a
term reads the response alone, and can become an automaton.
"""

from __future__ import annotations

from dataclasses import replace

from bylaw.compiler.evaluate import Unknown, number, text_of, truth
from bylaw.compiler.program import ProgramError, RewardProgram, RewardTerm
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Continued,
    Count,
    Expression,
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
    negate,
    reads_response,
)
from bylaw.spec.trace import Trace


class CannotSpecialise(ProgramError):
    """A term depends on something about the prompt that is not known, so it cannot be enforced: `term`, `reason`."""

    def __init__(self, term: str, reason: str) -> None:
        super().__init__(f"`{term}` cannot be enforced here: {reason}")
        self.term, self.reason = term, reason


def specialise(program: RewardProgram, trace: Trace) -> tuple[RewardTerm, ...]:
    """The terms that are alive for this prompt; `trace` has no response yet.

    A term whose condition is false is gone. The condition of the others is None, or reads the response. Raises
    CannotSpecialise: nothing is enforced on a guess.
    """
    alive = []
    for term in program.terms:
        try:
            condition = None if term.condition is None else _truth(term.condition, trace)
            if condition == BooleanConstant(False):
                continue
            alive.append(
                replace(
                    term,
                    condition=None if condition == BooleanConstant(True) else condition,
                    holds=None if term.holds is None else _truth(term.holds, trace),
                    value=None if term.value is None else _number(term.value, trace),
                )
            )
        except _Missing as missing:
            raise CannotSpecialise(term.id, missing.reason) from None
    return tuple(alive)


class _Missing(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _known(value: bool | float | str | Unknown) -> bool | float | str:
    if isinstance(value, Unknown):
        raise _Missing(value.reason)
    return value


def _truth(expression: BooleanExpression, trace: Trace) -> BooleanExpression:
    if not reads_response(expression):
        return BooleanConstant(bool(_known(truth(expression, trace))))
    match expression:
        case Not(item):
            return negate(_truth(item, trace))
        case And(items) | Or(items):
            return _connective(items, isinstance(expression, Or), trace)
        case Compare():
            return replace(expression, left=_number(expression.left, trace), right=_number(expression.right, trace))
        case Holds():
            return replace(expression, subject=_text(expression.subject, trace))
    return expression


def _connective(items: tuple[BooleanExpression, ...], deciding: bool, trace: Trace) -> BooleanExpression:
    """As the evaluator does, an unknown part does no harm where another part settles the question."""
    kept: list[BooleanExpression] = []
    missing: _Missing | None = None
    for item in items:
        try:
            simplified = _truth(item, trace)
        except _Missing as unknown:
            missing = missing or unknown
            continue
        if simplified == BooleanConstant(deciding):
            return simplified
        if not isinstance(simplified, BooleanConstant):
            kept.append(simplified)
    if missing is not None:
        raise missing
    if len(kept) == 1:
        return kept[0]
    return (Or if deciding else And)(tuple(kept)) if kept else BooleanConstant(not deciding)


def _number(expression: NumberExpression, trace: Trace) -> NumberExpression:
    if not reads_response(expression):
        return NumberConstant(float(_known(number(expression, trace))))
    match expression:
        case Arithmetic():
            return replace(expression, left=_number(expression.left, trace), right=_number(expression.right, trace))
        case Count() | Occurrences():
            return replace(expression, subject=_text(expression.subject, trace))
        case NumberConstant() | NumberFact():
            return expression


def _text(expression: TextExpression, trace: Trace) -> TextExpression:
    if not reads_response(expression):
        return TextConstant(str(_known(text_of(expression, trace))))
    if expression == MessageText("conversation"):
        # As `Trace.text` joins messages: what was said before, and the response below it.
        return Continued("".join(message.content + "\n" for message in trace.messages))
    return expression


def reads_only_response(expression: Expression) -> bool:
    """Whether the response alone settles `expression`."""
    match expression:
        case MessageText(role):
            return role == "response"
        case Fact() | NumberFact() | BooleanFact() | Continued():
            return False
        case Holds(_, subject) | Count(_, subject) | Occurrences(_, subject):
            return reads_only_response(subject)
        case And(items) | Or(items):
            return all(map(reads_only_response, items))
        case Not(item):
            return reads_only_response(item)
        case Compare(_, left, right) | Arithmetic(_, left, right):
            return reads_only_response(left) and reads_only_response(right)
    return True
