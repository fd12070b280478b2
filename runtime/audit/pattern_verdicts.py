"""What follows for the terms of a program from the patterns that occur in a text, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bylaw.compiler.evaluate import Verdict
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.values import compared
from bylaw.runtime.audit.pattern_sets import Asked
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    Compare,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Or,
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: its number, and the number that stands for the text of the conversation being missing. `is_exact`:
    that it occurs settles the question; else only that it does not."""

    number: int
    missing: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What follows from the patterns that occur, given by their numbers; None: nothing does."""

    patterns: Mapping[Asked, Pattern]
    found: frozenset[int]

    def verdict(self, term: RewardTerm) -> Verdict | None:
        for condition in (term.condition, term.among):
            applies = True if condition is None else self.truth(condition)
            if applies is None:
                return None
            if not applies:
                return Verdict.NOT_APPLICABLE
        holds = None if term.holds is None else self.truth(term.holds)
        if holds is None:
            return None
        wanted = term.kind != "budget" or term.sense == "at least"
        return Verdict.SATISFIED if holds is wanted else Verdict.VIOLATED

    def truth(self, expression: BooleanExpression) -> bool | None:
        match expression:
            case BooleanConstant(value):
                return value
            case Not(item):
                inner = self.truth(item)
                return None if inner is None else not inner
            case And(items) | Or(items):
                decisive = isinstance(expression, Or)
                each = [self.truth(item) for item in items]
                return decisive if decisive in each else (None if None in each else not decisive)
            case Holds(predicate, MessageText(role), matchers) if expression.argument is None:
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers or (None,)]
                if expression.in_order:
                    return False if False in occur else None
                decisive = expression.quantity == "any"
                return decisive if decisive in occur else (None if None in occur else not decisive)
            case Compare(operator, left, right):
                values = self.number(left), self.number(right)
                if values[0] is None or values[1] is None:
                    return None
                known = compared(operator, values[0], values[1])
                return known if isinstance(known, bool) else None
        return None

    def number(self, expression: NumberExpression) -> float | None:
        match expression:
            case NumberConstant(value):
                return value
            case Occurrences(predicate, MessageText(role), matchers):
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers]
                return 0.0 if all(each is False for each in occur) else None
            case FoundAmong(predicate, MessageText(role), matchers):
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers]
                return None if None in occur else float(sum(each is True for each in occur))
        return None

    def occurs(self, role: str, predicate: str, matcher: Matcher | None) -> bool | None:
        pattern = self.patterns.get((role, predicate, matcher))
        if pattern is None:
            return None
        if pattern.missing in self.found:
            return None
        if pattern.number not in self.found:
            return False
        return True if pattern.is_exact else None
