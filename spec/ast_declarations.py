"""The declarations of a policy file, as syntax. Import them from `spec.ast`."""

from __future__ import annotations

from typing import TypeAlias

from bylaw.spec.ast_clauses import Clause, Example, Expect, Step, Weight
from bylaw.spec.ast_node import Node
from bylaw.spec.ast_terms import Argument, Expression, ListLiteral, Literal, Name, Number, Path, Text
from bylaw.spec.source import Span


class Header(Node):
    """`policy acme.support version "1.4.0" edition 1`."""

    name: Name
    version: Text
    edition: Number | None
    span: Span


class Annotation(Node):
    """`@name` or `@name("text")` before a declaration."""

    name: Name
    text: Text | None
    span: Span


class Binding(Node):
    """`pii_threshold = 0.7` after `import ... with`."""

    name: Name
    value: Literal
    span: Span


class ImportDecl(Node):
    """`import std.safety version "1.2" as safety with pii_threshold = 0.7`; `include` also puts its rules in force."""

    annotations: tuple[Annotation, ...]
    is_include: bool
    name: Name
    version: Text | None
    alias: Name | None
    bindings: tuple[Binding, ...]
    span: Span


class LevelPrice(Node):
    """`price at most 2` behind a level: what each limit of that level may cost at most."""

    level: str
    value: Number
    span: Span


class LevelsDecl(Node):
    """`levels root > system > user price at most 2`: highest first, two or more."""

    annotations: tuple[Annotation, ...]
    levels: tuple[Name, ...]
    prices: tuple[LevelPrice, ...]
    span: Span


class TypeRef(Node):
    """`number`, `list of text`."""

    name: Name
    element: Name | None
    span: Span


class NumberRange(Node):
    """`between 40 and 800` after a parameter; both included."""

    low: Number
    high: Number
    span: Span


class Choices(Node):
    """`one of ["a", "b"]` after a parameter."""

    options: ListLiteral
    span: Span


class ParamDecl(Node):
    """`param reply_limit : number = 180 between 40 and 800 "longest reply"`."""

    annotations: tuple[Annotation, ...]
    name: Name
    type: TypeRef
    default: Literal
    allowed: NumberRange | Choices | None
    description: Text | None
    span: Span


class LexiconFile(Node):
    """`file "words.txt"`."""

    path: Text
    span: Span


class LexiconUnion(Node):
    """`a + b`."""

    left: LexiconExpression
    right: LexiconExpression
    span: Span


class LexiconDifference(Node):
    """`a - b`."""

    left: LexiconExpression
    right: LexiconExpression
    span: Span


LexiconExpression: TypeAlias = ListLiteral | Path | LexiconFile | LexiconUnion | LexiconDifference


class LexiconDecl(Node):
    """`lexicon hedges "words that hedge" = ["perhaps"] + std.text.hedges - ["likely"]`."""

    annotations: tuple[Annotation, ...]
    name: Name
    description: Text | None
    value: LexiconExpression
    span: Span


class SuiteFile(Node):
    """`file "prompts.jsonl"`: one JSON object with a `prompt` a line."""

    path: Text
    span: Span


class SuiteDecl(Node):
    """`suite benign "everyday questions" = file "benign.jsonl"`: prompts that limits, calibration and audits share."""

    annotations: tuple[Annotation, ...]
    name: Name
    description: Text | None
    value: ListLiteral | SuiteFile
    span: Span


class Like(Node):
    """`like "..." note "..."`: a text that expresses the concept."""

    text: Text
    note: Text | None
    span: Span


class Unlike(Node):
    """`unlike "..." note "..."`: a text that does not, however near it looks."""

    text: Text
    note: Text | None
    span: Span


class ScoredBy(Node):
    """`scored by classifier "std/prompt-injection"`."""

    scorer: Name
    argument: Text | None
    span: Span


class Threshold(Node):
    """`threshold 0.6`; a name refers to a parameter."""

    value: Number | Path
    span: Span


class DistinctFrom(Node):
    """`distinct from safety.general_information`."""

    concepts: tuple[Name, ...]
    span: Span


class CuedBy(Node):
    """`cued by apologies, std.text.hedges`: lexicons whose entries hint at the concept, without settling it."""

    lexicons: tuple[Name, ...]
    span: Span


ConceptClause: TypeAlias = Like | Unlike | ScoredBy | Threshold | DistinctFrom | CuedBy


class ConceptDecl(Node):
    """`concept blames_user means "..." { ... }`; a `topic` is what a text is about, not what it says."""

    annotations: tuple[Annotation, ...]
    is_topic: bool
    name: Name
    meaning: Text
    clauses: tuple[ConceptClause, ...]
    span: Span


class Parameter(Node):
    """One parameter of a rule or a definition: `limit: number = 300`."""

    name: Name
    type: TypeRef | None
    default: Literal | None
    span: Span


class DefineDecl(Node):
    """`define hedging(t) as number of hedges in t`; `parameters` is None without parentheses."""

    annotations: tuple[Annotation, ...]
    name: Name
    parameters: tuple[Parameter, ...] | None
    body: Expression
    span: Span


class RuleDecl(Node):
    """`rule NAME (params) "title" at LEVEL { clauses }`; `parameters` is None without parentheses."""

    annotations: tuple[Annotation, ...]
    name: Name
    parameters: tuple[Parameter, ...] | None
    title: Text | None
    level: Name | None
    clauses: tuple[Clause, ...]
    span: Span


class ExceptionDecl(Node):
    """`exception NAME to RULE "title" at LEVEL { clauses }`."""

    annotations: tuple[Annotation, ...]
    name: Name
    target: Name
    title: Text | None
    level: Name | None
    clauses: tuple[Clause, ...]
    span: Span


class ApplyDecl(Node):
    """`apply fmt.forbidden(words: ["cheap"]) as house_style at developer weight 0.5`."""

    annotations: tuple[Annotation, ...]
    template: Name
    arguments: tuple[Argument, ...]
    alias: Name | None
    level: Name | None
    weight: Weight | None
    span: Span


class ExamplesDecl(Node):
    """`examples for RULE { ... }`: examples that stand outside their rule."""

    annotations: tuple[Annotation, ...]
    rule: Name
    examples: tuple[Example, ...]
    span: Span


class TestDecl(Node):
    """`test "title" { ... }`: a conversation with expectations in between."""

    annotations: tuple[Annotation, ...]
    title: Text
    steps: tuple[Step | Expect, ...]
    span: Span


Item: TypeAlias = (
    ImportDecl
    | LevelsDecl
    | ParamDecl
    | LexiconDecl
    | SuiteDecl
    | ConceptDecl
    | DefineDecl
    | RuleDecl
    | ExceptionDecl
    | ApplyDecl
    | ExamplesDecl
    | TestDecl
)


class Module(Node):
    """One policy file: the header, if it has one, and its declarations in order."""

    header: Header | None
    items: tuple[Item, ...]
    span: Span
