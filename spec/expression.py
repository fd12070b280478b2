"""Typed expressions: what a rule says once every name in it has been resolved.

The resolver builds them, the compiler lowers and serialises them, the evaluator and the automata read them. They are
plain frozen values without behaviour. `op` tells the kinds apart in JSON. Extents (`start`, `end`) point into the
policy file in characters, so that a message can always show the words that the author wrote; they never change what
an expression means.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias


class Node:
    """A value that pydantic reads back from JSON strictly: no unknown fields, no coercion."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True)
class Extent(Node):
    """A half-open range of characters, in a policy file or in a message."""

    start: int
    end: int


# ------------------------------------------------------------------ matchers: what `contain`, `mention`, ... look for
@dataclass(frozen=True)
class Phrase(Node):
    """A literal text."""

    text: str
    op: Literal["phrase"] = "phrase"


@dataclass(frozen=True)
class Regex(Node):
    """A regular expression of the regular subset, with flags out of `ims`."""

    source: str
    flags: str = ""
    op: Literal["regex"] = "regex"


Matcher: TypeAlias = Phrase | Regex


# ------------------------------------------------------------------------------------------------------------- texts
MessageRole: TypeAlias = Literal["response", "prompt", "system", "developer", "conversation"]


@dataclass(frozen=True)
class MessageText(Node):
    """The text of the response (the last assistant message), of the prompt (the last user message before it), ..."""

    role: MessageRole
    op: Literal["message"] = "message"


@dataclass(frozen=True)
class Fact(Node):
    """A named fact that comes with a transcript, such as `meta.topic`."""

    path: str
    op: Literal["fact"] = "fact"


@dataclass(frozen=True)
class TextConstant(Node):
    """A text that the policy spells out."""

    value: str
    op: Literal["text"] = "text"


@dataclass(frozen=True)
class Continued(Node):
    """The whole conversation while its response is still to come: `before`, then the response.

    Only specialisation makes these (compiler/specialise.py), from `MessageText("conversation")`.
    """

    before: str
    op: Literal["continued"] = "continued"


TextExpression: TypeAlias = MessageText | Fact | TextConstant | Continued


# ----------------------------------------------------------------------------------------------------------- numbers
@dataclass(frozen=True)
class NumberConstant(Node):
    """A number that the policy spells out."""

    value: float
    op: Literal["number"] = "number"


@dataclass(frozen=True)
class NumberFact(Node):
    """A fact that has to be a number, such as `meta.age`."""

    path: str
    op: Literal["number_fact"] = "number_fact"


@dataclass(frozen=True)
class Count(Node):
    """How many units (words, sentences, ...) a text has. `unit` is a file name in `spec/units`."""

    unit: str
    subject: TextExpression
    op: Literal["count"] = "count"


@dataclass(frozen=True)
class Occurrences(Node):
    """How often any of the matchers occurs, without overlap, summed over the matchers."""

    predicate: Literal["contain", "mention"]
    subject: TextExpression
    matchers: tuple[Matcher, ...]
    op: Literal["occurrences"] = "occurrences"


@dataclass(frozen=True)
class Arithmetic(Node):
    """`distance` is |left - right|; a division by zero has no value and leaves the term unscored."""

    operator: Literal["+", "-", "*", "/", "distance"]
    left: NumberExpression
    right: NumberExpression
    op: Literal["arithmetic"] = "arithmetic"


NumberExpression: TypeAlias = NumberConstant | NumberFact | Count | Occurrences | Arithmetic


# ---------------------------------------------------------------------------------------------------------- booleans
@dataclass(frozen=True)
class BooleanConstant(Node):
    """`true` or `false`."""

    value: bool
    op: Literal["boolean"] = "boolean"


@dataclass(frozen=True)
class BooleanFact(Node):
    """A fact that has to be true or false, such as `meta.vip`."""

    path: str
    op: Literal["boolean_fact"] = "boolean_fact"


@dataclass(frozen=True)
class Holds(Node):
    """A predicate of the catalog holds for a text. `predicate` is a file name in `spec/predicates`.

    With several matchers, `quantity` says whether any or all of them have to be found.
    """

    predicate: str
    subject: TextExpression
    matchers: tuple[Matcher, ...] = ()
    quantity: Literal["any", "all"] = "any"
    extent: Extent | None = None
    op: Literal["holds"] = "holds"


@dataclass(frozen=True)
class Compare(Node):
    """A comparison of two quantities."""

    operator: Literal["<", "<=", "==", "!=", ">=", ">"]
    left: NumberExpression
    right: NumberExpression
    extent: Extent | None = None
    op: Literal["compare"] = "compare"


@dataclass(frozen=True)
class And(Node):
    """All of them hold."""

    items: tuple[BooleanExpression, ...]
    op: Literal["and"] = "and"


@dataclass(frozen=True)
class Or(Node):
    """At least one of them holds."""

    items: tuple[BooleanExpression, ...]
    op: Literal["or"] = "or"


@dataclass(frozen=True)
class Not(Node):
    """It does not hold."""

    item: BooleanExpression
    op: Literal["not"] = "not"


BooleanExpression: TypeAlias = BooleanConstant | BooleanFact | Holds | Compare | And | Or | Not
Expression: TypeAlias = BooleanExpression | NumberExpression | TextExpression


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside `expression`."""
    match expression:
        case And(items) | Or(items):
            return items
        case Not(item):
            return (item,)
        case Compare(_, left, right) | Arithmetic(_, left, right):
            return (left, right)
        case Count(_, subject) | Occurrences(_, subject) | Holds(_, subject):
            return (subject,)
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything inside it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def reads_response(expression: Expression) -> bool:
    """Whether the value can depend on what the model answers."""
    return any(
        isinstance(part, Continued) or (isinstance(part, MessageText) and part.role in ("response", "conversation"))
        for part in walk(expression)
    )


def reads_context(expression: Expression) -> bool:
    """Whether the value can depend on what was there before the answer: other messages, or facts."""
    return any(
        isinstance(part, (Fact, NumberFact, BooleanFact, Continued))
        or (isinstance(part, MessageText) and part.role != "response")
        for part in walk(expression)
    )


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
    if isinstance(value, Compare) and isinstance(value.left, (Count, Occurrences)):
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
        case _:
            return Not(expression)


Operator: TypeAlias = Literal["<", "<=", "==", "!=", ">=", ">"]

OPPOSITE: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">=", "<=": ">", "==": "!=", "!=": "==", ">=": "<", ">": "<="}
)
"""What holds where the comparison does not."""

MIRRORED: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">=": "<=", ">": "<"}
)
"""The same comparison with its sides exchanged."""
