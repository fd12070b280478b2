"""The syntax tree of a policy: one frozen class for each construct of `grammar.lark`.

Every node has a `span` into the whole file, its last field. Names keep their own span. Nothing is resolved here: a
name is what the author wrote. Closed families are given as unions for exhaustive matching: `Literal`, `NounPhrase`,
`Expression`, `Bound`, `Verb`, `VerbPhrase`, `Clause`, `Step`, `ConceptClause`, `LexiconExpression`, `Item`.

Four modules hold the classes (terms, verbs, clauses, declarations); import all of them from here.
`same` compares trees without their spans, `walk` visits every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast

from bylaw.spec.ast_clauses import (
    Because,
    CitedSource,
    Clause,
    Conversation,
    EnforceBy,
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
    Role,
    RuleWord,
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
    DefineDecl,
    DistinctFrom,
    ExamplesDecl,
    ExceptionDecl,
    Header,
    ImportDecl,
    Item,
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
    TestDecl,
    Threshold,
    TypeRef,
    Unlike,
)
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
    "DefineDecl",
    "DistinctFrom",
    "EndsWith",
    "EnforceBy",
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
    "Quantifier",
    "QuoteLimit",
    "Quotes",
    "Role",
    "RuleDecl",
    "RuleWord",
    "ScoreOf",
    "ScoredBy",
    "StartsWith",
    "Step",
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
    "walk",
)

_NodeType = TypeVar("_NodeType")
_NOWHERE = Span(0, 0)


def children(node: object) -> Iterator[object]:
    """Yield the nodes directly below a node, in the order of its fields."""
    kind: Any = type(node)
    for name in _field_names(kind):
        value = getattr(node, name)
        if isinstance(value, tuple):
            yield from value
        elif is_dataclass(value):
            yield value


def walk(node: object) -> Iterator[object]:
    """Yield a node and every node below it, parents first, in the order of the text."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(tuple(children(current))))


def strip(node: _NodeType) -> _NodeType:
    """Return a copy of a tree with every span set to (0, 0)."""
    return cast(_NodeType, _strip_value(node))


def same(left: object, right: object) -> bool:
    """Whether two trees say the same: equal but for their spans."""
    return bool(_strip_value(left) == _strip_value(right))


def _strip_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_strip_value(item) for item in value)
    if not is_dataclass(value):
        return value
    kind: Any = type(value)
    return kind(**{name: _strip_value(getattr(value, name)) for name in _field_names(kind)}, span=_NOWHERE)


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    """Return the names of a node class's fields but its span."""
    return tuple(field.name for field in fields(kind) if field.name != "span")
