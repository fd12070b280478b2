"""Resolving numbers and comparisons of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, cast

from bylaw.spec import ast, calls, lookup
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanExpression,
    Compare,
    Concept,
    ConceptScore,
    Count,
    EventCount,
    FoundAmong,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Operator,
    TextExpression,
)
from bylaw.spec.resolving import extent
from bylaw.spec.source import Span
from bylaw.spec.texts import Texts

BOUNDS: Mapping[type, Operator] = MappingProxyType(
    {ast.AtLeast: ">=", ast.AtMost: "<=", ast.Exactly: "==", ast.MoreThan: ">", ast.FewerThan: "<"}
)
_WHOLE = (Count, Occurrences, FoundAmong, EventCount)
"""Quantities that are counts: whole and never below zero."""


class Quantities(Texts):
    """Resolves numbers; what is known already is worked out."""

    def number(self, expression: ast.Expression) -> NumberExpression:
        """A quantity. Raises Unresolved."""
        match expression:
            case ast.Number():
                return NumberConstant(float(expression.amount))
            case ast.Negate(operand):
                return self._arithmetic(NumberConstant(0.0), "-", self.number(operand), expression.span)
            case ast.Arithmetic(left, operator, right):
                symbol = cast(Literal["+", "-", "*", "/"], operator)
                return self._arithmetic(self.number(left), symbol, self.number(right), expression.span)
            case ast.NumberOf(_, whole) | ast.ScoreOf(_, whole):
                return self.measure(expression, self.text(whole))
            case ast.Call() | ast.Path():
                inner = self.unfolded(expression)
                return self._number_of_name(expression) if inner is None else inner[0].number(inner[1])
        raise self.refuse(expression, "this is not a number")

    def measure(self, measured: ast.NumberOf | ast.ScoreOf, text: TextExpression) -> NumberExpression:
        """`number of ...` or `score of ...` in a text. Raises Unresolved."""
        if isinstance(measured, ast.ScoreOf):
            return ConceptScore(self.concept(measured.concept), text)
        counted = measured.counted
        if not isinstance(counted, ast.Name):
            return Occurrences("contain", text, self.matchers(counted))
        if counted.text in self.place.bindings or self.scope.lexicon(counted.text) is not None:
            return Occurrences("mention", text, self.matchers(ast.Path(counted.text, counted.span)))
        return self.count(counted, text)

    def concept(self, name: ast.Name) -> Concept:
        """A concept or topic by name, or by the name of a parameter that stands for one. Raises Unresolved (P101)."""
        bound = self.place.bindings.get(name.text)
        if bound is not None and isinstance(bound.value, ast.Path):
            meant = ast.Name(bound.value.text, bound.value.span)
            return type(self)(bound.place, self.messages, self.it).concept(meant)
        found = self.scope.concept(name.text)
        if found is None:
            raise lookup.no_concept(name, self.scope, self.messages)
        return found

    def count(self, unit: ast.Name, text: TextExpression) -> Count:
        """How many units a text has. Raises Unresolved."""
        return Count(lookup.unit(unit, self.scope, self.messages), text)

    def _arithmetic(
        self, left: NumberExpression, operator: Literal["+", "-", "*", "/"], right: NumberExpression, span: Span
    ) -> NumberExpression:
        if operator == "/" and right == NumberConstant(0.0):
            raise self.messages.failure("P105", "a division by zero has no value", span)
        if not (isinstance(left, NumberConstant) and isinstance(right, NumberConstant)):
            return Arithmetic(operator, left, right)
        match operator:
            case "+":
                value = left.value + right.value
            case "-":
                value = left.value - right.value
            case "*":
                value = left.value * right.value
            case "/":
                value = left.value / right.value
        if value in (float("inf"), float("-inf")):
            raise self.messages.failure("P105", "this number is too large", span)
        return NumberConstant(value + 0.0)  # never -0.0

    def _number_of_name(self, expression: ast.Path | ast.Call) -> NumberExpression:
        if isinstance(expression, ast.Path):
            if self.is_it(expression):
                if expression.text != "it":
                    return NumberFact(self.argument_of_it(expression))
                self.require_it(expression)
            value = self.scope.parameter(expression.text)
            if isinstance(value, float):
                return NumberConstant(value)
            if lookup.is_fact(expression):
                return NumberFact(expression.text)
        called = self.called(expression)
        if isinstance(called, NumberCall):
            return called
        raise self.wrong_name(
            expression, "is not a number" if called is None else f"gives {calls.kind_of(called)}, not a number"
        )

    # -------------------------------------------------------------------------------------------------- comparisons
    def bounded(self, amount: NumberExpression, bound: ast.Bound, span: Span) -> BooleanExpression:
        """A quantity within a bound. Raises Unresolved."""
        if not isinstance(bound, ast.Between):
            return self.comparison(BOUNDS[type(bound)], amount, self.number(bound.value), span, bound.value.span)
        low, high = self.number(bound.low), self.number(bound.high)
        if isinstance(low, NumberConstant) and isinstance(high, NumberConstant) and low.value > high.value:
            raise self.messages.failure("P105", f"nothing lies between {_shown(low)} and {_shown(high)}", bound.span)
        return And(
            (
                self.comparison(">=", amount, low, span, bound.low.span),
                self.comparison("<=", amount, high, span, bound.high.span),
            )
        )

    def comparison(
        self, operator: Operator, left: NumberExpression, right: NumberExpression, span: Span, at: Span
    ) -> BooleanExpression:
        """Two quantities compared; a number that the first can never be is refused. Raises Unresolved."""
        for measured, bound in ((left, right), (right, left)):
            if not isinstance(bound, NumberConstant):
                continue
            if isinstance(measured, _WHOLE) and (bound.value < 0 or bound.value != int(bound.value)):
                note = f"what is compared with it is a number of {_counted(measured)}"
                message = f"{_shown(bound)} cannot be a count: counts are whole, from 0 up"
                raise self.messages.failure("P105", message, at, notes=(note,))
            if isinstance(measured, ConceptScore) and not 0 <= bound.value <= 1:
                raise self.messages.failure("P121", f"{_shown(bound)} cannot be a score: scores run from 0 to 1", at)
        return Compare(operator, left, right, extent(span))


def _counted(counted: Count | Occurrences | FoundAmong | EventCount) -> str:
    match counted:
        case Count(unit):
            return unit.replace("_", " ")
        case EventCount():
            return "times that something happens"
        case FoundAmong():
            return "things that are found"
    return "times that something is found"


def _shown(number: NumberConstant) -> str:
    return f"`{number.value:g}`"
