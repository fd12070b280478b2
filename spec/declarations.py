"""Resolving declarations: levels, parameters, lexicons and definitions become the scope of a file."""

from __future__ import annotations

from typing import cast

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Label
from bylaw.spec.expression import Matcher
from bylaw.spec.scope import DEFAULT_LEVELS, SUBJECTS, Messages, ParameterValue, Scope, Unresolved
from bylaw.spec.sentences import Binding, Sentences
from bylaw.spec.source import Span

PARAMETER_TYPES = ("number", "text", "boolean", "list of text")


def build_scope(module: ast.Module, messages: Messages) -> Scope:
    """Everything that the sentences of a file may refer to. Records a diagnostic for what cannot be."""
    spans = _unique_names(module, messages)
    levels = _levels(module, messages)
    scope = Scope(levels, {}, {}, {}, spans)
    parameters: dict[str, ParameterValue] = {}
    for item in module.items:
        if isinstance(item, ast.ParamDecl):
            value = _parameter(item, scope, messages)
            if value is not None:
                parameters[item.name.text] = value
    definitions = {item.name.text: item for item in module.items if isinstance(item, ast.DefineDecl)}
    scope = Scope(levels, parameters, {}, definitions, spans)
    lexicons: dict[str, tuple[Matcher, ...]] = {}
    for item in module.items:
        if isinstance(item, ast.LexiconDecl):
            try:
                # A lexicon may use those above it.
                scope = Scope(levels, parameters, dict(lexicons), definitions, spans)
                lexicons[item.name.text] = _lexicon(item.value, Sentences(scope, messages, {}))
            except Unresolved:
                # Known but empty would match nothing; a name that stands for nothing keeps its uses quiet.
                lexicons[item.name.text] = ()
                continue
            if not lexicons[item.name.text]:
                messages.error("P105", f"lexicon `{item.name.text}` is empty, so nothing could be found", item.span)
    scope = Scope(levels, parameters, lexicons, definitions, spans)
    for definition in definitions.values():
        _check_definition(definition, scope, messages)
    return scope


def _unique_names(module: ast.Module, messages: Messages) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    for item in module.items:
        if not isinstance(item, (ast.ParamDecl, ast.LexiconDecl, ast.DefineDecl, ast.RuleDecl, ast.ConceptDecl)):
            continue
        name = item.name
        if name.text in spans:
            messages.error("P104", f"`{name.text}` is declared twice", name.span, secondary=(Label(spans[name.text], "first here"),))
        elif name.text in SUBJECTS:
            messages.error("P104", f"`{name.text}` already means something in every policy", name.span)
        spans.setdefault(name.text, name.span)
    return spans


def _levels(module: ast.Module, messages: Messages) -> tuple[str, ...]:
    declared = [item for item in module.items if isinstance(item, ast.LevelsDecl)]
    for again in declared[1:]:
        messages.error("P104", "the levels are declared twice", again.span, secondary=(Label(declared[0].span, "first here"),))
    if not declared:
        return DEFAULT_LEVELS
    seen: dict[str, Span] = {}
    for name in declared[0].levels:
        if name.text in seen:
            messages.error("P104", f"level `{name.text}` stands twice in the chain", name.span, secondary=(Label(seen[name.text], "first here"),))
        seen.setdefault(name.text, name.span)
    return tuple(seen)


def _parameter(item: ast.ParamDecl, scope: Scope, messages: Messages) -> ParameterValue | None:
    kind = item.type.name.text if item.type.element is None else f"{item.type.name.text} of {item.type.element.text}"
    value: ParameterValue
    match kind, item.default:
        case "number", ast.Number() as number:
            value = float(number.amount)
        case "text", ast.Text(text):
            value = text
        case "boolean", ast.Bool(truth):
            value = truth
        case "list of text", ast.ListLiteral() as items:
            try:
                value = Sentences(scope, messages, {}).matchers(items)
            except Unresolved:
                return None
        case _ if kind not in PARAMETER_TYPES:
            nearest = catalog.nearest(kind, PARAMETER_TYPES)
            hint = () if nearest is None else (f"did you mean `{nearest}`?",)
            messages.error("P105", f"there is no type called `{kind}`", item.type.span, notes=(f"types are {', '.join(PARAMETER_TYPES)}", *hint))
            return None
        case _:
            messages.error("P105", f"the value of `{item.name.text}` is not a {kind}", item.default.span)
            return None
    _check_allowed(item, value, messages)
    return value


def _check_allowed(item: ast.ParamDecl, value: ParameterValue, messages: Messages) -> None:
    match item.allowed:
        case ast.NumberRange(low, high):
            if not isinstance(value, float):
                messages.error("P105", "only a number can lie between two numbers", item.allowed.span)
            elif not low.amount <= value <= high.amount:
                messages.error("P112", f"the value of `{item.name.text}` lies outside its own range", item.default.span, secondary=(Label(item.allowed.span, "the range"),))
        case ast.Choices(options):
            allowed = [option.value for option in options.items if isinstance(option, (ast.Text, ast.Bool, ast.Number))]
            if value not in allowed:
                messages.error("P112", f"the value of `{item.name.text}` is not one of its choices", item.default.span, secondary=(Label(options.span, "the choices"),))


def _lexicon(value: ast.LexiconExpression, sentences: Sentences) -> tuple[Matcher, ...]:
    match value:
        case ast.ListLiteral() | ast.Path():
            return sentences.matchers(value)
        case ast.LexiconUnion(left, right):
            return tuple(dict.fromkeys((*_lexicon(left, sentences), *_lexicon(right, sentences))))
        case ast.LexiconDifference(left, right):
            removed = set(_lexicon(right, sentences))
            return tuple(matcher for matcher in _lexicon(left, sentences) if matcher not in removed)
        case ast.LexiconFile(path):
            sentences.messages.not_supported("lexicons in files are", path.span)
            raise Unresolved


def _check_definition(definition: ast.DefineDecl, scope: Scope, messages: Messages) -> None:
    """Resolves the body once with stand-ins, so that a mistake shows even where the definition is never used."""
    stand_ins: dict[str, Binding] = {}
    for parameter in definition.parameters or ():
        kind = "text" if parameter.type is None else parameter.type.name.text
        value: ast.Expression = (
            ast.Number(1, False, parameter.span) if kind == "number" else ast.Path("response", parameter.span)
        )
        if parameter.default is not None:
            value = cast(ast.Expression, parameter.default)
        stand_ins[parameter.name.text] = Binding(value, {})
    sentences = Sentences(scope, messages, stand_ins, (definition.name.text,))
    is_number = isinstance(definition.body, (ast.Number, ast.Arithmetic, ast.Negate, ast.NumberOf, ast.ScoreOf))
    try:
        if is_number:
            sentences.number(definition.body)
        elif not isinstance(definition.body, (ast.Path, ast.Call)):
            # What a bare name stands for is checked where it is used.
            sentences.truth(definition.body)
    except Unresolved:
        return
