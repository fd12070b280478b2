"""Resolving declarations: levels, parameters, lexicons and definitions become the scope of a file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from types import MappingProxyType

from bylaw.spec import ast, catalog
from bylaw.spec.definitions import Binding, Place
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import Matcher, Phrase
from bylaw.spec.scope import DEFAULT_LEVELS, SUBJECTS, Messages, Named, ParameterValue, Scope, Unresolved
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Span

PARAMETER_TYPES = ("number", "text", "boolean", "list of text")
MOST_STAND_INS = 64
"""A definition with more combinations of arguments of unknown type is checked only where it is used."""

_NAMED = (ast.ParamDecl, ast.LexiconDecl, ast.DefineDecl, ast.RuleDecl, ast.ConceptDecl)


def build_scope(module: ast.Module, messages: Messages) -> Scope:
    """Everything that the sentences of a file may refer to. Records a diagnostic for what cannot be."""
    declared = _declared(module, messages)
    definitions = {
        name: item for name, item in declared.items() if isinstance(item, ast.DefineDecl) and name not in SUBJECTS
    }
    parameters: dict[str, ParameterValue] = {}
    lexicons: dict[str, tuple[Matcher, ...]] = {}
    # The scope sees both tables grow: a lexicon may use those above it.
    scope = Scope(_levels(module, messages), parameters, lexicons, definitions, declared, _imported(module))
    for item in module.items:
        if isinstance(item, ast.ParamDecl):
            try:
                parameters.setdefault(item.name.text, _parameter(item, scope, messages))
            except Unresolved:
                continue
    for item in module.items:
        if isinstance(item, ast.LexiconDecl):
            try:
                found = _lexicon(item.value, Sentences(Place(scope), messages))
            except Unresolved:
                # Known, so that its uses are not called unknown names; the file is refused already.
                found = ()
            else:
                if not found:
                    message = f"lexicon `{item.name.text}` is empty, so nothing could be found"
                    messages.error("P105", message, item.name.span)
            lexicons.setdefault(item.name.text, found)
    for definition in definitions.values():
        _check_definition(definition, scope, messages)
    return Scope(
        scope.levels,
        MappingProxyType(parameters),
        MappingProxyType(lexicons),
        MappingProxyType(definitions),
        MappingProxyType(declared),
        scope.imported,
    )


def _declared(module: ast.Module, messages: Messages) -> dict[str, Named]:
    declared: dict[str, Named] = {}
    for item in module.items:
        if not isinstance(item, _NAMED):
            continue
        name = item.name
        if name.text in SUBJECTS:
            messages.error("P104", f"`{name.text}` already means something in every policy", name.span)
        _once(name, declared.get(name.text), messages)
        declared.setdefault(name.text, item)
    return declared


def _once(name: ast.Name, before: Named | ast.Parameter | None, messages: Messages) -> None:
    if before is not None:
        first = Label(before.name.span, "first here")
        messages.error("P104", f"`{name.text}` is declared twice", name.span, secondary=(first,))


def _imported(module: ast.Module) -> frozenset[str]:
    """The first parts of the names that the imports of a file would bring."""
    roots: set[str] = set()
    for item in module.items:
        if isinstance(item, ast.ImportDecl):
            parts = item.name.text.split(".")
            roots |= {parts[0], parts[-1]} if item.alias is None else {item.alias.text}
    return frozenset(roots)


def _levels(module: ast.Module, messages: Messages) -> tuple[str, ...]:
    declared = [item for item in module.items if isinstance(item, ast.LevelsDecl)]
    for again in declared[1:]:
        first = Label(declared[0].span, "first here")
        messages.error("P104", "the levels are declared twice", again.span, secondary=(first,))
    if not declared:
        return DEFAULT_LEVELS
    seen: dict[str, Span] = {}
    for name in declared[0].levels:
        if name.text in seen:
            first = Label(seen[name.text], "first here")
            messages.error("P104", f"level `{name.text}` stands twice in the chain", name.span, secondary=(first,))
        seen.setdefault(name.text, name.span)
    return tuple(seen)


# ---------------------------------------------------------------------------------------------------- parameters
def _parameter(item: ast.ParamDecl, scope: Scope, messages: Messages) -> ParameterValue:
    kind = _type_name(item.type, messages)
    value: ParameterValue
    match kind, item.default:
        case "number", ast.Number() as number:
            value = float(number.amount)
        case "text", ast.Text(text):
            value = text
        case "boolean", ast.Bool(truth):
            value = truth
        case "list of text", ast.ListLiteral(items) if all(isinstance(i, (ast.Text, ast.Pattern)) for i in items):
            value = Sentences(Place(scope), messages).matchers(item.default)
        case _:
            raise messages.failure("P105", f"the value of `{item.name.text}` is not a {kind}", item.default.span)
    _check_allowed(item, value, messages)
    return value


def _type_name(type_: ast.TypeRef, messages: Messages) -> str:
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


def _check_allowed(item: ast.ParamDecl, value: ParameterValue, messages: Messages) -> None:
    match item.allowed:
        case ast.NumberRange(low, high):
            if not isinstance(value, float):
                raise messages.failure("P105", "only a number can lie between two numbers", item.allowed.span)
            if not low.amount <= value <= high.amount:
                message = f"the value of `{item.name.text}` lies outside its own range"
                raise messages.failure(
                    "P112", message, item.default.span, secondary=(Label(item.allowed.span, "the range"),)
                )
        case ast.Choices(options):
            if value not in [_choice(option, messages) for option in options.items]:
                message = f"the value of `{item.name.text}` is not one of its choices"
                raise messages.failure(
                    "P112", message, item.default.span, secondary=(Label(options.span, "the choices"),)
                )


def _choice(option: ast.Literal | ast.Path, messages: Messages) -> ParameterValue:
    match option:
        case ast.Number():
            return float(option.amount)
        case ast.Text(text):
            return text
    raise messages.failure("P105", "a choice is a number or a text", option.span)


# ------------------------------------------------------------------------------------------------------ lexicons
def _lexicon(value: ast.LexiconExpression, sentences: Sentences) -> tuple[Matcher, ...]:
    match value:
        case ast.ListLiteral() | ast.Path():
            return sentences.matchers(value)
        case ast.LexiconUnion(left, right):
            return tuple(dict.fromkeys((*_lexicon(left, sentences), *_lexicon(right, sentences))))
        case ast.LexiconDifference(left, right):
            kept, removed = _lexicon(left, sentences), _lexicon(right, sentences)
            for matcher in removed:
                if matcher not in kept:
                    what = f'"{matcher.text}"' if isinstance(matcher, Phrase) else f"/{matcher.source}/{matcher.flags}"
                    sentences.messages.error("P105", f"`{what}` is not there to be taken away", right.span)
            return tuple(matcher for matcher in kept if matcher not in removed)
        case ast.LexiconFile(path):
            raise sentences.messages.not_supported("lexicons in files are", path.span)


# --------------------------------------------------------------------------------------------------- definitions
def _check_definition(definition: ast.DefineDecl, scope: Scope, messages: Messages) -> None:
    """Resolves the body once with stand-ins, so that a mistake shows even where the definition is never used."""
    parameters = definition.parameters or ()
    seen: dict[str, ast.Parameter] = {}
    for parameter in parameters:
        if parameter.name.text in SUBJECTS:
            message = f"`{parameter.name.text}` already means something in every policy"
            messages.error("P104", message, parameter.name.span)
        _once(parameter.name, seen.get(parameter.name.text), messages)
        seen[parameter.name.text] = parameter
    try:
        choices = [_stand_ins(parameter, messages) for parameter in parameters]
    except Unresolved:
        return
    if prod(map(len, choices)) > MOST_STAND_INS:
        return
    first: Messages | None = None
    for values in product(*choices):
        attempt = Messages(unfolded=messages.unfolded, cyclic=messages.cyclic)
        bindings = {p.name.text: Binding(value, Place(scope)) for p, value in zip(parameters, values, strict=True)}
        try:
            Sentences(Place(scope, bindings, (definition.name.text,)), attempt).check(definition.body)
        except Unresolved:
            first = first or attempt
        else:
            return
        finally:
            messages.unfolded = attempt.unfolded
    # No kind of argument makes sense of the body; what is wrong with the first kind is as good as any.
    messages.found += [] if first is None else first.found


def _stand_ins(parameter: ast.Parameter, messages: Messages) -> tuple[ast.Expression, ...]:
    """What an argument may look like: the default value, or something of the declared type, or of any type."""
    span = parameter.span
    if parameter.default is not None:
        return (parameter.default,)
    kinds: Mapping[str, ast.Expression] = {
        "text": ast.Path("response", span),
        "number": ast.Number(1, False, span),
        "boolean": ast.Bool(True, span),
        "list of text": ast.ListLiteral((ast.Text("x", span),), span),
    }
    return tuple(kinds.values()) if parameter.type is None else (kinds[_type_name(parameter.type, messages)],)
