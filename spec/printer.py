"""Canonical text of a policy: `parse(to_text(module))` gives the same module but for its spans.

Comments are not part of the tree and are lost, so this is for tests, dumps and generated policies, not a formatter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import assert_never

from bylaw.spec import ast
from bylaw.spec.printer_terms import (
    apart,
    arguments,
    before,
    bound,
    expression,
    literal,
    names,
    noun,
    number,
    quoted,
    summand,
    verb_phrase,
)
from bylaw.spec.transform_terms import words

# Rule words that are other ones where `not` follows.
_NEGATABLE = frozenset({ast.RuleWord.MUST, ast.RuleWord.SHOULD, ast.RuleWord.MAY})
_KINDS_OF_PREFERENCE = words("higher lower")
# Names with which a verb or a noun would go on: a sentence before one that is about them ends with a bracket.
_CONTINUING = words("matching with exactly between per where")


def to_text(module: ast.Module) -> str:
    """Return a module as canonical text."""
    parts = [] if module.header is None else [_header(module.header)]
    parts += ["".join(map(_annotation, item.annotations)) + _item(item) for item in module.items]
    return "\n\n".join(parts) + "\n" if parts else ""


def _header(value: ast.Header) -> str:
    edition = f" edition {number(value.edition)}" if value.edition else ""
    return f"policy {value.name.text} version {quoted(value.version)}{edition}"


def _annotation(value: ast.Annotation) -> str:
    return f"@{value.name.text}{f'({quoted(value.text)})' if value.text else ''}\n"


def _levels(value: ast.LevelsDecl) -> list[str]:
    """The levels with their prices; of levels of one name (an error, but a text) the one just before has the price."""
    printed = [level.text for level in value.levels]
    for price in value.prices:
        named = [place for place, level in enumerate(value.levels) if level.text == price.level]
        before = [place for place in named if value.levels[place].span.start <= price.span.start]
        printed[(before or named)[-1 if before else 0]] += f" price at most {number(price.value)}"
    return printed


def _item(value: ast.Item) -> str:
    match value:
        case ast.ImportDecl():
            return _import(value)
        case ast.LevelsDecl():
            return f"levels {' > '.join(_levels(value))}"
        case ast.ParamDecl():
            return _param(value)
        case ast.LexiconDecl():
            return f"lexicon {value.name.text}{_after(value.description)} = {_lexicon(value.value)}"
        case ast.SuiteDecl(_, name, description, source):
            what = f"file {quoted(source.path)}" if isinstance(source, ast.SuiteFile) else literal(source)
            return f"suite {name.text}{_after(description)} = {what}"
        case ast.ConceptDecl():
            return _concept(value)
        case ast.DefineDecl():
            return f"define {value.name.text}{_parameters(value.parameters)} as {expression(value.body)}"
        case ast.RuleDecl():
            head = f"rule {value.name.text}{_parameters(value.parameters)}"
            return f"{head}{_after(value.title)}{_level(value.level)} {_block(_clauses(value.clauses))}"
        case ast.ExceptionDecl():
            head = f"exception {value.name.text} to {value.target.text}"
            return f"{head}{_after(value.title)}{_level(value.level)} {_block(_clauses(value.clauses))}"
        case ast.ApplyDecl():
            head = f"apply {value.template.text}({arguments(value.arguments)})"
            return f"{head}{_alias(value.alias)}{_level(value.level)}{_weight(value.weight)}"
        case ast.ExamplesDecl():
            return f"examples for {value.rule.text} {_block(_clauses(value.examples))}"
        case ast.TestDecl():
            return f"test {quoted(value.title)} {_block(map(_step, value.steps))}"
        case _:
            assert_never(value)


def _import(value: ast.ImportDecl) -> str:
    version = f" version {quoted(value.version)}" if value.version else ""
    bindings = ", ".join(f"{binding.name.text} = {literal(binding.value)}" for binding in value.bindings)
    word = "include" if value.is_include else "import"
    return f"{word} {value.name.text}{version}{_alias(value.alias)}{f' with {bindings}' if bindings else ''}"


def _param(value: ast.ParamDecl) -> str:
    allowed = ""
    if isinstance(value.allowed, ast.NumberRange):
        allowed = f" between {number(value.allowed.low)} and {number(value.allowed.high)}"
    elif value.allowed is not None:
        allowed = f" one of {literal(value.allowed.options)}"
    head = f"param {value.name.text} : {_type(value.type)} = {literal(value.default)}"
    return f"{head}{allowed}{_after(value.description)}"


def _lexicon(value: ast.LexiconExpression) -> str:
    match value:
        case ast.LexiconUnion():
            return f"{_lexicon(value.left)} + {_lexicon(value.right)}"
        case ast.LexiconDifference():
            return f"{_lexicon(value.left)} - {_lexicon(value.right)}"
        case ast.LexiconFile():
            return f"file {quoted(value.path)}"
        case _:
            return literal(value)


def _concept(value: ast.ConceptDecl) -> str:
    head = f"{'topic' if value.is_topic else 'concept'} {value.name.text} means {quoted(value.meaning)}"
    return f"{head} {_block(map(_concept_clause, value.clauses))}" if value.clauses else head


def _concept_clause(value: ast.ConceptClause) -> str:
    match value:
        case ast.Like():
            return f"like {quoted(value.text)}{_note(value.note)}"
        case ast.Unlike():
            return f"unlike {quoted(value.text)}{_note(value.note)}"
        case ast.ScoredBy():
            return f"scored by {value.scorer.text}{_after(value.argument)}"
        case ast.Threshold():
            return f"threshold {literal(value.value)}"
        case ast.DistinctFrom():
            return f"distinct from {names(value.concepts)}"
        case ast.CuedBy():
            return f"cued by {names(value.lexicons)}"
        case _:
            assert_never(value)


def _clauses(values: Sequence[ast.Clause]) -> Iterator[str]:
    for value, following in zip_longest(values, values[1:]):
        subject = following.subject if isinstance(following, ast.Norm) else None
        yield _clause(value, subject is not None and noun(subject) != apart(_CONTINUING, noun(subject)))


def _clause(value: ast.Clause, is_closed: bool) -> str:
    """A sentence; `is_closed` puts its end in brackets."""
    match value:
        case ast.Norm():
            return _norm(value, is_closed)
        case ast.LimitRate():
            condition = before("to", apart(words("average"), expression(value.condition)))
            return f"limit {condition} to {_budget(value, is_closed)}"
        case ast.LimitAverage():
            return f"limit average {before('to', summand(value.value))} to {_budget(value, is_closed)}"
        case ast.PreferHigher():
            return f"prefer higher {summand(value.value, is_closed)}{_weight(value.weight)}"
        case ast.PreferLower():
            return f"prefer lower {summand(value.value, is_closed)}{_weight(value.weight)}"
        case ast.PreferNear():
            graded = apart(_KINDS_OF_PREFERENCE, summand(value.value))
            return f"prefer {graded} near {summand(value.target, is_closed)}{_weight(value.weight)}"
        case ast.PreferOrder():
            best, *others = value.alternatives
            ranked = [apart(_KINDS_OF_PREFERENCE, expression(best)), *(expression(one, is_closed) for one in others)]
            return f"prefer {' over '.join(ranked)}{_weight(value.weight)}"
        case ast.When():
            return f"when {expression(value.condition, is_closed)}"
        case ast.Unless():
            return f"unless {expression(value.condition, is_closed)}"
        case ast.Example():
            content = value.content
            said = quoted(content) if isinstance(content, ast.Text) else _block(map(_step, content.steps))
            return f"{value.verdict} {said}{_note(value.note)}"
        case _:
            return _plain_clause(value)


def _norm(value: ast.Norm, is_closed: bool) -> str:
    subject = f"{noun(value.subject)} " if value.subject else ""
    body = verb_phrase(value.body)
    if is_closed or (value.modality.word in _NEGATABLE and body.startswith("not ")):
        body = f"({body})"
    return f"{subject}{value.modality.word} {body}{_weight(value.weight)}"


def _plain_clause(
    value: ast.Because
    | ast.CitedSource
    | ast.Overrides
    | ast.WaivableBy
    | ast.WaivableImplicitly
    | ast.NotWaivable
    | ast.OnViolation,
) -> str:
    match value:
        case ast.Because():
            return f"because {quoted(value.text)}"
        case ast.CitedSource():
            return f"source {quoted(value.text)}"
        case ast.Overrides():
            return f"overrides {names(value.rules)}"
        case ast.WaivableBy():
            return f"waivable by {names(value.levels)}"
        case ast.WaivableImplicitly():
            return "waivable implicitly"
        case ast.NotWaivable():
            return "not waivable"
        case ast.OnViolation():
            message = f" with {quoted(value.message)}" if value.message else ""
            return f"on violation {value.action.text}{message}"
        case _:
            assert_never(value)


def _budget(value: ast.LimitRate | ast.LimitAverage, is_closed: bool) -> str:
    word = "over" if isinstance(value, ast.LimitAverage) else "of"
    among = f" {word} responses where {expression(value.among.condition, is_closed)}" if value.among else ""
    population = f" of {value.population.text}" if value.population else ""
    following = "of" if value.population or (value.among and word == "of") else ""
    limits = [value.bound, *([value.share.bound] if value.share else [])]
    bounds = " in ".join(bound(limit, following, is_closed) for limit in limits)
    suite = ""
    if value.suite is not None:
        suite = f" over suite {quoted(value.suite) if isinstance(value.suite, ast.Text) else value.suite.text}"
    confidence = f" with confidence {number(value.confidence)}" if value.confidence else ""
    each = " for each prompt" if value.each_prompt else ""
    price = f" price at most {number(value.price.value)}" if value.price else ""
    return f"{bounds}{population}{among}{suite}{confidence}{each}{price}"


def _step(value: ast.Step | ast.Expect) -> str:
    match value:
        case ast.Turn():
            return f"{value.role} {quoted(value.text)}"
        case ast.ToolCallTurn():
            return f"{value.role} calls {value.tool.text}({arguments(value.arguments)})"
        case ast.ToolResultTurn():
            return f"tool {value.tool.text} returns {quoted(value.text)}"
        case ast.Given():
            return f"given {value.fact.text} = {literal(value.value)}"
        case ast.Expect():
            return f"expect {value.verdict}{f' {names(value.rules)}' if value.rules else ''}"
        case _:
            assert_never(value)


def _block(lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return "{\n" + "\n".join(f"  {line}" for line in body.split("\n")) + "\n}" if body else "{ }"


def _parameters(values: tuple[ast.Parameter, ...] | None) -> str:
    return "" if values is None else f"({', '.join(map(_parameter, values))})"


def _parameter(value: ast.Parameter) -> str:
    kind = f": {_type(value.type)}" if value.type else ""
    default = f" = {literal(value.default)}" if value.default else ""
    return f"{value.name.text}{kind}{default}"


def _type(value: ast.TypeRef) -> str:
    return f"{value.name.text} of {value.element.text}" if value.element else value.name.text


def _after(text: ast.Text | None) -> str:
    return f" {quoted(text)}" if text else ""


def _note(text: ast.Text | None) -> str:
    return f" note {quoted(text)}" if text else ""


def _level(name: ast.Name | None) -> str:
    return f" at {name.text}" if name else ""


def _alias(name: ast.Name | None) -> str:
    return f" as {name.text}" if name else ""


def _weight(weight: ast.Weight | None) -> str:
    return f" weight {number(weight.value)}" if weight else ""
