"""What a statement about a conversation reads, and the same statement said of something else.

Monitors (compiler/monitors/conversation.py) take statements apart into questions about one event each. Such a question
is asked of a text wherever it can be: then automata tell which answers to several questions can come together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from bylaw.compiler.situation import IT
from bylaw.compiler.values import Unknown, fact_as_number, fact_as_truth
from bylaw.spec.expression import (
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    Continued,
    EachEvent,
    EachPart,
    EventAt,
    EventCount,
    Expression,
    Extent,
    Fact,
    Holds,
    MessageText,
    Neighbour,
    Node,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Phrase,
    TextCall,
    TextConstant,
    TextExpression,
)
from bylaw.spec.logic import children, walk
from bylaw.spec.trace import FactValue, written

EVENTS = "events"
"""What a statement reads that goes through events, or counts them, inside something else."""
RESPONSE = MessageText("response")

_NodeType = TypeVar("_NodeType", bound=Node)
Source = str | EventAt


def bare(expression: _NodeType) -> _NodeType:
    """The same without extents, so that what says the same is equal, wherever it is written."""
    return rewritten(expression, lambda _: None)


def rewritten(node: _NodeType, change: Callable[[Node], Node | None]) -> _NodeType:
    """The same without extents, with every node exchanged for which `change` gives another one."""
    result: _NodeType = _rewritten(node, change)
    return result


def _rewritten(value: Any, change: Callable[[Node], Node | None]) -> Any:
    if isinstance(value, tuple):
        return tuple(_rewritten(item, change) for item in value)
    if isinstance(value, Extent):
        return None
    if not isinstance(value, Node):
        return value
    changed = change(value)
    if changed is not None:
        return changed
    fields: Mapping[str, Any] = value.__dataclass_fields__  # type: ignore[attr-defined]
    return replace(value, **{name: _rewritten(getattr(value, name), change) for name in fields})  # type: ignore[type-var]


# ------------------------------------------------------------------------------------------------------ what is read
def sources(expression: Expression, in_part: bool = False) -> frozenset[Source]:
    """What the value depends on: roles of messages, paths of facts, places of events, and EVENTS.

    `it` is the event; inside a statement about parts of a text it is the part, which is read with that text.
    """
    match expression:
        case MessageText(role):
            return frozenset() if role == "it" and in_part else frozenset((role,))
        case Continued():
            return frozenset((EVENTS,))
        case Fact(path) | NumberFact(path) | BooleanFact(path):
            return frozenset((path,))
        case EventAt():
            return frozenset((expression,))
        case EachEvent() | EventCount() | Neighbour():
            return frozenset((EVENTS,))
        case EachPart(_, _, subject, item):
            return sources(subject, in_part) | sources(item, True)
    found: frozenset[Source] = frozenset()
    for child in children(expression):
        found |= sources(child, in_part)
    return found


def is_of_event(source: Source) -> bool:
    """Whether it is the event, or an argument or the tool of it."""
    return isinstance(source, str) and (source == "it" or source.startswith(IT))


def facts_read(statements: tuple[BooleanExpression, ...]) -> tuple[str, ...]:
    """The facts of the conversation (no arguments of calls) that statements read, in the order of their names."""
    paths = {
        part.path
        for statement in statements
        for part in walk(statement)
        if isinstance(part, (Fact, NumberFact, BooleanFact)) and not part.path.startswith(IT)
    }
    return tuple(sorted(paths))


def leaves(expression: BooleanExpression) -> Iterator[BooleanExpression]:
    """The statements inside that are put together by `and`, `or`, `not`, events and neighbours."""
    match expression:
        case Holds() | BooleanFact() | BooleanCall() | EachPart():
            yield expression
        case Compare(_, left, right):
            yield expression
            for part in (*walk(left), *walk(right)):
                if isinstance(part, EventCount) and part.selector.where is not None:
                    yield from leaves(part.selector.where)
        case _:
            for child in children(expression):
                if isinstance(child, BooleanExpression):
                    yield from leaves(child)


def why_open(expression: Expression) -> str:
    """Why no automaton tells when this holds, in words for the author."""
    parts = tuple(walk(expression))
    if any(isinstance(part, ConceptScore) for part in parts):
        return "concepts are scored, so no proof about conversations speaks of them"
    if any(isinstance(part, (NumberCall, TextCall, BooleanCall)) for part in parts):
        return "functions are computed on the finished text, so no proof speaks of them"
    if len(sources(expression)) > 1 or any(isinstance(part, Holds) and part.argument is not None for part in parts):
        return "one part of the conversation is compared with another, which no automaton describes"
    if any(isinstance(part, (NumberFact, Arithmetic)) for part in parts):
        return "numbers are computed before they are compared, so no proof speaks of them"
    return "no automaton of a reasonable size describes this"


# ------------------------------------------------------------------------------------- the same said of something else
def said_of_response(expression: BooleanExpression, source: TextExpression) -> BooleanExpression:
    """The same statement, said of the response wherever it reads `source`."""

    def change(node: Node) -> Node | None:
        if node == source:
            return RESPONSE
        if isinstance(node, EachPart) and source == MessageText("it"):
            return replace(node, subject=rewritten(node.subject, change))  # inside it, `it` is the part
        return None

    return rewritten(expression, change)


def with_facts(expression: BooleanExpression, facts: Mapping[str, FactValue]) -> BooleanExpression:
    """The same statement where these facts are given. What no such value can be put into stays as it is."""

    def change(node: Node) -> Node | None:
        match node:
            case Fact(path) if path in facts:
                return TextConstant(written(facts[path]))
            case NumberFact(path) if path in facts:
                number = fact_as_number(facts[path], path)
                return None if isinstance(number, Unknown) else NumberConstant(number)
            case BooleanFact(path) if path in facts:
                holds = fact_as_truth(facts[path], path)
                return None if isinstance(holds, Unknown) else BooleanConstant(holds)
            case Holds(_, subject, argument=Fact(path)) if path in facts and (wanted := written(facts[path])):
                about = rewritten(subject, change)
                return replace(node, subject=about, matchers=(Phrase(wanted),), argument=None, extent=None)
        return None

    return rewritten(expression, change)


# ----------------------------------------------------------------------------------------------------------- numbers
def breakpoint(compare: BooleanExpression, path: str) -> float | None:
    """The number at which a comparison of `a * x + b` with `c * x + d` changes, where x is the fact `path`.

    None where it never does, or where it is no such comparison (see `is_linear`).
    """
    line = _difference(compare, path)
    return None if line is None or line[0] == 0 else -line[1] / line[0]


def is_linear(compare: BooleanExpression, path: str) -> bool:
    """Whether both sides of a comparison are linear in one number, so that it changes at one point only."""
    return _difference(compare, path) is not None


def _difference(compare: BooleanExpression, path: str) -> tuple[float, float] | None:
    if not isinstance(compare, Compare):
        return None
    left, right = _linear(compare.left, path), _linear(compare.right, path)
    return None if left is None or right is None else (left[0] - right[0], left[1] - right[1])


def _linear(expression: NumberExpression, path: str) -> tuple[float, float] | None:
    """(a, b) for a * x + b."""
    match expression:
        case NumberConstant(value):
            return 0.0, value
        case NumberFact(own) if own == path:
            return 1.0, 0.0
        case Arithmetic(operator, left, right):
            one, other = _linear(left, path), _linear(right, path)
            if one is None or other is None:
                return None
            match operator:
                case "+":
                    return one[0] + other[0], one[1] + other[1]
                case "-":
                    return one[0] - other[0], one[1] - other[1]
                case "*" if one[0] == 0 or other[0] == 0:
                    return one[0] * other[1] + other[0] * one[1], one[1] * other[1]
                case "/" if other[0] == 0 and other[1] != 0:
                    return one[0] / other[1], one[1] / other[1]
    return None
