"""Working with typed expressions: what is inside them, what they read, when two say the same, and their opposites."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
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
    MessageText,
    Neighbour,
    Node,
    Not,
    NumberCall,
    NumberConstant,
    NumberFact,
    Occurrences,
    Operator,
    Or,
    PartOf,
    Rank,
    TextCall,
)


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside `expression`."""
    match expression:
        case And(items) | Or(items):
            return items
        case Not(item):
            return (item,)
        case Compare(_, left, right) | Arithmetic(_, left, right):
            return (left, right)
        case Holds(_, subject):
            return (subject,) if expression.argument is None else (subject, expression.argument)
        case Count(_, subject) | Occurrences(_, subject) | FoundAmong(_, subject) | ConceptScore(_, subject):
            return (subject,)
        case PartOf(_, _, subject):
            return (subject,)
        case TextCall(_, arguments) | NumberCall(_, arguments) | BooleanCall(_, arguments):
            return arguments
        case Rank(alternatives):
            return alternatives
        case EachPart(_, _, subject, item):
            return (subject, item)
        case EachEvent(_, selector, item):
            return (item,) if selector.where is None else (item, selector.where)
        case Neighbour(_, selector) | EventCount(selector) | EventAt(selector):
            return () if selector.where is None else (selector.where,)
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything inside it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def reads_response(expression: Expression) -> bool:
    """Whether the value can depend on what the model answers or does."""
    return any(
        isinstance(part, Continued)
        or (isinstance(part, MessageText) and part.role in ("response", "conversation"))
        or any(_is_made_by_the_model(selector) for selector in selectors(part))
        for part in walk(expression)
    )


def reads_context(expression: Expression) -> bool:
    """Whether the value can depend on what was there before the answer: other messages, or facts."""
    return any(
        isinstance(part, Continued)
        or (isinstance(part, (Fact, NumberFact, BooleanFact)) and not part.path.startswith("it."))
        or (isinstance(part, MessageText) and part.role not in ("response", "it"))
        or bool(selectors(part))
        for part in walk(expression)
    )


def reads_events(expression: Expression) -> bool:
    """Whether the value can depend on events of the conversation: calls, outputs or messages."""
    return any(selectors(part) for part in walk(expression))


def selectors(expression: Expression) -> tuple[EventSelector, ...]:
    """The events that an expression itself goes through or counts, apart from what is inside it."""
    match expression:
        case EachEvent(_, selector) | Neighbour(_, selector) | EventCount(selector) | EventAt(selector):
            return (selector,)
    return ()


def _is_made_by_the_model(selector: EventSelector) -> bool:
    return selector.kind == "call" or (selector.kind == "message" and selector.role in (None, "assistant"))


def same(left: Expression | None, right: Expression | None) -> bool:
    """Whether two expressions say the same, wherever they are written."""
    return meaning(left) == meaning(right)


def meaning(expression: Expression | None) -> Hashable:
    """A key that is the same for expressions that say the same, wherever they are written."""
    key: Hashable = _bare(expression)
    return key


def _bare(value: Any) -> Any:
    """Nested tuples of all fields but the extents; `op`, a field too, keeps the kinds apart."""
    if isinstance(value, tuple):
        return tuple(_bare(item) for item in value)
    if not isinstance(value, Node):
        return value
    if isinstance(value, Compare) and isinstance(value.left, (Count, Occurrences, FoundAmong, EventCount)):
        value = _whole(value)
    names: Mapping[str, Any] = value.__dataclass_fields__
    return tuple(_bare(getattr(value, name)) for name in names if name != "extent")


def _whole(compare: Compare) -> Compare:
    """The same comparison of a count as `at least` or `at most`: fewer than 1 is at most 0."""
    step = {"<": -1.0, ">": 1.0}.get(compare.operator)
    if step is None or not isinstance(compare.right, NumberConstant) or compare.right.value != int(compare.right.value):
        return compare
    return Compare("<=" if step < 0 else ">=", compare.left, NumberConstant(compare.right.value + step))


def conjuncts(expression: BooleanExpression | None) -> tuple[BooleanExpression, ...]:
    """The parts that all have to hold; none for None (always)."""
    if isinstance(expression, And):
        return tuple(part for item in expression.items for part in conjuncts(item))
    return () if expression is None else (expression,)


def conjunction(items: tuple[BooleanExpression, ...]) -> BooleanExpression | None:
    """All of `items`; None when there are none."""
    return None if not items else items[0] if len(items) == 1 else And(items)


def negate(expression: BooleanExpression) -> BooleanExpression:
    """The opposite, with the negation pushed inwards so that equal meanings look equal more often."""
    match expression:
        case BooleanConstant(value):
            return BooleanConstant(not value)
        case Not(item):
            return item
        case And(items):
            return Or(tuple(negate(item) for item in items))
        case Or(items):
            return And(tuple(negate(item) for item in items))
        case Compare(operator, left, right, extent):
            return Compare(OPPOSITE[operator], left, right, extent)
        case EachPart(quantity, unit, subject, item, extent):
            return EachPart(_OTHER[quantity], unit, subject, negate(item), extent)
        case EachEvent(quantity, selector, item, extent):
            return EachEvent(_OTHER[quantity], selector, negate(item), extent)
        case _:
            return Not(expression)


_OTHER: Mapping[Literal["every", "some"], Literal["every", "some"]] = MappingProxyType(
    {"every": "some", "some": "every"}
)
"""Not every one is like this: some are not."""

OPPOSITE: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">=", "<=": ">", "==": "!=", "!=": "==", ">=": "<", ">": "<="}
)
"""What holds where the comparison does not."""

MIRRORED: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">=": "<=", ">": "<"}
)
"""The same comparison with its sides exchanged."""
