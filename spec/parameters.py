"""Resolving parameters: their values, from where they are declared, from an import or from the use of a template."""

from __future__ import annotations

from bylaw.spec import ast, catalog
from bylaw.spec.definitions import Place
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import Phrase
from bylaw.spec.scope import Messages, ParameterValue, Scope
from bylaw.spec.sentences import Sentences

PARAMETER_TYPES = ("number", "text", "boolean", "list of text")


def parameter_value(item: ast.ParamDecl, value: ast.Literal, scope: Scope, messages: Messages) -> ParameterValue:
    """The value that a literal gives to a parameter; `scope` is that of the file where the literal stands.

    Raises Unresolved for a literal of another type (P105) or one that the parameter does not allow (P112).
    """
    kind = type_name(item.type, messages)
    known: ParameterValue
    match kind, value:
        case "number", ast.Number() as number:
            known = float(number.amount)
        case "text", ast.Text(text):
            known = text
        case "boolean", ast.Bool(truth):
            known = truth
        case "list of text", ast.ListLiteral():
            known = Sentences(Place(scope), messages).matchers(value)
        case _:
            secondary = () if value is item.default else (Label(item.span, "declared here"),)
            message = f"the value of `{item.name.text}` is not a {kind}"
            raise messages.failure("P105", message, value.span, secondary=secondary)
    _check_allowed(item, value, known, messages)
    return known


def type_name(type_: ast.TypeRef, messages: Messages) -> str:
    """One of PARAMETER_TYPES. Raises Unresolved (P105) for another one."""
    kind = type_.name.text if type_.element is None else f"{type_.name.text} of {type_.element.text}"
    if kind in PARAMETER_TYPES:
        return kind
    nearest = catalog.nearest(kind, PARAMETER_TYPES)
    raise messages.failure(
        "P105",
        f"there is no type called `{kind}`",
        type_.span,
        notes=(f"types are {', '.join(PARAMETER_TYPES)}",),
        fix=None if nearest is None else Fix(f"write `{nearest}`", type_.span, nearest),
    )


def shown(value: ParameterValue) -> str:
    """A value as it stands in the title of a rule."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.12g}"
        case str():
            return value
    return ", ".join(m.text if isinstance(m, Phrase) else f"/{m.source}/{m.flags}" for m in value)


def _check_allowed(item: ast.ParamDecl, at: ast.Literal, value: ParameterValue, messages: Messages) -> None:
    own = "its own" if at is item.default else "its"
    match item.allowed:
        case ast.NumberRange(low, high):
            if not isinstance(value, float):
                raise messages.failure("P105", "only a number can lie between two numbers", item.allowed.span)
            if not low.amount <= value <= high.amount:
                message = f"the value of `{item.name.text}` lies outside {own} range"
                raise messages.failure("P112", message, at.span, secondary=(Label(item.allowed.span, "the range"),))
        case ast.Choices(options):
            if value not in [_choice(option, messages) for option in options.items]:
                message = f"the value of `{item.name.text}` is not one of its choices"
                raise messages.failure("P112", message, at.span, secondary=(Label(options.span, "the choices"),))


def _choice(option: ast.Literal | ast.Path, messages: Messages) -> ParameterValue:
    match option:
        case ast.Number():
            return float(option.amount)
        case ast.Text(text):
            return text
    raise messages.failure("P105", "a choice is a number or a text", option.span)
