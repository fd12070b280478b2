"""What sentences do with values at the ends of decision diagrams: the evaluator's three-valued functions of two values.

Each agrees with compiler/expressions.py and compiler/evaluate.py; functions of one value ignore the second one.
"""

from __future__ import annotations

from collections.abc import Callable

from bylaw.compiler.decision_diagrams import Value
from bylaw.compiler.values import Unknown, calculated, compared, connective, opposite


def as_truth(value: Value) -> bool | Unknown:
    """True, false or unknown."""
    return value if isinstance(value, Unknown) else bool(value)


def negated(value: Value, _: Value) -> Value:
    """Kleene's `not`."""
    return opposite(as_truth(value))


def broken(holds: Value, _: Value) -> Value:
    """Of a hard or soft term: -1 where it is broken, else 0."""
    return holds if isinstance(holds, Unknown) else 0.0 if holds else -1.0


def happens(holds: Value, _: Value) -> Value:
    """Of a budget on an event: 1 where it happens, else 0."""
    return holds if isinstance(holds, Unknown) else 1.0 if holds else 0.0


def where(applies: Value, value: Value) -> Value:
    """0 where a term does not apply."""
    return applies if isinstance(applies, Unknown) else value if applies else 0.0


def connected(deciding: bool) -> Callable[[Value, Value], Value]:
    """Kleene's `or` (decided by a true value) or `and` (by a false one)."""
    return lambda one, other: connective((as_truth(one), as_truth(other)), deciding)


def compared_by(operator: str) -> Callable[[Value, Value], Value]:
    """A comparison of two numbers."""
    return lambda left, right: compared(operator, left, right)


def calculated_by(operator: str) -> Callable[[Value, Value], Value]:
    """An arithmetic operation."""
    return lambda left, right: calculated(operator, left, right)


def counted(count: Value, is_meant: Value) -> Value:
    """One more where it is true."""
    if isinstance(count, Unknown) or isinstance(is_meant, Unknown):
        return count if isinstance(count, Unknown) else is_meant
    return float(count) + float(is_meant)


def first_at(place: int) -> Callable[[Value, Value], Value]:
    """Of `prefer A over B`: -place where this one holds, else what the later ones say."""
    return lambda holds, later: holds if isinstance(holds, Unknown) else -float(place) if holds else later
