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
    """A literal text. With `lookalikes`, its letters also match letters and digits that are mistaken for them."""

    text: str
    lookalikes: bool = False
    op: Literal["phrase"] = "phrase"


@dataclass(frozen=True)
class Regex(Node):
    """A regular expression of the regular subset, with flags out of `ims`."""

    source: str
    flags: str = ""
    op: Literal["regex"] = "regex"


Matcher: TypeAlias = Phrase | Regex


# ------------------------------------------------------------------------------------------------------------- texts
MessageRole: TypeAlias = Literal["response", "prompt", "system", "developer", "conversation", "it"]


@dataclass(frozen=True)
class MessageText(Node):
    """The text of the response (the last assistant message), of the prompt (the last user message before it), ...

    `it` is the text of the part or the event that the quantifier around it goes through.
    """

    role: MessageRole
    op: Literal["message"] = "message"


@dataclass(frozen=True)
class Fact(Node):
    """A named fact that comes with a transcript, such as `meta.topic`; `it.to` is an argument of the tool call that the
    quantifier around it goes through."""

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


@dataclass(frozen=True)
class PartOf(Node):
    """One part of a text: `unit` is a file name in `spec/units`, `index` counts from 1, below zero from the end.

    A part that is not there is the empty text.
    """

    unit: str
    index: int
    subject: TextExpression
    op: Literal["part"] = "part"


@dataclass(frozen=True)
class TextCall(Node):
    """A function of the catalog whose value is a text. `function` is a file name in `spec/functions`."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    op: Literal["text_call"] = "text_call"


TextExpression: TypeAlias = MessageText | Fact | TextConstant | Continued | PartOf | TextCall


# --------------------------------------------------------------------------------------------- concepts and events
@dataclass(frozen=True)
class Concept(Node):
    """What a text can express, or be about (`is_topic`), as its author defined it.

    `like` and `unlike` are texts that do and do not; a score at or above `threshold` means that a text does.
    `scorer` says what gives the score (None: whatever the run uses), with an argument for it.
    """

    name: str
    meaning: str
    is_topic: bool = False
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    scorer: str | None = None
    scorer_argument: str | None = None
    threshold: float = 0.5
    distinct_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventSelector(Node):
    """Events of a conversation: tool calls, outputs of tools, or messages.

    `tools` are their names (empty: any tool), `role` who speaks (messages only); `where` is said of each event, as
    `it` and, for the arguments of a call, as facts `it.NAME`.
    """

    kind: Literal["call", "output", "message"]
    tools: tuple[str, ...] = ()
    role: str | None = None
    where: BooleanExpression | None = None


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


@dataclass(frozen=True)
class FoundAmong(Node):
    """How many of the matchers are found at least once."""

    predicate: Literal["contain", "mention"]
    subject: TextExpression
    matchers: tuple[Matcher, ...]
    op: Literal["found_among"] = "found_among"


@dataclass(frozen=True)
class NumberCall(Node):
    """A function of the catalog whose value is a number."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    op: Literal["number_call"] = "number_call"


@dataclass(frozen=True)
class ConceptScore(Node):
    """How strongly a text expresses a concept, from 0 to 1."""

    concept: Concept
    subject: TextExpression
    op: Literal["score"] = "score"


@dataclass(frozen=True)
class EventCount(Node):
    """How many such events a conversation has."""

    selector: EventSelector
    op: Literal["event_count"] = "event_count"


@dataclass(frozen=True)
class Rank(Node):
    """`prefer A over B over C`: 0 when A holds, else -1 when B holds, else -2 when C does, else -3."""

    alternatives: tuple[BooleanExpression, ...]
    op: Literal["rank"] = "rank"


NumberExpression: TypeAlias = (
    NumberConstant
    | NumberFact
    | Count
    | Occurrences
    | Arithmetic
    | FoundAmong
    | NumberCall
    | ConceptScore
    | EventCount
    | Rank
)


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

    With several matchers, `quantity` says whether any or all of them have to be found; `in_order` that each is found
    after the one before it. `argument` takes the place of the matchers where what is looked for comes with the
    conversation.
    """

    predicate: str
    subject: TextExpression
    matchers: tuple[Matcher, ...] = ()
    quantity: Literal["any", "all"] = "any"
    extent: Extent | None = None
    argument: TextExpression | None = None
    in_order: bool = False
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


@dataclass(frozen=True)
class BooleanCall(Node):
    """A function of the catalog that is true or false."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    extent: Extent | None = None
    op: Literal["boolean_call"] = "boolean_call"


@dataclass(frozen=True)
class EachPart(Node):
    """`item` holds for every part, or for some part, of a text; inside it, the part is `it`."""

    quantity: Literal["every", "some"]
    unit: str
    subject: TextExpression
    item: BooleanExpression
    extent: Extent | None = None
    op: Literal["each_part"] = "each_part"


@dataclass(frozen=True)
class EachEvent(Node):
    """`item` holds for every such event, or for some of them; inside it, the event is `it`."""

    quantity: Literal["every", "some"]
    selector: EventSelector
    item: BooleanExpression
    extent: Extent | None = None
    op: Literal["each_event"] = "each_event"


@dataclass(frozen=True)
class Neighbour(Node):
    """Some such event stands before (or after) the event that the quantifier around this goes through."""

    side: Literal["before", "after"]
    selector: EventSelector
    op: Literal["neighbour"] = "neighbour"


BooleanExpression: TypeAlias = (
    BooleanConstant | BooleanFact | Holds | Compare | And | Or | Not | BooleanCall | EachPart | EachEvent | Neighbour
)
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
        case Neighbour(_, selector) | EventCount(selector):
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


def selectors(expression: Expression) -> tuple[EventSelector, ...]:
    """The events that an expression itself goes through or counts, apart from what is inside it."""
    match expression:
        case EachEvent(_, selector) | Neighbour(_, selector) | EventCount(selector):
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

Operator: TypeAlias = Literal["<", "<=", "==", "!=", ">=", ">"]

OPPOSITE: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">=", "<=": ">", "==": "!=", "!=": "==", ">=": "<", ">": "<="}
)
"""What holds where the comparison does not."""

MIRRORED: Mapping[Operator, Operator] = MappingProxyType(
    {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">=": "<=", ">": "<"}
)
"""The same comparison with its sides exchanged."""
