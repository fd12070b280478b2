"""The syntax tree of a policy: one frozen class for each construct of `grammar.lark`.

Every node has a `span` into the whole file, its last field. Names keep their own span. Nothing is resolved here: a
name is what the author wrote. Closed families are given as unions for exhaustive matching: `Literal`, `NounPhrase`,
`Expression`, `Bound`, `Verb`, `VerbPhrase`, `Clause`, `Step`, `ConceptClause`, `LexiconExpression`, `Item`.

Four modules hold the classes (terms, verbs, clauses, declarations); import all of them from here.
`same` compares trees without their spans, `walk` visits every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

from bylaw.spec.ast_clauses import (
    AmongResponses,
    Because,
    CitedSource,
    Clause,
    Conversation,
    EachPrompt,
    Example,
    Expect,
    ExpectedVerdict,
    Given,
    LimitAverage,
    LimitRate,
    Modality,
    Norm,
    NotWaivable,
    OnViolation,
    Overrides,
    PreferHigher,
    PreferLower,
    PreferNear,
    PreferOrder,
    Price,
    Role,
    RuleWord,
    Share,
    Step,
    ToolCallTurn,
    ToolResultTurn,
    Turn,
    Unless,
    WaivableBy,
    WaivableImplicitly,
    Weight,
    When,
)
from bylaw.spec.ast_declarations import (
    Annotation,
    ApplyDecl,
    Binding,
    Choices,
    ConceptClause,
    ConceptDecl,
    CuedBy,
    DefineDecl,
    DistinctFrom,
    ExamplesDecl,
    ExceptionDecl,
    Header,
    ImportDecl,
    Item,
    LevelPrice,
    LevelsDecl,
    LexiconDecl,
    LexiconDifference,
    LexiconExpression,
    LexiconFile,
    LexiconUnion,
    Like,
    Module,
    NumberRange,
    ParamDecl,
    Parameter,
    RuleDecl,
    ScoredBy,
    SuiteDecl,
    SuiteFile,
    TestDecl,
    Threshold,
    TypeRef,
    Unlike,
)
from bylaw.spec.ast_node import Node
from bylaw.spec.ast_terms import (
    And,
    AnyTool,
    Argument,
    Arithmetic,
    AtLeast,
    AtMost,
    Between,
    Bool,
    Bound,
    Call,
    CallTo,
    Claim,
    Compare,
    Exactly,
    Expression,
    FewerThan,
    ListLiteral,
    Literal,
    MessageFrom,
    MoreThan,
    Name,
    Negate,
    Not,
    NounPhrase,
    NthPart,
    Number,
    NumberOf,
    Or,
    OutputOf,
    Part,
    Path,
    Pattern,
    Quantifier,
    ScoreOf,
    Text,
    Tools,
)
from bylaw.spec.ast_verbs import (
    Among,
    Amount,
    Choice,
    Contains,
    CountAmong,
    EndsWith,
    Expresses,
    Follows,
    HasCount,
    HasNone,
    HasSome,
    IsAbout,
    IsBounded,
    IsIn,
    IsInLanguage,
    IsProperty,
    Matches,
    Mentions,
    Occurs,
    Precedes,
    QuoteLimit,
    Quotes,
    StartsWith,
    Times,
    Verb,
    VerbAnd,
    VerbNot,
    VerbOr,
    VerbPhrase,
)
from bylaw.spec.source import Span

__all__ = (
    "Among",
    "AmongResponses",
    "Amount",
    "And",
    "Annotation",
    "AnyTool",
    "ApplyDecl",
    "Argument",
    "Arithmetic",
    "AtLeast",
    "AtMost",
    "Because",
    "Between",
    "Binding",
    "Bool",
    "Bound",
    "Call",
    "CallTo",
    "Choice",
    "Choices",
    "CitedSource",
    "Claim",
    "Clause",
    "Compare",
    "ConceptClause",
    "ConceptDecl",
    "Contains",
    "Conversation",
    "CountAmong",
    "CuedBy",
    "DefineDecl",
    "DistinctFrom",
    "EachPrompt",
    "EndsWith",
    "Exactly",
    "Example",
    "ExamplesDecl",
    "ExceptionDecl",
    "Expect",
    "ExpectedVerdict",
    "Expresses",
    "Expression",
    "FewerThan",
    "Follows",
    "Given",
    "HasCount",
    "HasNone",
    "HasSome",
    "Header",
    "ImportDecl",
    "IsAbout",
    "IsBounded",
    "IsIn",
    "IsInLanguage",
    "IsProperty",
    "Item",
    "LevelPrice",
    "LevelsDecl",
    "LexiconDecl",
    "LexiconDifference",
    "LexiconExpression",
    "LexiconFile",
    "LexiconUnion",
    "Like",
    "LimitAverage",
    "LimitRate",
    "ListLiteral",
    "Literal",
    "Matches",
    "Mentions",
    "MessageFrom",
    "Modality",
    "Module",
    "MoreThan",
    "Name",
    "Negate",
    "Node",
    "Norm",
    "Not",
    "NotWaivable",
    "NounPhrase",
    "NthPart",
    "Number",
    "NumberOf",
    "NumberRange",
    "Occurs",
    "OnViolation",
    "Or",
    "OutputOf",
    "Overrides",
    "ParamDecl",
    "Parameter",
    "Part",
    "Path",
    "Pattern",
    "Precedes",
    "PreferHigher",
    "PreferLower",
    "PreferNear",
    "PreferOrder",
    "Price",
    "Quantifier",
    "QuoteLimit",
    "Quotes",
    "Role",
    "RuleDecl",
    "RuleWord",
    "ScoreOf",
    "ScoredBy",
    "Share",
    "StartsWith",
    "Step",
    "SuiteDecl",
    "SuiteFile",
    "TestDecl",
    "Text",
    "Threshold",
    "Times",
    "ToolCallTurn",
    "ToolResultTurn",
    "Tools",
    "Turn",
    "TypeRef",
    "Unless",
    "Unlike",
    "Verb",
    "VerbAnd",
    "VerbNot",
    "VerbOr",
    "VerbPhrase",
    "WaivableBy",
    "WaivableImplicitly",
    "Weight",
    "When",
    "children",
    "same",
    "strip",
    "to_data",
    "walk",
)

_NodeType = TypeVar("_NodeType", bound=Node)
_NOWHERE = Span(0, 0)


def children(node: object) -> Iterator[Node]:
    """Yield the nodes directly below a node, in the order of its fields; anything else has none."""
    for name in node.__match_args__ if isinstance(node, Node) else ():
        value = getattr(node, name)
        if isinstance(value, tuple):
            yield from value
        elif isinstance(value, Node):
            yield value


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and every node below it, parents first, in the order of the text."""
    waiting: list[Any] = [node]
    while waiting:
        current = waiting.pop()
        yield current
        if not isinstance(current, Node):
            continue
        below: list[Any] = []  # as `children` yields them; written out, because this loop is most of what a proof costs
        for name in current.__match_args__:
            value = getattr(current, name)
            if isinstance(value, tuple):
                below += value
            elif isinstance(value, Node):
                below.append(value)
        below.reverse()
        waiting += below


def to_data(value: Any) -> Any:
    """Return a tree as JSON values: a node is an object with its class as `node`, a span is [start, end]."""
    match value:
        case Node():
            fields = {name: to_data(getattr(value, name)) for name in value.__match_args__}
            return {"node": type(value).__name__, **fields}
        case Span(start, end):
            return [start, end]
        case tuple():
            return [to_data(item) for item in value]
    return value


def strip(node: _NodeType) -> _NodeType:
    """Return a copy of a tree with every span set to (0, 0)."""
    return cast(_NodeType, _strip_value(node))


def same(left: Node, right: Node) -> bool:
    """Whether two trees say the same: equal but for their spans."""
    return bool(_strip_value(left) == _strip_value(right))


def _strip_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_strip_value(item) for item in value)
    if isinstance(value, Span):
        return _NOWHERE
    if not isinstance(value, Node):
        return value
    return type(value)(*(_strip_value(getattr(value, name)) for name in value.__match_args__))
