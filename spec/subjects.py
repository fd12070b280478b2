"""Resolving what a sentence is about when that is several things: parts of texts, and events of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from bylaw.spec import ast, catalog, lookup
from bylaw.spec.errors import Fix
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    EachEvent,
    EachPart,
    EventSelector,
    NumberExpression,
    Phrase,
    TextExpression,
)
from bylaw.spec.quantities import Quantities
from bylaw.spec.resolving import ItKind, extent
from bylaw.spec.source import Span
from bylaw.spec.texts import EVENT_UNITS, IT, is_event

Quantity: TypeAlias = Literal["every", "some"]
Event: TypeAlias = ast.CallTo | ast.OutputOf | ast.MessageFrom

SPEAKERS = ("system", "developer", "user", "assistant")
_KINDS: Mapping[type, ItKind] = MappingProxyType(
    {ast.CallTo: "call", ast.OutputOf: "output", ast.MessageFrom: "message"}
)
_ALWAYS = BooleanConstant(True)


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: a text or a number, inside the quantifiers that go through parts or events.

    `kind` says what `it` is inside the innermost quantifier, None without any. `is_event` is true where the subject is
    the whole event, so that it can follow, precede and occur.
    """

    value: TextExpression | NumberExpression
    quantifiers: tuple[EachPart | EachEvent, ...] = ()
    kind: ItKind | None = None
    is_event: bool = False

    def inside(self, quantifier: EachPart | EachEvent, kind: ItKind) -> Subject:
        """What one more quantifier goes through."""
        return Subject(IT, (*self.quantifiers, quantifier), kind, kind != "part")

    def about(self, value: TextExpression | NumberExpression) -> Subject:
        """Something of it: a part at a place, a number."""
        return replace(self, value=value, is_event=False)

    def close(self, said: BooleanExpression) -> BooleanExpression:
        """What is said of it, for all that the quantifiers go through."""
        for quantifier in reversed(self.quantifiers):
            said = replace(quantifier, item=said)
        return said


class Subjects(Quantities):
    """Resolves the subjects of sentences."""

    def subject(self, expression: ast.Expression, events: Quantity, numbers: bool = False) -> Subject:
        """What a sentence is about; `events` says how many calls are meant where no word says it.

        With `numbers` the sentence is about a number, else about a text or an event. Raises Unresolved.
        """
        match expression:
            case ast.Part(ast.Quantifier.EVERY | ast.Quantifier.SOME, unit) if is_event(expression):
                return self._messages(expression, unit)
            case ast.Part(ast.Quantifier.EVERY | ast.Quantifier.SOME as quantifier, unit, whole):
                around = self.subject(whole, events)
                quantity: Quantity = "every" if quantifier is ast.Quantifier.EVERY else "some"
                text = _text_of(around)
                each = EachPart(quantity, lookup.part(unit, self.messages), text, _ALWAYS, extent(expression.span))
                return around.inside(each, "part")
            case ast.Part(_, _, whole) | ast.NthPart(_, _, whole) if not is_event(expression):
                around = self.subject(whole, events)
                return around.about(self.part_of(expression, _text_of(around)))
            case ast.NumberOf(_, whole) | ast.ScoreOf(_, whole) if numbers:
                around = self.subject(whole, events)
                return around.about(self.measure(expression, _text_of(around)))
            case ast.CallTo() | ast.OutputOf() | ast.MessageFrom():
                selector = self.selector(expression)
                each_event = EachEvent(events, selector, _ALWAYS, extent(expression.span))
                return Subject(IT).inside(each_event, selector.kind)
            case ast.Path() | ast.Call():
                inner = self.unfolded(expression)
                if inner is not None:
                    return inner[0].subject(inner[1], events, numbers)
                if isinstance(expression, ast.Path) and expression.text == "it" and self.is_it(expression):
                    return Subject(IT, is_event=self.require_it(expression).kind != "part")
        return Subject(self.number(expression) if numbers else self.text(expression))

    def goes_through(self, expression: ast.Expression) -> bool:
        """Whether a term is about several things: the parts of a text, or events. Raises Unresolved."""
        match expression:
            case ast.CallTo() | ast.OutputOf() | ast.MessageFrom():
                return True
            case ast.Part(ast.Quantifier.EVERY | ast.Quantifier.SOME):
                return True
            case ast.Part(_, _, whole) | ast.NthPart(_, _, whole) | ast.NumberOf(_, whole) | ast.ScoreOf(_, whole):
                return self.goes_through(whole)
            case ast.Path() | ast.Call():
                inner = self.unfolded(expression)
                return inner is not None and inner[0].goes_through(inner[1])
        return False

    # ------------------------------------------------------------------------------------------------------ events
    def event(self, expression: ast.Expression) -> EventSelector:
        """The events that `follow` and `precede` name. Raises Unresolved (P120)."""
        match expression:
            case ast.CallTo() | ast.OutputOf() | ast.MessageFrom():
                return self.selector(expression)
            case ast.Path() | ast.Call():
                inner = self.unfolded(expression)
                if inner is not None:
                    return inner[0].event(inner[1])
        note = "events are `call to NAME`, `output of NAME` and `message from user`"
        raise self.messages.failure("P120", "this is not an event of a conversation", expression.span, notes=(note,))

    def occurring(self, subject: ast.Expression | None, span: Span) -> EventSelector:
        """The events that are said to occur. Raises Unresolved (P120)."""
        about = None if subject is None else self.subject(subject, "every")
        if about is not None and about.is_event and len(about.quantifiers) == 1:
            (quantifier,) = about.quantifiers
            if isinstance(quantifier, EachEvent):
                return quantifier.selector
        note = "as in `call to refund must occur at most 1 times per conversation`"
        message = "only calls, outputs and messages occur"
        raise self.messages.failure("P120", message, span if subject is None else subject.span, notes=(note,))

    def selector(self, event: Event) -> EventSelector:
        """Which events are meant. Raises Unresolved (P120)."""
        said = None if event.where is None else self.within(_KINDS[type(event)], event.span).truth(event.where)
        match event:
            case ast.CallTo(named):
                return EventSelector("call", self._tools(named), where=said)
            case ast.OutputOf(named):
                return EventSelector("output", self._tools(named), where=said)
            case ast.MessageFrom(role):
                return EventSelector("message", role=self._speaker(role), where=said)

    def _speaker(self, role: ast.Name) -> str:
        if role.text in SPEAKERS:
            return role.text
        nearest = catalog.nearest(role.text, SPEAKERS)
        note = f"messages come from {', '.join(SPEAKERS)}"
        if role.text == "tool":
            note = "what a tool gave back is `output of NAME`, or `output of any tool`"
        fix = None if nearest is None else Fix(f"write `{nearest}`", role.span, nearest)
        message = f"nobody called `{role.text}` speaks in a conversation"
        raise self.messages.failure("P120", message, role.span, notes=(note,), fix=fix)

    def _tools(self, named: ast.Tools) -> tuple[str, ...]:
        """The names of tools; none for any tool. A name that the policy declares stands for what it holds."""
        if isinstance(named, ast.AnyTool):
            return ()
        if isinstance(named, ast.Name):
            path = ast.Path(named.text, named.span)
            is_declared = self.unfolded(path) is not None or self.scope.parameter(named.text) is not None
            if not is_declared and self.scope.lexicon(named.text) is None:
                if "." in named.text and self.scope.home(named.text) is not None:
                    raise lookup.unknown(named, self.scope, self.messages)  # a name of an import, misspelt
                return (named.text,)
            matchers = self.matchers(path)
        else:
            matchers = self.matchers(named)
        if not all(isinstance(matcher, Phrase) for matcher in matchers):
            raise self.messages.failure("P120", "a tool has a name, not a pattern", named.span)
        return tuple(matcher.text for matcher in matchers if isinstance(matcher, Phrase))

    # --------------------------------------------------------------------------------------- parts of a conversation
    def _messages(self, part: ast.Part, unit: ast.Name) -> Subject:
        quantity: Quantity = "every" if part.quantifier is ast.Quantifier.EVERY else "some"
        kind = EVENT_UNITS[unit.text]
        return Subject(IT).inside(EachEvent(quantity, EventSelector(kind), _ALWAYS, extent(part.span)), kind)


def _text_of(subject: Subject) -> TextExpression:
    value = subject.value
    assert not isinstance(value, NumberExpression), "only texts have parts"
    return value
