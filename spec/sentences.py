"""Resolving sentences: syntax -> typed expressions.

Each method records a diagnostic with the author's words and raises Unresolved where a part has no meaning, so that
the caller can go on with the next clause and one run reports all mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, cast

from bylaw.spec import ast, calls, catalog, lookup
from bylaw.spec.expression import (
    And,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    EventCount,
    FoundAmong,
    Holds,
    Matcher,
    Neighbour,
    NumberCall,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Operator,
    Or,
    Phrase,
    TextCall,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED, negate
from bylaw.spec.resolving import RESPONSE, extent
from bylaw.spec.source import Span
from bylaw.spec.subjects import Quantity, Subject, Subjects
from bylaw.spec.texts import LookedFor

MOST_WORDS_QUOTED = 7.0
"""Up to here the same words in a row are no quotation, unless the author says otherwise."""

_PREDICATES: Mapping[type, str] = MappingProxyType(
    {ast.Matches: "match", ast.StartsWith: "start_with", ast.EndsWith: "end_with"}
)


class Sentences(Subjects):
    """Resolves sentences: what is true or false."""

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
                return self.said_of(subject, verb, negated, events="some")
            case ast.Call() | ast.Path():
                inner = self.unfolded(expression)
                return self._truth_of_name(expression) if inner is None else inner[0].truth(inner[1])
        raise self.refuse(expression, "this is not something that can be true or false")

    def _truth_of_name(self, expression: ast.Path | ast.Call) -> BooleanExpression:
        if isinstance(expression, ast.Path):
            if self.is_it(expression):
                if expression.text != "it":
                    return BooleanFact(self.argument_of_it(expression))
                self.require_it(expression)
            if isinstance(value := self.scope.parameter(expression.text), bool):
                return BooleanConstant(value)
            if lookup.is_fact(expression):
                return BooleanFact(expression.text)
        called = self.called(expression)
        if isinstance(called, BooleanCall):
            return called
        what = "is not true or false by itself" if called is None else f"gives {calls.kind_of(called)}, not a yes or no"
        raise self.wrong_name(expression, what)

    def _compare(
        self, left: ast.Expression, operator: Operator, right: ast.Expression, span: Span
    ) -> BooleanExpression:
        if self.goes_through(right):
            left, operator, right = right, MIRRORED[operator], left
        if self.goes_through(left):
            subject = self.subject(left, "some", numbers=isinstance(left, (ast.NumberOf, ast.ScoreOf)))
            return subject.close(self._inside(subject, span)._compared(subject.value, operator, right, span))
        for literal, subject_ in ((right, left), (left, right)):
            if isinstance(literal, ast.Bool) and operator in ("==", "!="):
                return _negated_if(literal.value is not (operator == "=="), self.truth(subject_))
        for one, other in ((left, right), (right, left)):
            is_text = operator in ("==", "!=") and self.literal_text(one) is None and self.is_text(one)
            if self.literal_text(other) is not None or (is_text and not isinstance(other, ast.Number)):
                self._require_equality(operator, span)
                return self._compared(self.text(one), operator, other, span)
        if operator in ("==", "!=") and self.is_fact(left) and self.is_fact(right):
            return self._compared(self.text(left), operator, right, span)
        return self.comparison(operator, self.number(left), self.number(right), span, right.span)

    def _compared(
        self, value: TextExpression | NumberExpression, operator: Operator, other: ast.Expression, span: Span
    ) -> BooleanExpression:
        """A text or a number compared with something."""
        if isinstance(value, NumberExpression):
            return self.comparison(operator, value, self.number(other), span, other.span)
        self._require_equality(operator, span)
        literal = self.literal_text(other)
        if literal is None:
            holds = Holds("match", value, argument=self.text(other), extent=extent(span))
        else:
            holds = Holds("match", value, (Phrase(literal),), extent=extent(span))
        return holds if operator == "==" else negate(holds)

    def _require_equality(self, operator: Operator, span: Span) -> None:
        if operator not in ("==", "!="):
            raise self.messages.failure("P105", "texts can be compared with `==` and `!=` only", span)

    # -------------------------------------------------------------------------------------------------- verbs
    def said_of(
        self,
        subject: ast.Expression | None,
        verb: ast.VerbPhrase,
        negated: bool = False,
        *,
        events: Quantity = "every",
    ) -> BooleanExpression:
        """What a verb phrase says of a subject, or denies of it; None is the response. Raises Unresolved.

        Where the subject is several things, each of them is denied it: `every sentence must not ...` asks it of every
        sentence. `events` says how many calls, outputs or messages are meant: every one in a norm, some in a condition.
        """
        if any(isinstance(part, ast.Occurs) for part in _single_verbs(verb)):
            return self._occurrence(subject, verb, negated, events)
        numbers = any(isinstance(part, ast.IsBounded) for part in _single_verbs(verb))
        if subject is None:
            if numbers:
                note = "say what is counted, as in `must have at most 50 words`"
                raise self.messages.failure("P105", "a response is not a number", verb.span, notes=(note,))
            return _negated_if(negated, self._said(Subject(RESPONSE), verb))
        about = self.subject(subject, events, numbers)
        return about.close(_negated_if(negated, self._inside(about, subject.span)._said(about, verb)))

    def _inside(self, subject: Subject, span: Span) -> Sentences:
        return self if subject.kind is None else self.within(subject.kind, span)

    def _occurrence(
        self, subject: ast.Expression | None, verb: ast.VerbPhrase, negated: bool, events: Quantity
    ) -> BooleanExpression:
        """`occur` is said of all events together, so what is joined with it is said by itself."""
        match verb:
            case ast.VerbNot(operand):
                return self.said_of(subject, operand, not negated, events=events)
            case ast.VerbAnd(operands) | ast.VerbOr(operands):
                parts = tuple(self.said_of(subject, operand, negated, events=events) for operand in operands)
                return And(parts) if isinstance(verb, ast.VerbAnd) is not negated else Or(parts)
            case ast.Occurs(times, per):
                if per is not None and per.text != "conversation":
                    message = f"events are counted per conversation, not per `{per.text}`"
                    raise self.messages.failure("P120", message, per.span)
                amount = EventCount(self.occurring(subject, verb.span))
                if times is not None:
                    return _negated_if(negated, self.bounded(amount, times, verb.span))
                at_least_once = Compare(">=", amount, NumberConstant(1.0), extent(verb.span))
                return _negated_if(negated, at_least_once)
        raise AssertionError("no `occur` in this")

    def _said(self, subject: Subject, verb: ast.VerbPhrase) -> BooleanExpression:
        """What a verb phrase says of one thing."""
        match verb:
            case ast.VerbAnd(operands):
                return And(tuple(self._said(subject, operand) for operand in operands))
            case ast.VerbOr(operands):
                return Or(tuple(self._said(subject, operand) for operand in operands))
            case ast.VerbNot(operand):
                return negate(self._said(subject, operand))
            case ast.Follows(event) | ast.Precedes(event):
                if not subject.is_event:
                    note = "only calls, outputs and messages come before or after one another"
                    raise self.messages.failure("P120", "this is no event", verb.span, notes=(note,))
                side: Literal["before", "after"] = "before" if isinstance(verb, ast.Follows) else "after"
                return Neighbour(side, self.event(event))
        value = subject.value
        if isinstance(value, NumberExpression):
            if not isinstance(verb, ast.IsBounded):
                raise self.messages.failure("P105", "this cannot be said of a number", verb.span)
            return _negated_if(verb.negated, self.bounded(value, verb.bound, verb.span))
        return self._said_of_text(value, verb)

    def _said_of_text(self, text: TextExpression, verb: ast.Verb) -> BooleanExpression:
        match verb:
            case ast.Contains(what, amount):
                return self._found("contain", text, what, amount, verb.span)
            case ast.Mentions(what, amount):
                return self._found("mention", text, what, amount, verb.span)
            case ast.Matches(what) | ast.StartsWith(what) | ast.EndsWith(what):
                return self._holds(_PREDICATES[type(verb)], text, self.looked_for(what), verb.span)
            case ast.HasCount(bound, unit):
                return self.bounded(self.count(unit, text), bound, verb.span)
            case ast.HasNone(unit):
                return Compare("<=", self.count(unit, text), NumberConstant(0.0), extent(verb.span))
            case ast.HasSome(unit):
                counted = self.count(lookup.plural(unit), text)
                return Compare(">=", counted, NumberConstant(1.0), extent(verb.span))
            case ast.IsIn(collection, negated):
                holds = self._holds("match", text, self.looked_for(collection), verb.span)
                return _negated_if(negated, holds)
            case ast.IsInLanguage(language, negated):
                calls.check_language(language, self)
                called = calls.make("language", (text,), verb.span, self)
                assert isinstance(called, TextCall)
                return _negated_if(negated, self._holds("match", called, self.looked_for(language), verb.span))
            case ast.IsProperty(name, matching, negated):
                return _negated_if(negated, self._property(text, name, matching, verb.span))
            case ast.Quotes(what, limit):
                return self._quotes(text, what, limit, verb.span)
            case ast.Expresses(name, score):
                return self._expresses(text, name, False, score, verb.span)
            case ast.IsAbout(name, negated):
                return _negated_if(negated, self._expresses(text, name, True, None, verb.span))
        raise self.messages.failure("P105", "this cannot be said of a text", verb.span)

    # ------------------------------------------------------------------------------------------ finding in texts
    def _found(
        self,
        predicate: Literal["contain", "mention"],
        text: TextExpression,
        what: ast.Expression,
        amount: ast.Amount | None,
        span: Span,
    ) -> BooleanExpression:
        match amount:
            case ast.Times(bound):
                matchers = self._usable(predicate, self.matchers(what), what.span)
                return self.bounded(Occurrences(predicate, text, matchers), bound, span)
            case ast.CountAmong(bound):
                matchers = self._usable(predicate, self.matchers(what), what.span)
                return self.bounded(FoundAmong(predicate, text, matchers), bound, span)
            case ast.Among(ast.Choice.ALL, in_order) if in_order:
                matchers = self._usable(predicate, self.matchers(what, repeats=True), what.span)
                return Holds(predicate, text, matchers, "all", extent(span), in_order=True)
            case ast.Among(ast.Choice.ALL):
                return self._holds(predicate, text, self.looked_for(what), span, "all")
            case ast.Among(ast.Choice.NONE):
                return negate(self._holds(predicate, text, self.looked_for(what), span))
        return self._holds(predicate, text, self.looked_for(what), span)

    def _holds(
        self,
        predicate: str,
        text: TextExpression,
        wanted: LookedFor,
        span: Span,
        quantity: Literal["any", "all"] = "any",
    ) -> BooleanExpression:
        """A predicate holds for any, or for all, of what is looked for."""
        parts: list[BooleanExpression] = []
        if wanted.matchers or not wanted.arguments:
            matchers = self._usable(predicate, wanted.matchers, span)
            parts.append(Holds(predicate, text, matchers, quantity, extent(span)))
        parts += [Holds(predicate, text, argument=argument, extent=extent(span)) for argument in wanted.arguments]
        if len(parts) == 1:
            return parts[0]
        return And(tuple(parts)) if quantity == "all" else Or(tuple(parts))

    def _usable(self, predicate: str, matchers: tuple[Matcher, ...], span: Span) -> tuple[Matcher, ...]:
        """The matchers, if the predicate can look for all of them. Raises Unresolved (P105)."""
        for matcher in matchers:
            reason = catalog.predicate(predicate).refuse(matcher)
            if reason is not None:
                raise self.messages.failure("P105", reason, span)
        return matchers

    # ---------------------------------------------------------------------------- properties, concepts, quotations
    def _property(
        self, text: TextExpression, name: ast.Name, matching: ast.Expression | None, span: Span
    ) -> BooleanExpression:
        """`be json`, `be json matching S`, `be NAME` of a definition with one parameter or of a concept."""
        if matching is not None:
            if name.text != "json":
                message = f"`{name.text}` cannot be compared with anything: only `json` has `matching`"
                raise self.messages.failure("P105", message, span)
            called = calls.make("json_matches", (text, self.text(matching)), span, self)
            assert isinstance(called, BooleanCall)
            return called
        said = self._said_by_definition(text, name)
        if said is not None:
            return said
        if self.scope.concept(name.text) is not None or name.text in self.place.bindings:
            return self._expresses(text, name, False, None, span)
        return Holds(lookup.text_property(name, self.scope, self.messages), text, extent=extent(span))

    def _said_by_definition(self, text: TextExpression, name: ast.Name) -> BooleanExpression | None:
        """`response is refusal` says `refusal(response)`; None where there is no such definition."""
        found = None if name.text in self.place.bindings else self.scope.definition(name.text)
        if found is None:
            return None
        parameters = [each.name.text for each in found[1].parameters or () if each.default is None]
        if len(found[1].parameters or ()) == 0 or len(parameters) > 1:
            message = f"`{name.text}` is not said of one text"
            note = "a definition that a text can `be` has one parameter, which stands for the text"
            raise self.messages.failure("P103", message, name.span, notes=(note,))
        place = self.with_text(name, text).place
        call = ast.Call(name, (ast.Argument(None, ast.Path(name.text, name.span), name.span),), name.span)
        return replace(self, place=place).truth(call)

    def _expresses(
        self, text: TextExpression, name: ast.Name, is_topic: bool, score: ast.Bound | None, span: Span
    ) -> BooleanExpression:
        concept = self.concept(name)
        if concept.is_topic is not is_topic:
            raise lookup.wrong_concept(concept, name, is_topic, self.messages)
        measured = ConceptScore(concept, text)
        if score is None:
            return Compare(">=", measured, NumberConstant(concept.threshold), extent(span))
        return self.bounded(measured, score, span)

    def _quotes(
        self, text: TextExpression, what: ast.Expression, limit: ast.QuoteLimit | None, span: Span
    ) -> BooleanExpression:
        called = calls.make("quoted_words", (text, self.text(what)), span, self)
        assert isinstance(called, NumberCall)
        if limit is None:
            return Compare(">", called, NumberConstant(MOST_WORDS_QUOTED), extent(span))
        if limit.unit.text not in ("words", "word"):
            message = f"quotations are measured in words, not in `{limit.unit.text}`"
            raise self.messages.failure("P105", message, limit.unit.span)
        return self.bounded(called, limit.bound, span)

    # -------------------------------------------------------------------------------------------------- names
    def check(self, expression: ast.Expression) -> None:
        """Resolves an expression as whatever it can be. Raises Unresolved."""
        match expression:
            case ast.Number() | ast.Arithmetic() | ast.Negate():
                self.number(expression)
            case ast.NumberOf() | ast.ScoreOf() | ast.Part() | ast.CallTo() | ast.OutputOf() | ast.MessageFrom():
                self.subject(expression, "every", numbers=isinstance(expression, (ast.NumberOf, ast.ScoreOf)))
            case ast.Text() | ast.NthPart():
                self.text(expression)
            case ast.Pattern() | ast.ListLiteral():
                self.looked_for(expression)
            case ast.Call() | ast.Path():
                inner = self.unfolded(expression)
                if inner is not None:
                    inner[0].check(inner[1])
                elif self.called(expression) is None:
                    self._check_name(expression)
            case _:
                self.truth(expression)

    def _check_name(self, expression: ast.Path | ast.Call) -> None:
        if isinstance(expression, ast.Path):
            if self.is_it(expression):
                self.require_it(expression)
                return
            if expression.text in self.scope.known() or lookup.is_fact(expression):
                return
        raise self.wrong_name(expression, "cannot be used here")


def _single_verbs(verb: ast.VerbPhrase) -> tuple[ast.Verb, ...]:
    match verb:
        case ast.VerbAnd(operands) | ast.VerbOr(operands):
            return tuple(each for operand in operands for each in _single_verbs(operand))
        case ast.VerbNot(operand):
            return _single_verbs(operand)
    return (verb,)


def _negated_if(negated: bool, expression: BooleanExpression) -> BooleanExpression:
    return negate(expression) if negated else expression
