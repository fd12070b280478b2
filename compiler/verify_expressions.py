"""What can be wrong with one part of an expression, apart from what is inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    BooleanCall,
    BooleanFact,
    Concept,
    ConceptScore,
    Continued,
    Count,
    EachEvent,
    EachPart,
    EventAt,
    EventCount,
    EventSelector,
    Expression,
    Fact,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Neighbour,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Or,
    PartOf,
    Rank,
    Regex,
    TextCall,
    TextExpression,
)
from bylaw.spec.logic import children
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.trace import ROLES

SPEAKERS = tuple(role for role in ROLES if role != "tool")


def expression_problems(expression: Expression) -> Iterator[str]:
    """The problems of one part, in words."""
    match expression:
        case Holds():
            yield from _holds_problems(expression)
        case Occurrences(name, _, matchers) | FoundAmong(name, _, matchers):
            yield from _predicate_problems(name, matchers)
        case Count(unit) | EachPart(_, unit) | PartOf(unit) if unit not in catalog.names("units"):
            yield f"there is no countable unit called `{unit}`"
        case PartOf(_, index) if index == 0:
            yield "parts are counted from 1, or from -1 backwards"
        case And(items) | Or(items) if not items:
            yield "a connective joins nothing"
        case Rank(alternatives) if len(alternatives) < 2:
            yield "an order has two alternatives or more"
        case NumberConstant(value) if not math.isfinite(value):
            yield "a number is not finite"
        case ConceptScore(concept):
            yield from _concept_problems(concept)
        case EventAt(_, index) if index == 0:
            yield "events are counted from 1, or from -1 backwards"
        case EachEvent(_, selector) | EventCount(selector) | Neighbour(_, selector) | EventAt(selector):
            yield from _selector_problems(selector)
        case TextCall(name, arguments) | NumberCall(name, arguments) | BooleanCall(name, arguments):
            result = {TextCall: "text", NumberCall: "number", BooleanCall: "boolean"}[type(expression)]
            yield from _call_problems(name, arguments, result)
        case Continued():
            yield "a program does not know the conversation yet"


def _holds_problems(holds: Holds) -> Iterator[str]:
    if holds.argument is None:
        yield from _predicate_problems(holds.predicate, holds.matchers)
    elif holds.matchers:
        yield "what is looked for is either spelled out or comes with the conversation"
    elif holds.predicate not in catalog.names("predicates"):
        yield f"there is no predicate called `{holds.predicate}`"
    elif not catalog.predicate(holds.predicate).takes_matchers:
        yield f"`{holds.predicate}` looks for nothing"
    if holds.in_order and (holds.quantity != "all" or holds.argument is not None):
        yield "only all of a list can come in order"


def _predicate_problems(name: str, matchers: Sequence[Matcher]) -> Iterator[str]:
    if name not in catalog.names("predicates"):
        yield f"there is no predicate called `{name}`"
        return
    predicate = catalog.predicate(name)
    if predicate.takes_matchers != bool(matchers):
        yield f"`{name}` has {'something' if matchers else 'nothing'} to look for"
    for matcher in matchers:
        if isinstance(matcher, Regex):
            try:
                parse_pattern(matcher.source, matcher.flags)
            except PatternError as error:
                yield f"pattern /{matcher.source}/: {error.message}"
                continue
        elif matcher.text == "" and name != "match":
            yield "an empty text is found everywhere"
            continue
        reason = predicate.refuse(matcher)
        if reason is not None:
            yield reason


def _concept_problems(concept: Concept) -> Iterator[str]:
    if not concept.name:
        yield "a concept has no name"
    if not 0 <= concept.threshold <= 1:
        yield f"the threshold of `{concept.name}` does not lie between 0 and 1"
    if {text.strip() for text in concept.like} & {text.strip() for text in concept.unlike}:
        yield f"a text is both an example and a counterexample of `{concept.name}`"
    for cue in concept.cues:
        if not cue.lexicon or not cue.matchers:
            yield f"a cue of `{concept.name}` is empty"
        yield from _predicate_problems("mention", cue.matchers)


def _selector_problems(selector: EventSelector) -> Iterator[str]:
    if selector.kind == "message" and selector.tools:
        yield "a message belongs to no tool"
    if selector.kind != "message" and selector.role is not None:
        yield "only messages have a role"
    if selector.role is not None and selector.role not in SPEAKERS:
        yield f"nobody called `{selector.role}` speaks in a conversation"
    if not all(selector.tools):
        yield "a tool has no name"


def _call_problems(name: str, arguments: tuple[TextExpression | NumberExpression, ...], result: str) -> Iterator[str]:
    if name not in catalog.names("functions"):
        yield f"there is no function called `{name}`"
        return
    function = catalog.function(name)
    if function.result != result:
        yield f"`{name}` gives no {result}"
    if len(function.parameters) != len(arguments):
        yield f"`{name}` takes {len(function.parameters)} arguments, not {len(arguments)}"
        return
    for parameter, argument in zip(function.parameters, arguments, strict=True):
        if isinstance(argument, TextExpression) is not (parameter.kind == "text"):
            yield f"`{parameter.name}` of `{name}` is a {parameter.kind}"


def scope_problems(expression: Expression, it: bool = False, event: bool = False) -> Iterator[str]:
    """Where `it` is used without a quantifier around it, or an event without one that goes through events."""
    match expression:
        case MessageText("it") if not it:
            yield "`it` stands for nothing here"
        case Fact(path) | NumberFact(path) | BooleanFact(path) if path.startswith("it.") and not event:
            yield f"`{path}` stands for nothing here"
        case Neighbour() if not event:
            yield "only events stand before or after one another"
    match expression:
        case EachPart(_, _, subject, item):
            yield from scope_problems(subject, it, event)
            yield from scope_problems(item, True, event)
        case EachEvent() | EventCount() | Neighbour():
            for child in children(expression):
                yield from scope_problems(child, True, True)
        case _:
            for child in children(expression):
                yield from scope_problems(child, it, event)
