"""The clauses of a rule, its examples and the steps of tests, as syntax. Import them from `spec.ast`."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from bylaw.spec.ast_node import Node
from bylaw.spec.ast_terms import Argument, Bound, Expression, Literal, Name, NounPhrase, Number, Text
from bylaw.spec.ast_verbs import VerbPhrase
from bylaw.spec.source import Span

# ----------------------------------------------------------------------------------------------- clauses of a rule


class RuleWord(StrEnum):
    """The six rule words (RFC 2119 and *need not* of the ISO Directives)."""

    MUST = "must"
    MUST_NOT = "must not"
    SHOULD = "should"
    SHOULD_NOT = "should not"
    MAY = "may"
    NEED_NOT = "need not"


class Modality(Node):
    """A rule word where it stands."""

    word: RuleWord
    span: Span


class Weight(Node):
    """`weight 2`."""

    value: Number
    span: Span


class Norm(Node):
    """The normative sentence: `[subject] must contain "x" [weight 2]`; without a subject it is about the response."""

    subject: NounPhrase | None
    modality: Modality
    body: VerbPhrase
    weight: Weight | None
    span: Span


class Share(Node):
    """`in at least 95%`: in how many responses a limited quantity keeps to its bound."""

    bound: Bound
    span: Span


class AmongResponses(Node):
    """`of responses where CONDITION`, `over responses where CONDITION`: the responses that a limit is about."""

    condition: Expression
    span: Span


class EachPrompt(Node):
    """`for each prompt`: a limit holds for the responses to each prompt, and not only for all together."""

    span: Span


class Price(Node):
    """`price at most 2`: the most that a limit may cost, in nats for each unit of what it limits."""

    value: Number
    span: Span


class LimitRate(Node):
    """`limit CONDITION to at most 2% of responses over suite "s" with confidence 0.95`.

    With a share it is about a quantity: `limit VALUE to at most 40 in at least 95% of responses`.
    """

    condition: Expression
    bound: Bound
    share: Share | None
    population: Name | None
    among: AmongResponses | None
    suite: Text | Name | None
    confidence: Number | None
    each_prompt: EachPrompt | None
    price: Price | None
    span: Span


class LimitAverage(Node):
    """`limit average VALUE to at most 120 ...`, with the same parts."""

    value: Expression
    bound: Bound
    share: Share | None
    population: Name | None
    among: AmongResponses | None
    suite: Text | Name | None
    confidence: Number | None
    each_prompt: EachPrompt | None
    price: Price | None
    span: Span


class PreferHigher(Node):
    """`prefer higher VALUE [weight n]`."""

    value: Expression
    weight: Weight | None
    span: Span


class PreferLower(Node):
    """`prefer lower VALUE [weight n]`."""

    value: Expression
    weight: Weight | None
    span: Span


class PreferNear(Node):
    """`prefer VALUE near TARGET [weight n]`."""

    value: Expression
    target: Expression
    weight: Weight | None
    span: Span


class PreferOrder(Node):
    """`prefer A over B over C [weight n]`: two alternatives or more, best first."""

    alternatives: tuple[Expression, ...]
    weight: Weight | None
    span: Span


class When(Node):
    """`when CONDITION`: the rule applies only then."""

    condition: Expression
    span: Span


class Unless(Node):
    """`unless CONDITION`: the rule does not apply then."""

    condition: Expression
    span: Span


class Because(Node):
    """`because "..."`: the reason, as prose."""

    text: Text
    span: Span


class CitedSource(Node):
    """`source "https://..."`: where the rule is written down for people."""

    text: Text
    span: Span


class Overrides(Node):
    """`overrides a, b`: wins over these rules of its own level."""

    rules: tuple[Name, ...]
    span: Span


class WaivableBy(Node):
    """`waivable by user, developer`."""

    levels: tuple[Name, ...]
    span: Span


class WaivableImplicitly(Node):
    """`waivable implicitly`: context is enough."""

    span: Span


class NotWaivable(Node):
    """`not waivable`."""

    span: Span


class OnViolation(Node):
    """`on violation ask with "Proceed?"`."""

    action: Name
    message: Text | None
    span: Span


# ------------------------------------------------------------------------------------------------ examples and tests


class ExpectedVerdict(StrEnum):
    """What an example says of its rule."""

    COMPLIES = "complies"
    VIOLATES = "violates"
    SKIPS = "skips"
    WAIVED = "waived"


class Role(StrEnum):
    """Who speaks in a conversation."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    DEVELOPER = "developer"


class Turn(Node):
    """`user "Hello"`."""

    role: Role
    text: Text
    span: Span


class ToolCallTurn(Node):
    """`assistant calls refund(amount: 80)`."""

    role: Role
    tool: Name
    arguments: tuple[Argument, ...]
    span: Span


class ToolResultTurn(Node):
    """`tool get_inbox returns "3 messages"`."""

    tool: Name
    text: Text
    span: Span


class Given(Node):
    """`given user.plan = "pro"`: a fact that holds."""

    fact: Name
    value: Literal
    span: Span


class Expect(Node):
    """`expect violates refunds`; without names it is about every rule."""

    verdict: ExpectedVerdict
    rules: tuple[Name, ...]
    span: Span


Step: TypeAlias = Turn | ToolCallTurn | ToolResultTurn | Given


class Conversation(Node):
    """`{ user "..." assistant "..." }`."""

    steps: tuple[Step, ...]
    span: Span


class Example(Node):
    """`violates "..." note "why"` or `violates { ... }`; `content` is the response alone or a whole conversation."""

    verdict: ExpectedVerdict
    content: Text | Conversation
    note: Text | None
    span: Span


Clause: TypeAlias = (
    Norm
    | LimitRate
    | LimitAverage
    | PreferHigher
    | PreferLower
    | PreferNear
    | PreferOrder
    | When
    | Unless
    | Because
    | CitedSource
    | Overrides
    | WaivableBy
    | WaivableImplicitly
    | NotWaivable
    | OnViolation
    | Example
)
