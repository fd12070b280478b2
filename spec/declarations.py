"""Resolving declarations: levels, imports, parameters, lexicons, concepts and definitions become a scope."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any

from bylaw.spec import ast, concepts, imports
from bylaw.spec.definitions import Binding, Place
from bylaw.spec.errors import Label
from bylaw.spec.expression import Concept, Matcher
from bylaw.spec.lexicons import lexicon
from bylaw.spec.loader import File, Refused
from bylaw.spec.parameters import parameter_value, type_name
from bylaw.spec.regulator import Suite
from bylaw.spec.scope import DEFAULT_LEVELS, SUBJECTS, Messages, Named, ParameterValue, Scope, Unresolved
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Span
from bylaw.spec.standing import price_of
from bylaw.spec.suites import resolve_suite

MOST_SCOPES = 400
"""How many files a policy may import, one with other values for its parameters counted again."""
MOST_STAND_INS = 64
"""A definition with more combinations of arguments of unknown type is checked only where it is used."""

_NAMED = (ast.ParamDecl, ast.LexiconDecl, ast.DefineDecl, ast.RuleDecl, ast.ConceptDecl)


@dataclass
class Library:
    """The scopes of imported files: one for each file and each set of values for its parameters."""

    scopes: dict[Hashable, Scope | None] = field(default_factory=dict)


def build_scope(
    file: File,
    messages: Messages,
    library: Library,
    values: Mapping[str, ParameterValue] = MappingProxyType({}),
    origin: str = "",
) -> Scope:
    """Everything that the sentences of a file may refer to. Records a diagnostic for what cannot be.

    `values` are those that an import gives to parameters of this file, `origin` what the file is called then.
    """
    return _Builder(file, messages, library, values, origin).scope()


@dataclass
class _Builder:
    """The tables of a scope while they grow: a lexicon may use those above it."""

    file: File
    messages: Messages
    library: Library
    values: Mapping[str, ParameterValue]
    origin: str
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    lexicons: dict[str, tuple[Matcher, ...]] = field(default_factory=dict)
    imports: dict[str, Scope | None] = field(default_factory=dict)
    concepts: dict[str, Concept] = field(default_factory=dict)
    suites: dict[str, Suite] = field(default_factory=dict)

    def scope(self) -> Scope:
        module = self.file.module
        declared = _declared(module, self.messages)
        definitions = {
            name: item for name, item in declared.items() if isinstance(item, ast.DefineDecl) and name not in SUBJECTS
        }
        scope = Scope(
            levels=_levels(module, self.messages),
            prices=MappingProxyType(_prices(module, self.messages)),
            parameters=MappingProxyType(self.parameters),
            lexicons=MappingProxyType(self.lexicons),
            definitions=MappingProxyType(definitions),
            declared=MappingProxyType(declared),
            imports=MappingProxyType(self.imports),
            concepts=MappingProxyType(self.concepts),
            suites=MappingProxyType(self.suites),
            origin=self.origin,
        )
        self._parameters(scope, lambda item: not _has_names(item.default))
        for item, file in self.file.imports:
            self._import(item, file, scope)
        self._parameters(scope, lambda item: _has_names(item.default))
        self._lexicons(scope)
        self._concepts(scope)
        if not self.file.is_library:  # its definitions are checked where bylaw is tested
            for definition in definitions.values():
                _check_definition(definition, scope, self.messages)
        self._suites()
        return scope

    def _parameters(self, scope: Scope, is_meant: Callable[[ast.ParamDecl], bool]) -> None:
        for item in self._items(ast.ParamDecl):
            if not is_meant(item):
                continue
            try:
                own = parameter_value(item, item.default, scope, self.messages)
            except Unresolved:
                continue
            self.parameters.setdefault(item.name.text, self.values.get(item.name.text, own))

    def _lexicons(self, scope: Scope) -> None:
        for item in self._items(ast.LexiconDecl):
            try:
                found = lexicon(item, Sentences(Place(scope), self.messages), self.file.folder)
            except Unresolved:
                found = ()  # known, so that its uses are not called unknown names; the file is refused already
            self.lexicons.setdefault(item.name.text, found)

    def _concepts(self, scope: Scope) -> None:
        for item in self._items(ast.ConceptDecl):
            self.concepts.setdefault(item.name.text, concepts.concept(item, scope, self.messages))

    def _suites(self) -> None:
        """Own suites, and those of imports under their dotted names."""
        for item in self._items(ast.SuiteDecl):
            if item.name.text in self.suites:
                self.messages.error("P104", f"`{item.name.text}` is declared twice", item.name.span)
            self.suites[item.name.text] = resolve_suite(item, self._read, self.messages)
        for alias, scope in self.imports.items():
            for name, suite in () if scope is None else scope.suites.items():
                if "." not in name:  # those of its own imports are found by `Scope.suite`
                    self.suites[f"{alias}.{name}"] = replace(suite, name=f"{alias}.{name}")

    def _read(self, path: ast.Text) -> str | None:
        """The text of a file beside the policy; None after P119."""
        try:
            if self.file.folder is None:
                raise Refused("this policy is a text without a folder", "write the policy to a file beside it")
            return self.file.folder.read(path.value)[0].removeprefix("\ufeff")
        except Refused as refused:
            message = f"`{path.value}` cannot be used: {refused.reason}"
            self.messages.error("P119", message, path.span, notes=refused.notes)
            return None

    def _items(self, kind: type[Any]) -> Iterator[Any]:
        return (item for item in self.file.module.items if isinstance(item, kind))

    # ------------------------------------------------------------------------------------------------- imports
    def _import(self, item: ast.ImportDecl, file: File | None, scope: Scope) -> None:
        names = imports.names(item)
        imports.check_names(item, self.file, self.messages)
        imported: Scope | None = None
        if file is not None:
            try:
                imports.check_version(item, file, self.messages)
                values = imports.bindings(item, file, scope, self.messages)
                imported = self._scope_of(item, file, values)
            except Unresolved:
                imported = None
        for name in names:
            self.imports.setdefault(name, imported)

    def _scope_of(self, item: ast.ImportDecl, file: File, values: Mapping[str, ParameterValue]) -> Scope | None:
        """The scope of an imported file. Records P115 where the file has mistakes of its own."""
        key = (file.key, tuple(sorted(values.items())))
        if key not in self.library.scopes:
            if len(self.library.scopes) >= MOST_SCOPES:
                note = f"a policy may use its files with at most {MOST_SCOPES} sets of values, all files together"
                message = f"`{item.name.text}` is imported with too many different values"
                raise self.messages.failure("P006", message, item.name.span, notes=(note,))
            attempt = self.messages.child()
            header = file.module.header
            origin = item.name.text if header is None else header.name.text
            scope = build_scope(file, attempt, self.library, values, origin)
            self.messages.adopt(attempt, errors_only=True)
            self.library.scopes[key] = scope if imports.report_unsound(item, attempt, self.messages) else None
        elif self.library.scopes[key] is None:
            imports.report_unsound(item, None, self.messages)
        return self.library.scopes[key]


def _has_names(value: ast.Literal) -> bool:
    return isinstance(value, ast.ListLiteral) and any(isinstance(item, ast.Path) for item in value.items)


def _declared(module: ast.Module, messages: Messages) -> dict[str, Named]:
    declared: dict[str, Named] = {}
    for item in module.items:
        if not isinstance(item, _NAMED):
            continue
        name = item.name
        if name.text in SUBJECTS or name.text == "it":
            messages.error("P104", f"`{name.text}` already means something in every policy", name.span)
        _once(name, declared.get(name.text), messages)
        declared.setdefault(name.text, item)
    return declared


def _once(name: ast.Name, before: Named | ast.Parameter | None, messages: Messages) -> None:
    if before is not None:
        first = Label(before.name.span, "first here")
        messages.error("P104", f"`{name.text}` is declared twice", name.span, secondary=(first,))


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


def _prices(module: ast.Module, messages: Messages) -> dict[str, float]:
    """What limits of each level may cost at most, by level; a price that makes no sense is left out (P209)."""
    found: dict[str, float] = {}
    for price in (each for item in module.items if isinstance(item, ast.LevelsDecl) for each in item.prices):
        with suppress(Unresolved):
            found[price.level] = price_of(price, messages)
    return found


# --------------------------------------------------------------------------------------------------- definitions
def _check_definition(definition: ast.DefineDecl, scope: Scope, messages: Messages) -> None:
    """Resolves the body once with stand-ins, so that a mistake shows even where the definition is never used."""
    parameters = definition.parameters or ()
    try:
        check_parameters(parameters, messages)
        choices = [_stand_ins(parameter, messages) for parameter in parameters]
    except Unresolved:
        return
    if prod(map(len, choices)) > MOST_STAND_INS:
        return
    first: Messages | None = None
    for values in product(*choices):
        attempt = messages.child()
        bindings = {p.name.text: Binding(value, Place(scope)) for p, value in zip(parameters, values, strict=True)}
        try:
            place = Place(scope, bindings, (scope.full_name(definition.name.text),))
            Sentences(place, attempt).check(definition.body)
        except Unresolved:
            first = first or attempt
        else:
            return
        finally:
            messages.unfolded = attempt.unfolded
    # No kind of argument makes sense of the body; what is wrong with the first kind is as good as any.
    messages.found += [] if first is None else first.found


def check_parameters(parameters: tuple[ast.Parameter, ...], messages: Messages) -> None:
    """Records P104 for names that mean something else already."""
    seen: dict[str, ast.Parameter] = {}
    for parameter in parameters:
        if parameter.name.text in SUBJECTS or parameter.name.text == "it":
            message = f"`{parameter.name.text}` already means something in every policy"
            messages.error("P104", message, parameter.name.span)
        _once(parameter.name, seen.get(parameter.name.text), messages)
        seen[parameter.name.text] = parameter


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
    return tuple(kinds.values()) if parameter.type is None else (kinds[type_name(parameter.type, messages)],)
