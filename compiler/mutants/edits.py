"""All mutants of a policy file, as edits of its text (`compiler/mutants/text.py`).

Not made are those that no example could ever see: other weights, titles, reasons, bounds of limits, preferences, names
of levels, texts of concepts. They are counted, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from bylaw.compiler.mutants.sentences import (
    mutate_condition,
    mutate_expression,
    mutate_list,
    mutate_norm,
    mutate_number,
)
from bylaw.compiler.mutants.text import MOST_ENTRIES, Collector, Edit
from bylaw.spec import ast
from bylaw.spec.parser import ParseResult
from bylaw.spec.scope import DEFAULT_LEVELS
from bylaw.spec.source import Span

_DECIDED = (ast.Norm, ast.LimitRate)
"""Sentences that are true or false of one answer."""
_READING = (ast.RuleDecl, ast.ExceptionDecl, ast.ApplyDecl)
"""Declarations that say something themselves; all others only say it where one of these reads them."""
_UNSEEN: Mapping[type[ast.Node], str] = MappingProxyType(
    {
        ast.ConceptDecl: "a concept: only a model scores it",
        ast.SuiteDecl: "a suite: it names prompts, and forbids nothing",
        ast.LevelsDecl: "the order of the levels",
        ast.LimitAverage: "an average: one answer neither keeps nor breaks it",
        ast.PreferHigher: "a preference: it has no verdict",
        ast.PreferLower: "a preference: it has no verdict",
        ast.PreferNear: "a preference: it has no verdict",
        ast.PreferOrder: "a preference: it has no verdict",
    }
)


@dataclass(frozen=True, slots=True)
class Edits:
    """The edits, in the order of the file, and how much is not mutated, by reason."""

    edits: tuple[Edit, ...]
    left_out: Mapping[str, int]


def edits_of(parsed: ParseResult, seed: int = 0, most_entries: int = MOST_ENTRIES) -> Edits:
    """All mutants of a file that was parsed with its tokens and is sound."""
    out = Collector.of(parsed, seed, most_entries)
    module = parsed.module
    reached = _reached(module.items)
    levels = next((each.levels for each in module.items if isinstance(each, ast.LevelsDecl)), ())
    names = tuple(level.text for level in levels) or DEFAULT_LEVELS
    for number, item in enumerate(module.items):
        out.item, out.owner = number, _name(item)
        if isinstance(item, tuple(_UNSEEN)):
            out.skip(_UNSEEN[type(item)])
        elif number not in reached:
            out.skip(f"{_KINDS[type(item)]} that no rule of this file reads" if type(item) in _KINDS else "")
        else:
            _declaration(item, names, out)
    out.left_out.pop("", None)
    found = sorted(out.found.values(), key=lambda edit: (edit.span.start, edit.span.end, edit.operator, edit.text))
    return Edits(tuple(found), MappingProxyType({reason: count for reason, count in out.left_out.items() if count}))


_KINDS: Mapping[type[ast.Node], str] = MappingProxyType(
    {ast.LexiconDecl: "a lexicon", ast.DefineDecl: "a definition", ast.ParamDecl: "a parameter"}
)


def _name(item: ast.Item) -> str:
    """What a declaration is called."""
    if isinstance(item, ast.ApplyDecl):
        return item.template.text.rpartition(".")[2] if item.alias is None else item.alias.text
    name = getattr(item, "name", None)
    return name.text if isinstance(name, ast.Name) else ""


def _reached(items: tuple[ast.Item, ...]) -> set[int]:
    """The declarations that say something, and those that they read, directly or through others."""
    by_name: dict[str, int] = {}
    for number, item in enumerate(items):
        if isinstance(item, (ast.LexiconDecl, ast.DefineDecl, ast.ParamDecl, ast.ConceptDecl)):
            by_name.setdefault(item.name.text, number)
    waiting = [number for number, item in enumerate(items) if isinstance(item, _READING)]
    reached = set(waiting)
    while waiting:
        item = items[waiting.pop()]
        # What a concept reads is where its scores begin to count, and no example gives a score between 0 and 1.
        for name in () if isinstance(item, ast.ConceptDecl) else _read(item):
            number = by_name.get(name, -1)
            if number >= 0 and number not in reached:
                reached.add(number)
                waiting.append(number)
    return reached


def _read(item: ast.Item) -> Iterator[str]:
    """All names in a declaration; some mean something else, which does no harm."""
    for node in ast.walk(item):
        if isinstance(node, (ast.Name, ast.Path)):
            yield node.text


# ---------------------------------------------------------------------------------------------------- declarations
def _declaration(item: ast.Item, levels: tuple[str, ...], out: Collector) -> None:
    match item:
        case ast.RuleDecl():
            _rule(item, levels, out)
        case ast.ExceptionDecl():
            out.delete("exception", item)
            _level(item.level, levels, out)
            _conditions(item.clauses, out)
        case ast.ApplyDecl():
            _level(item.level, levels, out)
            _values((argument.value for argument in item.arguments), out)
        case ast.LexiconDecl():
            _lexicon(item.value, out)
        case ast.DefineDecl():
            _parameters(item.parameters, out)
            if isinstance(item.body, (ast.And, ast.Or, ast.Not, ast.Claim, ast.Compare)):
                mutate_condition(item.body, out)
            else:
                mutate_expression(item.body, out)
        case ast.ParamDecl():
            _parameter(item, out)


def _rule(rule: ast.RuleDecl, levels: tuple[str, ...], out: Collector) -> None:
    sentences = [clause for clause in rule.clauses if isinstance(clause, (*_DECIDED, *_UNSEEN))]
    for clause in sentences:
        if isinstance(clause, tuple(_UNSEEN)):
            out.skip(_UNSEEN[type(clause)])
    has_overrides = any(isinstance(clause, ast.Overrides) for clause in rule.clauses)
    if not has_overrides and not any(isinstance(clause, _DECIDED) for clause in sentences):
        return
    if any(each.default is None for each in rule.parameters or ()):
        out.skip("a rule with a parameter without a default: it is tried where it is applied")
        return
    _parameters(rule.parameters, out)
    if rule.parameters is None:
        _level(rule.level, levels, out)
    _conditions(rule.clauses, out)
    for clause in rule.clauses:
        match clause:
            case ast.Norm():
                mutate_norm(clause, out)
            case ast.LimitRate():
                _limit(clause, out)
            case ast.Overrides(names):
                _overrides(clause, names, out)
        if isinstance(clause, _DECIDED) and len(sentences) > 1:
            out.delete("sentence", clause)


def _limit(limit: ast.LimitRate, out: Collector) -> None:
    """What a limit counts, and which answers it is about; examples do not see how many there may be, or the price."""
    if limit.share is None:
        mutate_condition(limit.condition, out)
    else:
        mutate_expression(limit.condition, out)
        if isinstance(limit.bound, (ast.AtLeast, ast.AtMost, ast.Exactly)):
            mutate_expression(limit.bound.value, out)
    if limit.among is not None:
        mutate_condition(limit.among.condition, out)
    out.skip("a bound of a limit: it is about many answers")
    if limit.price is not None:
        out.skip("a price of a limit: it is about many answers")


def _conditions(clauses: Iterable[ast.Clause], out: Collector) -> None:
    for clause in clauses:
        if isinstance(clause, (ast.When, ast.Unless)):
            out.delete("condition", clause)
            mutate_condition(clause.condition, out)


def _overrides(clause: ast.Overrides, names: tuple[ast.Name, ...], out: Collector) -> None:
    if len(names) == 1:
        out.delete("overrides", clause)
        return
    for left, right in pairwise(names):
        out.add("overrides", Span(left.span.start, right.span.start), "")
    out.add("overrides", Span(names[-2].span.end, names[-1].span.end), "")


def _level(level: ast.Name | None, levels: tuple[str, ...], out: Collector) -> None:
    if level is not None:
        for other in levels:
            out.add("level", level.span, other)


def _parameters(parameters: tuple[ast.Parameter, ...] | None, out: Collector) -> None:
    _values((each.default for each in parameters or () if each.default is not None), out)


def _values(values: Iterable[ast.Expression], out: Collector) -> None:
    """Numbers, lists and yes or no that a parameter stands for."""
    for value in values:
        if isinstance(value, ast.Bool):
            out.add("negation", value.span, "false" if value.value else "true")
        elif isinstance(value, (ast.Number, ast.ListLiteral, ast.Pattern)):
            mutate_expression(value, out)


def _parameter(item: ast.ParamDecl, out: Collector) -> None:
    if isinstance(item.default, ast.Number):
        allowed = item.allowed
        bounds = (allowed.low.amount, allowed.high.amount) if isinstance(allowed, ast.NumberRange) else None
        mutate_number(item.default, out, bounds)
    else:
        _values((item.default,), out)


def _lexicon(value: ast.LexiconExpression, out: Collector) -> None:
    match value:
        case ast.ListLiteral():
            mutate_list(value, out)
        case ast.LexiconUnion(left, right):
            out.add("entry", value.span, out.slice(left.span))
            out.add("entry", value.span, out.slice(right.span))
            _lexicon(left, out)
            _lexicon(right, out)
        case ast.LexiconDifference(left, right):
            out.add("entry", value.span, out.slice(left.span))
            _lexicon(left, out)
            _lexicon(right, out)
        case ast.LexiconFile():
            out.skip("a lexicon in a file of its own")
