"""The terms of the syntax tree: names, literals, noun phrases, expressions and bounds. Import them from `spec.ast`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from bylaw.spec.ast_node import Node
from bylaw.spec.source import Span

if TYPE_CHECKING:  # a claim holds a verb and a verb holds terms
    from bylaw.spec.ast_verbs import Verb

# ------------------------------------------------------------------------------------------------ names and literals


class Name(Node):
    """A name where something is declared or referred to; may be dotted (`spec.no_lies`)."""

    text: str
    span: Span


class Number(Node):
    """A number as written: `2%` is value 2 with `percent`; a leading `-` is part of the value."""

    value: int | float
    percent: bool
    span: Span

    @property
    def amount(self) -> int | float:
        """The number meant: 0.02 for `2%`."""
        return self.value / 100 if self.percent else self.value


class Text(Node):
    """A text, escapes resolved; in prose slots (means, because, note, source) white space is folded."""

    value: str
    span: Span


class Pattern(Node):
    """A regular expression between slashes: `source` is what stands between them, `flags` a sorted subset of `ims`."""

    source: str
    flags: str
    span: Span


class Bool(Node):
    """`true` or `false`."""

    value: bool
    span: Span


class ListLiteral(Node):
    """`[a, b]`; an item that is a path refers to something declared."""

    items: tuple[Literal | Path, ...]
    span: Span


Literal: TypeAlias = Number | Text | Pattern | Bool | ListLiteral

# --------------------------------------------------------------------------- noun phrases: what a sentence can be about


class Path(Node):
    """A thing by name: `response`, a fact such as `meta.topic`, a parameter, a definition, `it.amount`."""

    text: str
    span: Span

    @property
    def parts(self) -> tuple[str, ...]:
        """The names between the dots."""
        return tuple(self.text.split("."))


class Argument(Node):
    """One argument of a call, with or without a name."""

    name: Name | None
    value: Expression
    span: Span


class Call(Node):
    """`hedging(response)`: a definition or a library function applied."""

    function: Name
    arguments: tuple[Argument, ...]
    span: Span


class Quantifier(StrEnum):
    """Which parts of a whole are meant."""

    EVERY = "every"
    SOME = "some"
    FIRST = "first"
    LAST = "last"


class Part(Node):
    """`every sentence of response`, `first paragraph of prompt`."""

    quantifier: Quantifier
    unit: Name
    whole: NounPhrase
    span: Span


class NthPart(Node):
    """`paragraph 2 of response`; counted from 1."""

    unit: Name
    index: Number
    whole: NounPhrase
    span: Span


class NumberOf(Node):
    """`number of words in response`; a name is a unit or a lexicon."""

    counted: Name | Pattern | Text | ListLiteral
    whole: NounPhrase
    span: Span


class ScoreOf(Node):
    """`score of pii in response`: how strongly a concept is expressed."""

    concept: Name
    whole: NounPhrase
    span: Span


class AnyTool(Node):
    """`any tool`."""

    span: Span


class CallTo(Node):
    """`call to refund where (it.amount > 50)`: a tool call of the trace."""

    tools: Tools
    where: Expression | None
    span: Span


class OutputOf(Node):
    """`output of get_website`: what a tool returned."""

    tools: Tools
    where: Expression | None
    span: Span


class MessageFrom(Node):
    """`message from user where (...)`."""

    role: Name
    where: Expression | None
    span: Span


# ------------------------------------------------------------------------------------------------------ expressions


class Or(Node):
    """`a or b or c`: two operands or more."""

    operands: tuple[Expression, ...]
    span: Span


class And(Node):
    """`a and b and c`: two operands or more."""

    operands: tuple[Expression, ...]
    span: Span


class Not(Node):
    """`not a`."""

    operand: Expression
    span: Span


class Compare(Node):
    """`a >= b`; the operator is one of `==`, `!=`, `<`, `<=`, `>`, `>=`."""

    left: Expression
    operator: str
    right: Expression
    span: Span


class Arithmetic(Node):
    """`a + b`; the operator is one of `+`, `-`, `*`, `/`. `a per b` is `/`."""

    left: Expression
    operator: str
    right: Expression
    span: Span


class Negate(Node):
    """`-a`, of anything but a number (which takes the sign itself)."""

    operand: Expression
    span: Span


class Claim(Node):
    """A verb said of a subject, true or false: `prompt is about billing`, `it does not contain "x"` (`negated`)."""

    subject: Expression
    verb: Verb
    negated: bool
    span: Span


# ------------------------------------------------------------------------------------------------------------ bounds


class AtLeast(Node):
    """`at least n`."""

    value: Expression
    span: Span


class AtMost(Node):
    """`at most n`."""

    value: Expression
    span: Span


class Exactly(Node):
    """`exactly n`."""

    value: Expression
    span: Span


class MoreThan(Node):
    """`more than n`."""

    value: Expression
    span: Span


class FewerThan(Node):
    """`fewer than n`, also written `less than n`."""

    value: Expression
    span: Span


class Between(Node):
    """`between a and b`, both included."""

    low: Expression
    high: Expression
    span: Span


Bound: TypeAlias = AtLeast | AtMost | Exactly | MoreThan | FewerThan | Between

Tools: TypeAlias = Name | ListLiteral | AnyTool
NounPhrase: TypeAlias = Path | Call | Part | NthPart | NumberOf | ScoreOf | CallTo | OutputOf | MessageFrom
Expression: TypeAlias = Or | And | Not | Compare | Claim | Arithmetic | Negate | NounPhrase | Literal
