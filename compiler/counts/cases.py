"""What statements say about counts: alternatives, each a list of linear inequalities over quantities of texts.

A quantity is a count of a unit, how often something occurs, whether it is found (0 or 1), whether a statement that
says nothing about counts holds (0 or 1), or a fact. What cannot be put like this is left out, which only makes fewer
things provable: where it stands by itself it is taken to hold, and so is `this or that` of which one is left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isfinite
from typing import Literal, NamedTuple, TypeAlias

from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Count,
    EachEvent,
    EachPart,
    FoundAmong,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Operator,
    Or,
    Phrase,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED, meaning, negate

MOST_CASES = 24
MOST_MATCHERS = 24
LARGEST = 2**40
FINEST = 2**10
"""Numbers beyond these are left out: with them, floating point may not calculate exactly."""
MOST_DECIMALS = 10**6
_EXACT_DIVISORS = (1.0, 2.0, 4.0, 8.0)
IT = MessageText("it")
TEXTUAL = frozenset({"contain", "mention", "start_with", "end_with", "match"})


class Quantity(NamedTuple):
    """A variable: `name` is the unit, the predicate or the fact, `key` the matcher or the meaning of a statement."""

    kind: Literal["unit", "times", "found", "said", "fact"]
    name: str
    key: Hashable = None
    scope: TextExpression | None = None


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum of factor * quantity is at most `bound`, or below it if `strict`."""

    terms: Mapping[Quantity, Fraction]
    bound: Fraction
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Exact:
    """The plain form of a text is exactly this."""

    scope: TextExpression
    text: str


Case: TypeAlias = tuple[Linear | Exact, ...]
NO_CASES: tuple[Case, ...] = ()
ANYTHING: tuple[Case, ...] = ((),)
Sum: TypeAlias = tuple[dict[Quantity, Fraction], Fraction]


def cases_of(statement: BooleanExpression) -> tuple[Case, ...]:
    """The alternatives of which one holds where the statement does: none if it never does, `ANYTHING` if nothing is
    known."""
    match statement:
        case BooleanConstant(value):
            return ANYTHING if value else NO_CASES
        case And(items):
            return all_of(map(cases_of, items))
        case Or(items):
            return _any_of(map(cases_of, items))
        case Compare(operator, left, right):
            return _compared(operator, left, right)
        case Holds():
            return _held(statement)
        case EachPart(quantity, unit, subject, item):
            return _of_parts(quantity, unit, subject, item)
        case Not(BooleanFact() | BooleanCall() | Neighbour() | EachEvent() as item):
            return (_said(item, False),)
        case Not(Holds() as item):
            return _not_held(item)
        case Not(item):
            return cases_of(negate(item))
        case BooleanFact() | BooleanCall() | Neighbour() | EachEvent():
            return (_said(statement, True),)
    return ANYTHING


def all_of(parts: Iterable[tuple[Case, ...]]) -> tuple[Case, ...]:
    """The alternatives of statements that all hold; one that would make too many of them is left out."""
    found = ANYTHING
    for cases in parts:
        if len(found) * len(cases) <= MOST_CASES:
            found = tuple(one + other for one, other in product(found, cases))
    return found


def _any_of(parts: Iterable[tuple[Case, ...]]) -> tuple[Case, ...]:
    found = tuple(case for cases in parts for case in cases)
    return ANYTHING if len(found) > MOST_CASES or () in found else found


# ------------------------------------------------------------------------------------------------------ comparisons
def _compared(operator: Operator, left: NumberExpression, right: NumberExpression) -> tuple[Case, ...]:
    if isinstance(left, NumberConstant) and not isinstance(right, NumberConstant):
        return _compared(MIRRORED[operator], right, left)
    match left, right:
        case Arithmetic("/", counted, per), NumberConstant(value) if isfinite(value):
            return _ratio(operator, counted, per, Fraction(str(value)))
        case Arithmetic("distance", one, other), NumberConstant():
            return _distance(operator, one, other, right)
    lower, upper = linear(left), linear(right)
    return ANYTHING if lower is None or upper is None else _related(operator, lower, upper)


def _related(operator: Operator, left: Sum, right: Sum) -> tuple[Case, ...]:
    """left operator right."""
    terms = _plus(left[0], right[0], Fraction(-1))
    bound = right[1] - left[1]
    at_most, at_least = Linear(terms, bound), Linear(_plus({}, terms, Fraction(-1)), -bound)
    below = Linear(at_most.terms, at_most.bound, True)
    above = Linear(at_least.terms, at_least.bound, True)
    match operator:
        case "<=":
            return ((at_most,),)
        case "<":
            return ((below,),)
        case ">=":
            return ((at_least,),)
        case ">":
            return ((above,),)
        case "==":
            return ((at_most, at_least),)
    return ((below,), (above,))


def _ratio(operator: Operator, counted: NumberExpression, per: NumberExpression, value: Fraction) -> tuple[Case, ...]:
    """counted / per against a number. The quotient of two counts is rounded like the number that is written."""
    upper, lower = linear(counted), linear(per)
    if upper is None or lower is None or not all(map(_is_whole, (upper, lower))):
        return ANYTHING
    if abs(value) > LARGEST or value.denominator > MOST_DECIMALS:
        return ANYTHING
    if not lower[0] and lower[1] <= 0:
        return ANYTHING
    if lower[0] and (lower[1] or len(lower[0]) > 1 or min(lower[0].values()) < 0):
        return ANYTHING  # it may be below zero
    scaled = _plus({}, lower[0], value), lower[1] * value
    related = _related(operator, upper, scaled)
    if not lower[0]:
        return related
    defined = Linear(_plus({}, lower[0], Fraction(-1)), Fraction(-1))  # a division by zero has no value
    return tuple((defined, *case) for case in related)


def _is_whole(amount: Sum) -> bool:
    return all(f.denominator == 1 for f in (*amount[0].values(), amount[1])) and all(
        q.kind != "fact" for q in amount[0]
    )


def _distance(
    operator: Operator, one: NumberExpression, other: NumberExpression, bound: NumberConstant
) -> tuple[Case, ...]:
    """|one - other| against a number."""
    first, second, limit = linear(one), linear(other), linear(bound)
    if first is None or second is None or limit is None:
        return ANYTHING
    gap = _plus(first[0], second[0], Fraction(-1)), first[1] - second[1]
    back = _plus({}, gap[0], Fraction(-1)), -gap[1]
    forth, reverse = _related(operator, gap, limit), _related(operator, back, limit)
    match operator:
        case "<=" | "<":
            return all_of((forth, reverse))
        case ">=" | ">":
            return _any_of((forth, reverse))
        case "==":
            if limit[1] < 0:
                return NO_CASES
            return _any_of((forth, reverse))
    return ANYTHING


def linear(expression: NumberExpression) -> Sum | None:
    """(factors of quantities, constant), or None where it is not linear or floating point may not be exact."""
    match expression:
        case NumberConstant(value):
            exact = Fraction(value)
            return ({}, exact) if abs(exact) <= LARGEST and exact.denominator <= FINEST else None
        case NumberFact(path):
            return {Quantity("fact", path): Fraction(1)}, Fraction(0)
        case NumberCall(function):
            return {Quantity("fact", function, meaning(expression)): Fraction(1)}, Fraction(0)
        case Count(unit, subject):
            return {Quantity("unit", unit, None, subject): Fraction(1)}, Fraction(0)
        case Occurrences(name, subject, matchers) | FoundAmong(name, subject, matchers):
            if len(matchers) > MOST_MATCHERS:
                return None
            kind: Literal["times", "found"] = "times" if isinstance(expression, Occurrences) else "found"
            terms: dict[Quantity, Fraction] = {}
            for matcher in matchers:
                quantity = Quantity(kind, name, matcher, subject)
                terms[quantity] = terms.get(quantity, Fraction(0)) + 1
            return terms, Fraction(0)
        case Arithmetic("+" | "-" as sign, left, right):
            one, two = linear(left), linear(right)
            if one is None or two is None:
                return None
            factor = Fraction(1 if sign == "+" else -1)
            return _plus(one[0], two[0], factor), one[1] + two[1] * factor
        case Arithmetic("*", left, right):
            one, two = linear(left), linear(right)
            if one is None or two is None or (one[0] and two[0]):
                return None
            factor = two[1] if one[0] else one[1]
            terms = one[0] or two[0]
            constant = one[1] if one[0] else two[1]
            return _plus({}, terms, factor), constant * factor
        case Arithmetic("/", scaled, NumberConstant(value)) if value in _EXACT_DIVISORS:
            inner = linear(scaled)
            by = 1 / Fraction(value)
            return None if inner is None else (_plus({}, inner[0], by), inner[1] * by)
    return None


def _plus(
    one: Mapping[Quantity, Fraction], other: Mapping[Quantity, Fraction], factor: Fraction
) -> dict[Quantity, Fraction]:
    """one + factor * other."""
    terms = dict(one)
    for quantity, own in other.items():
        terms[quantity] = terms.get(quantity, Fraction(0)) + own * factor
    return {quantity: own for quantity, own in terms.items() if own}


# --------------------------------------------------------------------------------------------- what holds of a text
def _at_least(quantity: Quantity, least: int) -> Linear:
    return Linear({quantity: Fraction(-1)}, Fraction(-least))


def _at_most(quantity: Quantity, most: int) -> Linear:
    return Linear({quantity: Fraction(1)}, Fraction(most))


def _said(statement: BooleanExpression, holds: bool) -> Case:
    quantity = Quantity("said", "", meaning(statement))
    return (_at_least(quantity, 1),) if holds else (_at_most(quantity, 0),)


def _unit(name: str, scope: TextExpression) -> Quantity:
    return Quantity("unit", name, None, scope)


def _found(statement: Holds) -> tuple[Quantity, ...]:
    """Whether each of the matchers is found; empty where that is no such question."""
    if statement.predicate not in TEXTUAL or statement.argument is not None:
        return ()
    if not 0 < len(statement.matchers) <= MOST_MATCHERS:
        return ()
    return tuple(Quantity("found", statement.predicate, each, statement.subject) for each in statement.matchers)


def _held(statement: Holds) -> tuple[Case, ...]:
    said = _said(statement, True)
    if statement.predicate == "ascii":
        return ((*said, _at_most(_unit("non_ascii_characters", statement.subject), 0)),)
    if statement.predicate == "empty":
        return ((*said, _at_most(_unit("lines", statement.subject), 0)),)
    found = _found(statement)
    if not found:
        return (said,)
    if statement.quantity == "all":
        return ((*said, *(_at_least(each, 1) for each in found)),)
    if statement.predicate == "match":
        whole = [(_at_least(each, 1), *_exactly(statement.subject, each.key)) for each in found]
        return tuple((*said, *case) for case in whole)
    some = Linear(dict.fromkeys(found, Fraction(-1)), Fraction(-1))
    return ((*said, some),)


def _exactly(scope: TextExpression, matcher: Hashable) -> Case:
    if not isinstance(matcher, Phrase):
        return ()
    from bylaw.compiler.counts.texts import only_form

    form = only_form(matcher)
    return () if form is None else (Exact(scope, form),)


def _not_held(statement: Holds) -> tuple[Case, ...]:
    said = _said(statement, False)
    if statement.predicate == "ascii":
        return ((*said, _at_least(_unit("non_ascii_characters", statement.subject), 1)),)
    if statement.predicate == "empty":
        return ((*said, _at_least(_unit("lines", statement.subject), 1)),)
    found = _found(statement)
    if not found or statement.in_order:
        return (said,)
    if statement.quantity == "any" or len(found) == 1:
        return ((*said, *(_at_most(each, 0) for each in found)),)
    different = dict.fromkeys(found, Fraction(1))
    return ((*said, Linear(different, Fraction(len(different) - 1))),)


# ------------------------------------------------------------------------------------------------------------ parts
def _of_parts(quantity: str, unit: str, subject: TextExpression, item: BooleanExpression) -> tuple[Case, ...]:
    """What is said of every part of a text, or of some part, as far as it bears on the text."""
    parts = _unit(unit, subject)
    found: list[Linear] = [] if quantity == "every" else [_at_least(parts, 1)]
    for said in item.items if isinstance(item, And) else (item,):
        if not isinstance(said, Compare):
            continue
        cases = _compared(said.operator, said.left, said.right)
        for each in cases[0] if len(cases) == 1 else ():
            if isinstance(each, Linear):
                found += _of_whole(quantity, unit, subject, each)
    return (tuple(found),)


def _of_whole(quantity: str, unit: str, subject: TextExpression, said: Linear) -> list[Linear]:
    """A bound on a count of each part, or of one part, as a bound on the count of the text."""
    from bylaw.compiler.counts.table import INSIDE, PARTWISE, SENTENCEWISE

    if len(said.terms) != 1:
        return []
    ((counted, factor),) = said.terms.items()
    if counted.kind != "unit" or counted.scope != IT:
        return []
    whole, parts, bound = _unit(counted.name, subject), _unit(unit, subject), said.bound / factor
    if said.strict and bound.denominator == 1:
        bound += -1 if factor > 0 else 1
    if quantity == "some":
        return [_at_least(whole, int(-(-bound // 1)))] if factor < 0 and counted.name in INSIDE else []
    if factor > 0:
        adds_up = counted.name in PARTWISE if unit in ("lines", "paragraphs") else counted.name in SENTENCEWISE
        if unit not in ("lines", "paragraphs", "sentences") or not adds_up:
            return []
        return [Linear({whole: Fraction(1), parts: -bound}, Fraction(0))]
    if unit not in ("lines", "paragraphs"):
        return []
    if counted.name == "characters":  # the line breaks between the lines come on top
        more = {_unit("line_breaks", subject): Fraction(1)} if unit == "lines" else {}
        return [Linear({whole: Fraction(-1), parts: bound, **more}, Fraction(0))]
    return [Linear({whole: Fraction(-1), parts: bound}, Fraction(0))] if counted.name in PARTWISE else []
