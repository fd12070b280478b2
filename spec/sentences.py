"""Resolving sentences: syntax -> typed expressions.

Each method records a diagnostic with the author's words and raises Unresolved where a part has no meaning, so that
the caller can go on with the next clause and one run reports all mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, cast

from bylaw.spec import ast, lookup
from bylaw.spec.definitions import Place, unfold
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Count,
    Extent,
    Fact,
    Holds,
    Matcher,
    MessageRole,
    MessageText,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Operator,
    Or,
    Phrase,
    TextConstant,
    TextExpression,
    negate,
)
from bylaw.spec.scope import SUBJECTS, Messages, Scope, Unresolved
from bylaw.spec.source import Span

RESPONSE = MessageText("response")

_UNSUPPORTED: Mapping[type, str] = MappingProxyType(
    {
        ast.Part: "parts of a text (`every sentence of ...`) are",
        ast.NthPart: "parts of a text (`paragraph 2 of ...`) are",
        ast.ScoreOf: "scores of concepts are",
        ast.CallTo: "rules about tool calls are",
        ast.OutputOf: "rules about the output of tools are",
        ast.MessageFrom: "rules about single messages are",
        ast.IsAbout: "topics (`about ...`) are",
        ast.IsInLanguage: "recognising languages is",
        ast.Expresses: "concepts (`express ...`) are",
        ast.Quotes: "`quote` is",
        ast.Follows: "`follow` is",
        ast.Precedes: "`precede` is",
        ast.Occurs: "`occur` is",
    }
)
_BOUNDS: Mapping[type, Operator] = MappingProxyType(
    {ast.AtLeast: ">=", ast.AtMost: "<=", ast.Exactly: "==", ast.MoreThan: ">", ast.FewerThan: "<"}
)


@dataclass(frozen=True)
class Sentences:
    """Resolves sentences; `place` tells in which file they stand and which definition is being unfolded."""

    place: Place
    messages: Messages

    @property
    def scope(self) -> Scope:
        """What the sentences may refer to by name."""
        return self.place.scope

    # ------------------------------------------------------------------------------------------------- booleans
    def truth(self, expression: ast.Expression) -> BooleanExpression:
        """A condition. Raises Unresolved."""
        match expression:
            case ast.And(operands):
                return And(tuple(self.truth(operand) for operand in operands))
            case ast.Or(operands):
                return Or(tuple(self.truth(operand) for operand in operands))
            case ast.Not(operand):
                return negate(self.truth(operand))
            case ast.Bool(value):
                return BooleanConstant(value)
            case ast.Compare(left, operator, right):
                return self._compare(left, cast(Operator, operator), right, expression.span)
            case ast.Claim(subject, verb, negated):
                said = self.said_of(subject, verb)
                return negate(said) if negated else said
            case ast.Call() | ast.Path():
                inner = self._unfolded(expression)
                return self._truth_of_name(expression) if inner is None else inner[0].truth(inner[1])
        raise self._refuse(expression, "this is not something that can be true or false")

    def _truth_of_name(self, expression: ast.Path | ast.Call) -> BooleanExpression:
        if isinstance(expression, ast.Path):
            if isinstance(value := self.scope.parameters.get(expression.text), bool):
                return BooleanConstant(value)
            if lookup.is_fact(expression):
                return BooleanFact(expression.text)
        raise self._wrong_name(expression, "is not true or false by itself")

    def _compare(
        self, left: ast.Expression, operator: Operator, right: ast.Expression, span: Span
    ) -> BooleanExpression:
        for literal, subject in ((right, left), (left, right)):
            if isinstance(literal, ast.Bool) and operator in ("==", "!="):
                return _negated_if(literal.value is not (operator == "=="), self.truth(subject))
            text = self._literal_text(literal)
            if text is None:
                continue
            if operator not in ("==", "!="):
                raise self.messages.failure("P105", "texts can be compared with `==` and `!=` only", span)
            holds = Holds("match", self.text(subject), (Phrase(text),), extent=_extent(span))
            return holds if operator == "==" else negate(holds)
        return self._comparison(operator, self.number(left), self.number(right), span, right.span)

    def _literal_text(self, expression: ast.Expression) -> str | None:
        """The text that an expression spells out, directly or by name; None for anything else."""
        match expression:
            case ast.Text(value):
                return value
            case ast.Path() | ast.Call():
                inner = self._unfolded(expression)
                if inner is not None:
                    return inner[0]._literal_text(inner[1])
                known = self.scope.parameters.get(expression.text) if isinstance(expression, ast.Path) else None
                return known if isinstance(known, str) else None
        return None

    # -------------------------------------------------------------------------------------------------- verbs
    def said_of(self, subject: ast.Expression | None, verb: ast.VerbPhrase) -> BooleanExpression:
        """What a verb phrase says of a subject; None is the response. Raises Unresolved."""
        match verb:
            case ast.VerbAnd(operands):
                return And(tuple(self.said_of(subject, operand) for operand in operands))
            case ast.VerbOr(operands):
                return Or(tuple(self.said_of(subject, operand) for operand in operands))
            case ast.VerbNot(operand):
                return negate(self.said_of(subject, operand))
            case ast.IsBounded(bound, negated):
                if subject is None:
                    note = "say what is counted, as in `must have at most 50 words`"
                    raise self.messages.failure("P105", "a response is not a number", verb.span, notes=(note,))
                return _negated_if(negated, self._bounded(self.number(subject), bound, verb.span))
        text = RESPONSE if subject is None else self.text(subject)
        return self._said_of_text(text, verb)

    def _said_of_text(self, text: TextExpression, verb: ast.Verb) -> BooleanExpression:
        extent = _extent(verb.span)
        match verb:
            case ast.Contains(what, amount):
                return self._found("contain", text, what, amount, verb.span)
            case ast.Mentions(what, amount):
                return self._found("mention", text, what, amount, verb.span)
            case ast.Matches(what):
                return Holds("match", text, self.matchers(what), extent=extent)
            case ast.StartsWith(what):
                return Holds("start_with", text, self.matchers(what), extent=extent)
            case ast.EndsWith(what):
                return Holds("end_with", text, self.matchers(what), extent=extent)
            case ast.HasCount(bound, unit):
                return self._bounded(self._count(unit, text), bound, verb.span)
            case ast.HasNone(unit):
                return Compare("<=", self._count(unit, text), NumberConstant(0.0), extent)
            case ast.HasSome(unit):
                return Compare(">=", self._count(lookup.plural(unit), text), NumberConstant(1.0), extent)
            case ast.IsIn(collection, negated):
                return _negated_if(negated, Holds("match", text, self.matchers(collection), extent=extent))
            case ast.IsProperty(name, matching, negated):
                if matching is not None:
                    raise self.messages.not_supported(f"`{name.text} matching ...` is", verb.span)
                holds = Holds(lookup.text_property(name, self.scope, self.messages), text, extent=extent)
                return _negated_if(negated, holds)
        raise self._refuse(verb, "this cannot be said of a text")

    def _found(
        self,
        predicate: Literal["contain", "mention"],
        text: TextExpression,
        what: ast.Expression,
        amount: ast.Amount | None,
        span: Span,
    ) -> BooleanExpression:
        matchers = self.matchers(what)
        match amount:
            case ast.Times(bound):
                return self._bounded(Occurrences(predicate, text, matchers), bound, span)
            case ast.CountAmong(bound):
                raise self.messages.not_supported("`at least n of` a set is", bound.span)
            case ast.Among(ast.Choice.ALL):
                return Holds(predicate, text, matchers, "all", _extent(span))
            case ast.Among(ast.Choice.NONE):
                return negate(Holds(predicate, text, matchers, "any", _extent(span)))
        return Holds(predicate, text, matchers, "any", _extent(span))

    def _bounded(self, amount: NumberExpression, bound: ast.Bound, span: Span) -> BooleanExpression:
        if not isinstance(bound, ast.Between):
            return self._comparison(_BOUNDS[type(bound)], amount, self.number(bound.value), span, bound.value.span)
        low, high = self.number(bound.low), self.number(bound.high)
        if isinstance(low, NumberConstant) and isinstance(high, NumberConstant) and low.value > high.value:
            raise self.messages.failure("P105", f"nothing lies between {_shown(low)} and {_shown(high)}", bound.span)
        return And(
            (
                self._comparison(">=", amount, low, span, bound.low.span),
                self._comparison("<=", amount, high, span, bound.high.span),
            )
        )

    def _comparison(
        self, operator: Operator, left: NumberExpression, right: NumberExpression, span: Span, at: Span
    ) -> BooleanExpression:
        for counted, bound in ((left, right), (right, left)):
            if not (isinstance(counted, (Count, Occurrences)) and isinstance(bound, NumberConstant)):
                continue
            if bound.value < 0 or bound.value != int(bound.value):
                note = f"what is compared with it is a number of {_counted(counted)}"
                raise self.messages.failure(
                    "P105", f"{_shown(bound)} cannot be a count: counts are whole, from 0 up", at, notes=(note,)
                )
        return Compare(operator, left, right, _extent(span))

    # ------------------------------------------------------------------------------------------------ numbers
    def number(self, expression: ast.Expression) -> NumberExpression:
        """A quantity; what is known already is worked out. Raises Unresolved."""
        match expression:
            case ast.Number():
                return NumberConstant(float(expression.amount))
            case ast.Negate(operand):
                return self._arithmetic(NumberConstant(0.0), "-", self.number(operand), expression.span)
            case ast.Arithmetic(left, operator, right):
                symbol = cast(Literal["+", "-", "*", "/"], operator)
                return self._arithmetic(self.number(left), symbol, self.number(right), expression.span)
            case ast.NumberOf(counted, whole):
                return self._number_of(counted, self.text(whole))
            case ast.Call() | ast.Path():
                inner = self._unfolded(expression)
                return self._number_of_name(expression) if inner is None else inner[0].number(inner[1])
        raise self._refuse(expression, "this is not a number")

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
            value = self.scope.parameters.get(expression.text)
            if isinstance(value, float):
                return NumberConstant(value)
            if lookup.is_fact(expression):
                return NumberFact(expression.text)
        raise self._wrong_name(expression, "is not a number")

    def _number_of(
        self, counted: ast.Name | ast.Pattern | ast.Text | ast.ListLiteral, text: TextExpression
    ) -> NumberExpression:
        if not isinstance(counted, ast.Name):
            return Occurrences("contain", text, self.matchers(counted))
        if counted.text in self.place.bindings or counted.text in self.scope.lexicons:
            return Occurrences("mention", text, self.matchers(ast.Path(counted.text, counted.span)))
        return self._count(counted, text)

    def _count(self, unit: ast.Name, text: TextExpression) -> Count:
        return Count(lookup.unit(unit, self.scope, self.messages), text)

    # -------------------------------------------------------------------------------------------------- texts
    def text(self, expression: ast.Expression) -> TextExpression:
        """What a sentence is about. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                return TextConstant(value)
            case ast.Call() | ast.Path():
                inner = self._unfolded(expression)
                return self._text_of_name(expression) if inner is None else inner[0].text(inner[1])
        raise self._refuse(expression, "this is not a text")

    def _text_of_name(self, expression: ast.Path | ast.Call) -> TextExpression:
        if isinstance(expression, ast.Path):
            if expression.text in SUBJECTS:
                return MessageText(cast(MessageRole, SUBJECTS[expression.text]))
            if isinstance(value := self.scope.parameters.get(expression.text), str):
                return TextConstant(value)
            if lookup.is_fact(expression):
                return Fact(expression.text)
        raise self._wrong_name(expression, "is not a text")

    # ----------------------------------------------------------------------------------------------- matchers
    def matchers(self, expression: ast.Expression) -> tuple[Matcher, ...]:
        """What to look for: a text, a pattern, a list, a lexicon or a parameter. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                return (self._phrase(value, expression.span),)
            case ast.Pattern():
                return (lookup.pattern(expression, self.messages),)
            case ast.ListLiteral(items):
                if not items:
                    raise self.messages.failure(
                        "P105", "this list is empty, so nothing could be found", expression.span
                    )
                return tuple(dict.fromkeys(matcher for item in items for matcher in self.matchers(item)))
            case ast.Call() | ast.Path():
                inner = self._unfolded(expression)
                return self._matchers_of_name(expression) if inner is None else inner[0].matchers(inner[1])
        raise self._refuse(expression, "only a text, a pattern, a list or a lexicon can be looked for")

    def _matchers_of_name(self, expression: ast.Path | ast.Call) -> tuple[Matcher, ...]:
        if isinstance(expression, ast.Path):
            if expression.text in self.scope.lexicons:
                return self.scope.lexicons[expression.text]
            value = self.scope.parameters.get(expression.text)
            if isinstance(value, str):
                return (self._phrase(value, expression.span),)
            if isinstance(value, tuple):
                return value
            if lookup.is_fact(expression) or expression.text in SUBJECTS:
                what = f"looking for a text that comes with the conversation (`{expression.text}`) is"
                raise self.messages.not_supported(what, expression.span)
        raise self._wrong_name(expression, "is not a text, pattern or lexicon to look for")

    def _phrase(self, text: str, span: Span) -> Phrase:
        if text == "":
            raise self.messages.failure("P105", "an empty text is found everywhere", span)
        return Phrase(text)

    # -------------------------------------------------------------------------------------------------- names
    def check(self, expression: ast.Expression) -> None:
        """Resolves an expression as whatever it can be. Raises Unresolved."""
        match expression:
            case ast.Number() | ast.Arithmetic() | ast.Negate() | ast.NumberOf() | ast.ScoreOf():
                self.number(expression)
            case ast.Text():
                self.text(expression)
            case ast.Pattern() | ast.ListLiteral():
                self.matchers(expression)
            case ast.Call() | ast.Path():
                inner = self._unfolded(expression)
                if inner is not None:
                    inner[0].check(inner[1])
                elif isinstance(expression, ast.Call) or not (
                    expression.text in self.scope.known() or lookup.is_fact(expression)
                ):
                    raise self._wrong_name(expression, "cannot be used here")
            case _:
                self.truth(expression)

    def _unfolded(self, expression: ast.Path | ast.Call) -> tuple[Sentences, ast.Expression] | None:
        found = unfold(expression, self.place, self.messages)
        return None if found is None else (replace(self, place=found[1]), found[0])

    def _wrong_name(self, expression: ast.Path | ast.Call, what: str) -> Unresolved:
        """Refuses a name: one that is known `what`, another one is unknown."""
        if isinstance(expression, ast.Call):
            name = expression.function
            if name.text in self.scope.known():
                return self.messages.failure("P110", f"`{name.text}` takes no arguments", expression.span)
        else:
            name = ast.Name(expression.text, expression.span)
            if name.text in self.scope.known() or lookup.is_fact(expression):
                return self.messages.failure("P105", f"`{name.text}` {what}", name.span)
        return lookup.unknown(name, self.scope, self.messages)

    def _refuse(self, node: ast.Expression | ast.Verb, otherwise: str) -> Unresolved:
        """Tells a construct that later versions resolve from one that has no meaning here."""
        for part in ast.walk(node):
            if type(part) in _UNSUPPORTED:
                return self.messages.not_supported(_UNSUPPORTED[type(part)], node.span)
        return self.messages.failure("P105", otherwise, node.span)


def _negated_if(negated: bool, expression: BooleanExpression) -> BooleanExpression:
    return negate(expression) if negated else expression


def _counted(counted: Count | Occurrences) -> str:
    return counted.unit.replace("_", " ") if isinstance(counted, Count) else "times that something is found"


def _shown(number: NumberConstant) -> str:
    return f"`{number.value:g}`"


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
