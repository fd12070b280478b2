"""Whether a statement asks for less, or for more, the greater a parameter is that stands in it as a fact."""

from __future__ import annotations

from collections.abc import Iterable

from bylaw.compiler.counts.cases import Quantity, linear
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    EachPart,
    Expression,
    Fact,
    Not,
    NumberExpression,
    NumberFact,
    Or,
)
from bylaw.spec.logic import walk


def reads(expression: Expression | None, fact: str) -> bool:
    """Whether the value of an expression can depend on a fact."""
    if expression is None:
        return False
    return any(isinstance(part, NumberFact | Fact) and part.path == fact for part in walk(expression))


def direction(statements: Iterable[BooleanExpression], fact: str) -> int | None:
    """1 where whatever obeys all of the statements obeys them for every greater value of the fact, -1 where it does for
    every smaller one, 0 where the fact stands in none of them; None where neither is certain."""
    found = {_direction(statement, fact) for statement in statements} - {0}
    return 0 if not found else found.pop() if len(found) == 1 else None


def _direction(statement: BooleanExpression, fact: str) -> int | None:
    if not reads(statement, fact):
        return 0
    match statement:
        case And(items) | Or(items):
            return direction(items, fact)
        case Not(item):
            inner = _direction(item, fact)
            return None if inner is None else -inner
        case EachPart(_, _, subject, item) if not reads(subject, fact):
            return _direction(item, fact)
        case Compare(operator, left, right) if operator in ("<=", "<", ">=", ">"):
            one, other = _slope(left, fact), _slope(right, fact)
            if one is None or other is None:
                return None
            rise = other - one if operator in ("<=", "<") else one - other
            return (rise > 0) - (rise < 0) if one == 0 or other == 0 else None
    return None


def _slope(amount: NumberExpression, fact: str) -> int | None:
    """1 where a number grows with the fact, -1 where it shrinks, 0 where it does not depend on it."""
    if not reads(amount, fact):
        return 0
    found = linear(amount)
    if found is None:
        return None
    factor = found[0].get(Quantity("fact", fact), 0)
    return (factor > 0) - (factor < 0)
