"""The verb phrases of the syntax tree: what a subject does, has or is. Import them from `spec.ast`."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from bylaw.spec.ast_node import Node
from bylaw.spec.ast_terms import Bound, Expression, Name, NounPhrase
from bylaw.spec.source import Span


class Choice(StrEnum):
    """How many members of a set are meant by `any of`, `all of`, `none of`."""

    ANY = "any"
    ALL = "all"
    NONE = "none"


class Times(Node):
    """How often one thing is found: `at least 3 times`."""

    bound: Bound
    span: Span


class Among(Node):
    """Which members of a set are found: `any of`, `all of`, `none of`; `in_order` for `all of ... in order`."""

    choice: Choice
    in_order: bool
    span: Span


class CountAmong(Node):
    """How many members of a set are found: `at least 2 of`."""

    bound: Bound
    span: Span


Amount: TypeAlias = Times | Among | CountAmong


class Contains(Node):
    """`contain x`: found anywhere, case counts. `amount` is None for plain `contain x`."""

    what: Expression
    amount: Amount | None
    span: Span


class Mentions(Node):
    """`mention x`: found as whole words, in any case."""

    what: Expression
    amount: Amount | None
    span: Span


class Matches(Node):
    """`match /x/`: the whole text matches."""

    pattern: Expression
    span: Span


class StartsWith(Node):
    """`start with x`."""

    what: Expression
    span: Span


class EndsWith(Node):
    """`end with x`."""

    what: Expression
    span: Span


class HasCount(Node):
    """`have at most 50 words`."""

    bound: Bound
    unit: Name
    span: Span


class HasNone(Node):
    """`have no commas`."""

    unit: Name
    span: Span


class HasSome(Node):
    """`have a table`."""

    unit: Name
    span: Span


class IsProperty(Node):
    """`be lowercase`, `be json matching request.schema`; `negated` for `be not`, as in the four below."""

    property: Name
    matching: Expression | None
    negated: bool
    span: Span


class IsAbout(Node):
    """`be about billing`."""

    topic: Name
    negated: bool
    span: Span


class IsInLanguage(Node):
    """`be in language "kn"`."""

    language: Expression
    negated: bool
    span: Span


class IsIn(Node):
    """`be in ["yes", "no"]`."""

    collection: Expression
    negated: bool
    span: Span


class IsBounded(Node):
    """`be at most 1`."""

    bound: Bound
    negated: bool
    span: Span


class Expresses(Node):
    """`express blames_user`, optionally `with score at least 0.8` in place of the concept's threshold."""

    concept: Name
    score: Bound | None
    span: Span


class QuoteLimit(Node):
    """`more than 8 words`, after `quote x`."""

    bound: Bound
    unit: Name
    span: Span


class Quotes(Node):
    """`quote developer_prompt more than 8 words`."""

    what: Expression
    limit: QuoteLimit | None
    span: Span


class Follows(Node):
    """`follow call to get_inbox`: the event comes after such an event."""

    event: NounPhrase
    span: Span


class Precedes(Node):
    """`precede message from user`: the event comes before such an event."""

    event: NounPhrase
    span: Span


class Occurs(Node):
    """`occur`, `occur at most 1 times per conversation`."""

    times: Bound | None
    per: Name | None
    span: Span


class VerbOr(Node):
    """`contain "a" or quote prompt`: two operands or more."""

    operands: tuple[VerbPhrase, ...]
    span: Span


class VerbAnd(Node):
    """`be json and have no commas`: two operands or more."""

    operands: tuple[VerbPhrase, ...]
    span: Span


class VerbNot(Node):
    """`not contain "a"` inside a verb phrase."""

    operand: VerbPhrase
    span: Span


Verb: TypeAlias = (
    Contains
    | Mentions
    | Matches
    | StartsWith
    | EndsWith
    | HasCount
    | HasNone
    | HasSome
    | IsProperty
    | IsAbout
    | IsInLanguage
    | IsIn
    | IsBounded
    | Expresses
    | Quotes
    | Follows
    | Precedes
    | Occurs
)
VerbPhrase: TypeAlias = VerbOr | VerbAnd | VerbNot | Verb
