"""Rules with parameters: `rule f(x: number) {...}` is never in force by itself, `apply f(x: 5) as name` makes a rule.

The arguments of an application become parameters of the scope in which the clauses of the template are resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from types import MappingProxyType
from typing import TypeAlias

from bylaw.spec import ast, catalog
from bylaw.spec.clauses import resolve_rule
from bylaw.spec.declarations import MOST_STAND_INS, check_parameters
from bylaw.spec.definitions import Place
from bylaw.spec.errors import Diagnostic, Fix, Label
from bylaw.spec.expression import BooleanConstant, Extent, NumberConstant, Phrase, TextConstant
from bylaw.spec.parameters import shown, type_name
from bylaw.spec.regulator import Regulator
from bylaw.spec.scope import Messages, ParameterValue, Scope, Unresolved
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Span

Values: TypeAlias = Mapping[str, ParameterValue]

_HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_STAND_INS: Mapping[str, tuple[ParameterValue, ...]] = MappingProxyType(
    {
        "number": (1.0, 0.5),
        "text": ("x", "en", "{}"),
        "boolean": (True,),
        "list of text": ((Phrase("x"),),),
    }
)
_WEIGHED = (ast.PreferHigher, ast.PreferLower, ast.PreferNear, ast.PreferOrder)


def is_template(item: ast.RuleDecl) -> bool:
    """Whether a rule has parameters (or an empty list of them), so that it has to be applied."""
    return item.parameters is not None


# ---------------------------------------------------------------------------------------------------- declarations
def check_template(rule: ast.RuleDecl, scope: Scope, messages: Messages) -> None:
    """Resolves a template once with stand-ins, so that a mistake shows even where it is never applied."""
    parameters = rule.parameters or ()
    check_parameters(parameters, messages)
    _check_holes(rule, messages)
    missing = [parameter.name.text for parameter in parameters if parameter.default is None]
    for clause in rule.clauses:
        if isinstance(clause, ast.Example) and missing:
            note = "move it to `examples for NAME`, behind the `apply` that makes a rule of that name"
            message = f"this example cannot be checked: `{missing[0]}` has no default value"
            messages.error("P118", message, clause.span, notes=(note,))
            break
    try:
        choices = [_stand_ins(parameter, scope, messages) for parameter in parameters]
    except Unresolved:
        return
    first: Messages | None = None
    for values in islice(product(*choices), MOST_STAND_INS):
        attempt = messages.child()
        named = {parameter.name.text: value for parameter, value in zip(parameters, values, strict=True)}
        resolve_rule(_instance(rule, named), inner_scope(scope, named), attempt)
        messages.unfolded = attempt.unfolded
        if not any(diagnostic.is_error for diagnostic in attempt.found):
            return
        first = first or attempt
    messages.found += [] if first is None else first.found


def defaults(rule: ast.RuleDecl, scope: Scope, messages: Messages) -> Values | None:
    """The default values of a template; None where one has none. Raises Unresolved for a value of another type."""
    if any(parameter.default is None for parameter in rule.parameters or ()):
        return None
    return {each.name.text: _default(each, scope, messages) for each in rule.parameters or ()}


def with_defaults(rule: ast.RuleDecl, scope: Scope, values: Values, messages: Messages) -> list[Regulator]:
    """The regulators of a template for its default values, under its own name: only to check its examples."""
    return resolve_rule(_instance(rule, values), inner_scope(scope, values), messages)


def _stand_ins(parameter: ast.Parameter, scope: Scope, messages: Messages) -> tuple[ParameterValue, ...]:
    if parameter.default is not None:
        return (_default(parameter, scope, messages),)
    if parameter.type is None:
        return tuple(values[0] for values in _STAND_INS.values())
    return _STAND_INS[type_name(parameter.type, messages)]


def _default(parameter: ast.Parameter, scope: Scope, messages: Messages) -> ParameterValue:
    assert parameter.default is not None
    kind = None if parameter.type is None else type_name(parameter.type, messages)
    return _value(parameter.default, kind, scope, messages)


def _check_holes(rule: ast.RuleDecl, messages: Messages) -> None:
    known = tuple(parameter.name.text for parameter in rule.parameters or ())
    for text in _texts(rule):
        for hole in _HOLE.finditer(text.value):
            if hole[1] is not None and hole[1] not in known:
                nearest = catalog.nearest(hole[1], known)
                fix = None if nearest is None else Fix(f"write `{{{nearest}}}`")
                note = "`{x}` stands for the parameter `x` here; write `{{` for a brace"
                message = f"`{rule.name.text}` has no parameter called `{hole[1]}`"
                messages.error("P101", message, text.span, notes=(note,), fix=fix)


def _texts(rule: ast.RuleDecl) -> Iterator[ast.Text]:
    if rule.title is not None:
        yield rule.title
    for clause in rule.clauses:
        if isinstance(clause, ast.Because):
            yield clause.text
        elif isinstance(clause, ast.OnViolation) and clause.message is not None:
            yield clause.message


def inner_scope(scope: Scope, values: Values) -> Scope:
    """The scope of a template's clauses: what its file declares, and its parameters, which hide the same names."""
    if not values:
        return scope

    def without(table: Mapping[str, object]) -> Mapping[str, object]:
        return MappingProxyType({name: each for name, each in table.items() if name not in values})

    return replace(
        scope,
        parameters=MappingProxyType({**scope.parameters, **values}),
        lexicons=without(scope.lexicons),  # type: ignore[arg-type]
        definitions=without(scope.definitions),  # type: ignore[arg-type]
        concepts=without(scope.concepts),  # type: ignore[arg-type]
        declared=without(scope.declared),  # type: ignore[arg-type]
        outer=scope.outer or scope,
    )


def _instance(rule: ast.RuleDecl, values: Values, **changes: object) -> ast.RuleDecl:
    """A rule without parameters, the holes of its texts filled in."""

    def fill(text: ast.Text) -> ast.Text:
        def part(hole: re.Match[str]) -> str:
            if hole[1] is None:
                return hole[0][0]
            return shown(values[hole[1]]) if hole[1] in values else hole[0]

        return ast.Text(_HOLE.sub(part, text.value), text.span)

    if rule.parameters is None:
        return rule.changed(**changes)
    clauses = tuple(
        clause.changed(text=fill(clause.text))
        if isinstance(clause, ast.Because)
        else clause.changed(message=fill(clause.message))
        if isinstance(clause, ast.OnViolation) and clause.message is not None
        else clause
        for clause in changes.pop("clauses", rule.clauses)  # type: ignore[attr-defined]
    )
    title = None if rule.title is None else fill(rule.title)
    return rule.changed(parameters=None, title=title, clauses=clauses, **changes)


# ---------------------------------------------------------------------------------------------------- applications
@dataclass(frozen=True)
class Application:
    """An `apply` whose template and arguments are known."""

    item: ast.ApplyDecl
    rule: ast.RuleDecl
    home: Scope
    values: Values

    @property
    def name(self) -> str:
        """The name of the rule that it makes."""
        return name_of(self.item).text


def name_of(item: ast.ApplyDecl) -> ast.Name:
    """The name of the rule that `apply` makes: its alias, or the last part of the template's name."""
    if item.alias is not None:
        return item.alias
    return ast.Name(item.template.text.rpartition(".")[2], item.template.span)


def application(item: ast.ApplyDecl, scope: Scope, messages: Messages) -> Application:
    """Finds the template and binds its arguments. Raises Unresolved (P101, P118)."""
    name = item.template
    found = scope.find(name.text)
    if found is None:
        known = tuple(_templates(scope))
        nearest = catalog.nearest(name.text, known)
        raise messages.failure(
            "P101",
            f"there is no rule called `{name.text}`",
            name.span,
            notes=("a rule of another file is known by the name of its import: `fmt.max_words`",),
            fix=None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest),
        )
    home, rule = found
    declared = (Label(rule.name.span, "declared here"),)
    if not isinstance(rule, ast.RuleDecl):
        message = f"`{name.text}` is not a rule, so it cannot be applied"
        raise messages.failure("P118", message, name.span, secondary=declared)
    return Application(item, rule, home, _bind(item, rule, scope, home, messages))


def instance(applied: Application, messages: Messages) -> ast.RuleDecl:
    """The rule that an application makes, with its name, level and weights; its clauses still name the parameters."""
    level, clauses = applied.item.level or applied.rule.level, _weighed(applied, messages)
    return _instance(applied.rule, applied.values, name=name_of(applied.item), level=level, clauses=clauses)


def resolve_application(applied: Application, levels: tuple[str, ...], messages: Messages) -> list[Regulator]:
    """The regulators that an application makes, at the place of the `apply`."""
    item, rule = applied.item, applied.rule
    if item.level is None and rule.level is not None and rule.level.text not in levels:
        message = f"`{item.template.text}` stands at level `{rule.level.text}`, which is not a level of this policy"
        note = f"say at which level: `apply ... at LEVEL`; the levels here are {' > '.join(levels)}"
        where = (Label(rule.level.span, "its level"),)
        messages.error("P106", message, item.template.span, secondary=where, notes=(note,))
        return []
    attempt = messages.child()
    made_of = instance(applied, messages)
    made = resolve_rule(made_of, inner_scope(replace(applied.home, levels=levels), applied.values), attempt)
    messages.unfolded = attempt.unfolded
    messages.found += [_at(diagnostic, item) for diagnostic in attempt.found]
    where_applied = _extent(item.span)
    return [replace(each, extent=where_applied, rule_extent=_extent(name_of(item).span)) for each in made]


def _at(diagnostic: Diagnostic, item: ast.ApplyDecl) -> Diagnostic:
    """What is wrong inside a template with the arguments of its user: said where it is applied."""
    if item.span.start <= diagnostic.primary.span.start < item.span.end:
        return diagnostic
    where = Label(diagnostic.primary.span, diagnostic.primary.message or "in the template")
    return replace(
        diagnostic, primary=Label(item.span, "applied here"), secondary=(where, *diagnostic.secondary), fix=None
    )


def _weighed(applied: Application, messages: Messages) -> tuple[ast.Clause, ...]:
    """The clauses, with the weight of the application for those that can have one and have none."""
    weight = applied.item.weight
    if weight is None:
        return applied.rule.clauses
    clauses = tuple(
        clause.changed(weight=weight) if _takes_weight(clause) else clause for clause in applied.rule.clauses
    )
    if clauses == applied.rule.clauses:
        note = "a weight is for `should` and `prefer` that have none in the template"
        message = f"nothing in `{applied.item.template.text}` takes a weight"
        where = (Label(applied.rule.name.span, "declared here"),)
        messages.error("P118", message, weight.span, secondary=where, notes=(note,))
    return clauses


def _takes_weight(clause: ast.Clause) -> bool:
    if isinstance(clause, ast.Norm):
        return clause.weight is None and clause.modality.word in (ast.RuleWord.SHOULD, ast.RuleWord.SHOULD_NOT)
    return isinstance(clause, _WEIGHED) and clause.weight is None


def _bind(item: ast.ApplyDecl, rule: ast.RuleDecl, scope: Scope, home: Scope, messages: Messages) -> Values:
    parameters = {parameter.name.text: parameter for parameter in rule.parameters or ()}
    known = tuple(parameters)
    declared = Label(rule.name.span, "declared here")
    values: dict[str, ParameterValue] = {}
    for position, argument in enumerate(item.arguments):
        positional = known[position] if position < len(known) else ""
        name = positional if argument.name is None else argument.name.text
        if name not in parameters or name in values:
            takes = ", ".join(f"`{each}`" for each in known) or "no arguments"
            nearest = catalog.nearest(name, known)
            span = argument.span if argument.name is None else argument.name.span
            fix = None if nearest is None else Fix(f"write `{nearest}`", span, nearest)
            message = f"`{item.template.text}` has no place for this argument"
            raise messages.failure(
                "P118", message, argument.span, secondary=(declared,), notes=(f"it takes {takes}",), fix=fix
            )
        parameter = parameters[name]
        attempt = messages.child()
        kind = None if parameter.type is None else type_name(parameter.type, attempt)
        try:
            values[name] = _value(argument.value, kind, scope, attempt)
        except Unresolved:
            if any(diagnostic.code != "P105" for diagnostic in attempt.found) or not attempt.found:
                messages.found += attempt.found
                raise
            what = "a text, a number, `true`, `false` or a list" if kind is None else f"a {kind}"
            raise messages.failure(
                "P118",
                f"`{name}` of `{item.template.text}` is {what} that is known beforehand",
                argument.span,
                secondary=(Label(parameter.span, "declared here"),),
            ) from None
    for name, parameter in parameters.items():
        if name not in values:
            if parameter.default is None:
                message = f"`{item.template.text}` needs a value for `{name}`"
                where = (Label(parameter.span, "declared here"),)
                raise messages.failure("P118", message, item.span, secondary=where)
            values[name] = _default(parameter, home, messages)
    return values


def _value(value: ast.Expression, kind: str | None, scope: Scope, messages: Messages) -> ParameterValue:
    """What an argument stands for. Raises Unresolved (P105 for another kind, or for what is not known beforehand)."""
    sentences = Sentences(Place(scope), messages)
    match kind or _kind(value, scope):
        case "number":
            number = sentences.number(value)
            if isinstance(number, NumberConstant):
                return number.value
        case "text":
            text = sentences.text(value)
            if isinstance(text, TextConstant):
                return text.value
        case "boolean":
            truth = sentences.truth(value)
            if isinstance(truth, BooleanConstant):
                return truth.value
        case _:
            return sentences.matchers(value)
    raise messages.failure("P105", "this is not known beforehand", value.span)


def _kind(value: ast.Expression, scope: Scope) -> str:
    """What kind of value an argument for a parameter without a type is."""
    match value:
        case ast.Number() | ast.Negate() | ast.Arithmetic():
            return "number"
        case ast.Text():
            return "text"
        case ast.Bool():
            return "boolean"
        case ast.Path(name):
            known = {bool: "boolean", float: "number", str: "text"}
            return known.get(type(scope.parameter(name)), "list of text")
    return "list of text"


def _templates(scope: Scope) -> Iterator[str]:
    for name, item in scope.declared.items():
        if isinstance(item, ast.RuleDecl) and is_template(item):
            yield name
    for alias, other in scope.imports.items():
        for name, item in () if other is None else other.declared.items():
            if isinstance(item, ast.RuleDecl):
                yield f"{alias}.{name}"


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
