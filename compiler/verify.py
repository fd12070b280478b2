"""The invariants of a reward program, checked after every pass and before any use of a program that was read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bylaw.compiler.program import ProgramError, RewardProgram, RewardTerm
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    Compare,
    Count,
    Expression,
    Holds,
    Not,
    Or,
    Regex,
    children,
)
from bylaw.spec.pattern import PatternError, parse_pattern

_BOOLEAN = (BooleanConstant, Holds, Compare, And, Or, Not)


class ProgramInvalid(ProgramError):
    """The program breaks an invariant; `problems` says which, each with the id of its term."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def verify(program: RewardProgram) -> RewardProgram:
    """The same program, if it is sound. Raises ProgramInvalid."""
    problems = [f"{term.id}: {problem}" for term in program.terms for problem in _term_problems(term, program)]
    identifiers = [term.id for term in program.terms]
    problems += [f"{name}: two terms have this id" for name in sorted({i for i in identifiers if identifiers.count(i) > 1})]
    if not program.levels or len(set(program.levels)) != len(program.levels):
        problems.append("the levels are missing or repeated")
    if problems:
        raise ProgramInvalid(tuple(problems))
    return program


def _term_problems(term: RewardTerm, program: RewardProgram) -> Iterator[str]:
    if term.level not in program.levels:
        yield f"level `{term.level}` is not declared"
    if (term.holds is None) == (term.value is None):
        yield "a term has either a statement or a value"
    if term.kind in ("hard", "soft") and term.holds is None:
        yield f"a {term.kind} term needs a statement"
    if term.kind == "graded" and term.value is None:
        yield "a graded term needs a value"
    if (term.weight is not None) != (term.kind in ("soft", "graded")):
        yield "soft and graded terms have a weight, and only they"
    if term.kind == "soft" and term.weight is not None and not term.weight > 0:
        yield "a soft term has a positive weight"
    if (term.bound is not None and term.sense is not None) != (term.kind == "budget"):
        yield "a budget has a sense and a bound, and only a budget"
    if term.kind != "budget" and term.multiplier is not None:
        yield "only a budget has a multiplier"
    if term.kind == "budget" and term.holds is not None and term.bound is not None and not 0 <= term.bound <= 1:
        yield "a share lies between 0 and 1"
    for name in ("weight", "bound", "multiplier", "confidence"):
        number = getattr(term, name)
        if number is not None and not math.isfinite(number):
            yield f"{name} is not finite"
    for part in (term.condition, term.holds):
        if part is not None and not isinstance(part, _BOOLEAN):
            yield "a statement is not something that is true or false"
    for expression in (term.condition, term.holds, term.value):
        if expression is not None:
            yield from _expression_problems(expression)


def _expression_problems(expression: Expression) -> Iterator[str]:
    match expression:
        case Holds(name, _, matchers):
            yield from _predicate_problems(name, matchers)
        case Count(unit):
            if unit not in catalog.names("units"):
                yield f"there is no countable unit called `{unit}`"
        case And(items) | Or(items) if not items:
            yield "a connective joins nothing"
        case Arithmetic(operator) if operator not in ("+", "-", "*", "/", "distance"):
            yield f"there is no operator `{operator}`"
    for matcher in getattr(expression, "matchers", ()):
        if isinstance(matcher, Regex):
            try:
                parse_pattern(matcher.source, matcher.flags)
            except PatternError as error:
                yield f"pattern /{matcher.source}/: {error.message}"
    for child in children(expression):
        yield from _expression_problems(child)


def _predicate_problems(name: str, matchers: tuple[Any, ...]) -> Iterator[str]:
    if name not in catalog.names("predicates"):
        yield f"there is no predicate called `{name}`"
    elif catalog.predicate(name).takes_matchers != bool(matchers):
        yield f"`{name}` has {'nothing to look for' if not matchers else 'something to look for'}"
