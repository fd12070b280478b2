"""Typed expressions: what a rule says once every name in it has been resolved.

The resolver builds them, the compiler lowers and serialises them, the evaluator and the automata read them. They are
plain frozen values without behaviour. `op` tells the kinds apart in JSON. Extents (`start`, `end`) point into the
policy file in characters, so that a message can always show the words that the author wrote; they never change what
an expression means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias


class Node:
    """A frozen value, which pydantic reads back from JSON strictly: no unknown fields, no coercion.

    What all kinds share stands here once, because writing it for each of them anew is most of what importing costs.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, eq=False, repr=False)
class Extent(Node):
    """A half-open range of characters, in a policy file or in a message."""

    start: int
    end: int


# ------------------------------------------------------------------ matchers: what `contain`, `mention`, ... look for
@dataclass(frozen=True, eq=False, repr=False)
class Phrase(Node):
    """A literal text. With `lookalikes`, its letters also match letters and digits that are mistaken for them."""

    text: str
    lookalikes: bool = False
    op: Literal["phrase"] = "phrase"


@dataclass(frozen=True, eq=False, repr=False)
class Regex(Node):
    """A regular expression of the regular subset, with flags out of `ims`."""

    source: str
    flags: str = ""
    op: Literal["regex"] = "regex"


Matcher: TypeAlias = Phrase | Regex


# ------------------------------------------------------------------------------------------------------------- texts
MessageRole: TypeAlias = Literal["response", "prompt", "system", "developer", "conversation", "it"]


@dataclass(frozen=True, eq=False, repr=False)
class MessageText(Node):
    """The text of the response (the last assistant message), of the prompt (the last user message before it), ...

    `it` is the text of the part or the event that the quantifier around it goes through.
    """

    role: MessageRole
    op: Literal["message"] = "message"


@dataclass(frozen=True, eq=False, repr=False)
class Fact(Node):
    """A named fact that comes with a transcript, such as `meta.topic`; `it.to` is an argument of the tool call that the
    quantifier around it goes through."""

    path: str
    op: Literal["fact"] = "fact"


@dataclass(frozen=True, eq=False, repr=False)
class TextConstant(Node):
    """A text that the policy spells out."""

    value: str
    op: Literal["text"] = "text"


@dataclass(frozen=True, eq=False, repr=False)
class Continued(Node):
    """The whole conversation while its response is still to come: `before`, then the response.

    Only specialisation makes these (compiler/specialise.py), from `MessageText("conversation")`.
    """

    before: str
    op: Literal["continued"] = "continued"


@dataclass(frozen=True, eq=False, repr=False)
class PartOf(Node):
    """One part of a text: `unit` is a file name in `spec/units`, `index` counts from 1, below zero from the end.

    A part that is not there is the empty text.
    """

    unit: str
    index: int
    subject: TextExpression
    op: Literal["part"] = "part"


@dataclass(frozen=True, eq=False, repr=False)
class TextCall(Node):
    """A function of the catalog whose value is a text. `function` is a file name in `spec/functions`."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    op: Literal["text_call"] = "text_call"


@dataclass(frozen=True, eq=False, repr=False)
class EventAt(Node):
    """The text of one event of the conversation: `index` counts from 1, below zero from the end.

    An event that is not there is the empty text.
    """

    selector: EventSelector
    index: int
    op: Literal["event_at"] = "event_at"


TextExpression: TypeAlias = MessageText | Fact | TextConstant | Continued | PartOf | TextCall | EventAt


# --------------------------------------------------------------------------------------------- concepts and events
@dataclass(frozen=True, eq=False, repr=False)
class Cue(Node):
    """A lexicon that a concept is cued by, under its name there, with what it holds: it hints, and settles nothing."""

    lexicon: str
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Concept(Node):
    """What a text can express, or be about (`is_topic`), as its author defined it.

    `like` and `unlike` are texts that do and do not; a score at or above `threshold` means that a text does.
    `scorer` says what gives the score (None: whatever the run uses), with its argument; where `cues` occur, they hint.
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
    cues: tuple[Cue, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
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
@dataclass(frozen=True, eq=False, repr=False)
class NumberConstant(Node):
    """A number that the policy spells out."""

    value: float
    op: Literal["number"] = "number"


@dataclass(frozen=True, eq=False, repr=False)
class NumberFact(Node):
    """A fact that has to be a number, such as `meta.age`."""

    path: str
    op: Literal["number_fact"] = "number_fact"


@dataclass(frozen=True, eq=False, repr=False)
class Count(Node):
    """How many units (words, sentences, ...) a text has. `unit` is a file name in `spec/units`."""

    unit: str
    subject: TextExpression
    op: Literal["count"] = "count"


@dataclass(frozen=True, eq=False, repr=False)
class Occurrences(Node):
    """How often any of the matchers occurs, without overlap, summed over the matchers."""

    predicate: Literal["contain", "mention"]
    subject: TextExpression
    matchers: tuple[Matcher, ...]
    op: Literal["occurrences"] = "occurrences"


@dataclass(frozen=True, eq=False, repr=False)
class Arithmetic(Node):
    """`distance` is |left - right|; a division by zero has no value and leaves the term unscored."""

    operator: Literal["+", "-", "*", "/", "distance"]
    left: NumberExpression
    right: NumberExpression
    op: Literal["arithmetic"] = "arithmetic"


@dataclass(frozen=True, eq=False, repr=False)
class FoundAmong(Node):
    """How many of the matchers are found at least once."""

    predicate: Literal["contain", "mention"]
    subject: TextExpression
    matchers: tuple[Matcher, ...]
    op: Literal["found_among"] = "found_among"


@dataclass(frozen=True, eq=False, repr=False)
class NumberCall(Node):
    """A function of the catalog whose value is a number."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    op: Literal["number_call"] = "number_call"


@dataclass(frozen=True, eq=False, repr=False)
class ConceptScore(Node):
    """How strongly a text expresses a concept, from 0 to 1."""

    concept: Concept
    subject: TextExpression
    op: Literal["score"] = "score"


@dataclass(frozen=True, eq=False, repr=False)
class EventCount(Node):
    """How many such events a conversation has."""

    selector: EventSelector
    op: Literal["event_count"] = "event_count"


@dataclass(frozen=True, eq=False, repr=False)
class Rank(Node):
    """`prefer A over B over C`: 0 when A holds, else -1 when B holds, else -2 when C does, else -3."""

    alternatives: tuple[BooleanExpression, ...]
    op: Literal["rank"] = "rank"


NumberExpression: TypeAlias = (
    NumberConstant | NumberFact | Count | Occurrences | Arithmetic | FoundAmong | NumberCall | ConceptScore | EventCount
    | Rank
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- booleans
@dataclass(frozen=True, eq=False, repr=False)
class BooleanConstant(Node):
    """`true` or `false`."""

    value: bool
    op: Literal["boolean"] = "boolean"


@dataclass(frozen=True, eq=False, repr=False)
class BooleanFact(Node):
    """A fact that has to be true or false, such as `meta.vip`."""

    path: str
    op: Literal["boolean_fact"] = "boolean_fact"


@dataclass(frozen=True, eq=False, repr=False)
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


@dataclass(frozen=True, eq=False, repr=False)
class Compare(Node):
    """A comparison of two quantities."""

    operator: Literal["<", "<=", "==", "!=", ">=", ">"]
    left: NumberExpression
    right: NumberExpression
    extent: Extent | None = None
    op: Literal["compare"] = "compare"


@dataclass(frozen=True, eq=False, repr=False)
class And(Node):
    """All of them hold."""

    items: tuple[BooleanExpression, ...]
    op: Literal["and"] = "and"


@dataclass(frozen=True, eq=False, repr=False)
class Or(Node):
    """At least one of them holds."""

    items: tuple[BooleanExpression, ...]
    op: Literal["or"] = "or"


@dataclass(frozen=True, eq=False, repr=False)
class Not(Node):
    """It does not hold."""

    item: BooleanExpression
    op: Literal["not"] = "not"


@dataclass(frozen=True, eq=False, repr=False)
class BooleanCall(Node):
    """A function of the catalog that is true or false."""

    function: str
    arguments: tuple[TextExpression | NumberExpression, ...]
    extent: Extent | None = None
    op: Literal["boolean_call"] = "boolean_call"


@dataclass(frozen=True, eq=False, repr=False)
class EachPart(Node):
    """`item` holds for every part, or for some part, of a text; inside it, the part is `it`."""

    quantity: Literal["every", "some"]
    unit: str
    subject: TextExpression
    item: BooleanExpression
    extent: Extent | None = None
    op: Literal["each_part"] = "each_part"


@dataclass(frozen=True, eq=False, repr=False)
class EachEvent(Node):
    """`item` holds for every such event, or for some of them; inside it, the event is `it`."""

    quantity: Literal["every", "some"]
    selector: EventSelector
    item: BooleanExpression
    extent: Extent | None = None
    op: Literal["each_event"] = "each_event"


@dataclass(frozen=True, eq=False, repr=False)
class Neighbour(Node):
    """Some such event stands before (or after) the event that the quantifier around this goes through."""

    side: Literal["before", "after"]
    selector: EventSelector
    op: Literal["neighbour"] = "neighbour"


BooleanExpression: TypeAlias = (
    BooleanConstant | BooleanFact | Holds | Compare | And | Or | Not | BooleanCall | EachPart | EachEvent | Neighbour
)
Expression: TypeAlias = BooleanExpression | NumberExpression | TextExpression
Operator: TypeAlias = Literal["<", "<=", "==", "!=", ">=", ">"]
