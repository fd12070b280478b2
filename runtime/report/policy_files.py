"""The files of a policy as their authors wrote them: which declaration a name means, and its words.

For documents, which show what an imported file or a rule with parameters says where it is put to use.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from bylaw.compiler.pipeline import Compiled
from bylaw.spec import ast, catalog, imports
from bylaw.spec.lints_silence import comments
from bylaw.spec.lints_unused import names_in
from bylaw.spec.loader import File, load
from bylaw.spec.parser import parse
from bylaw.spec.source import Source, Span

Vocabulary: TypeAlias = ast.LexiconDecl | ast.DefineDecl | ast.ParamDecl | ast.ConceptDecl
InForce: TypeAlias = ast.RuleDecl | ast.ExceptionDecl | ast.ApplyDecl
Norms: TypeAlias = (
    ast.Norm | ast.LimitRate | ast.LimitAverage | ast.PreferHigher | ast.PreferLower | ast.PreferNear | ast.PreferOrder
)

_LOOSE = (ast.Or, ast.And, ast.Not, ast.Compare, ast.Claim, ast.Arithmetic)
"""What needs brackets where it takes the place of a name."""
_NO_VALUES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration, its file, and what stands before its name in the main file: `text.` or nothing.

    `value` is what an import gives to a parameter, as written there.
    """

    item: ast.Item
    file: File
    prefix: str = ""
    value: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells declarations apart."""
        return self.prefix, self.item.span.start


@dataclass(frozen=True, slots=True)
class Said:
    """What a rule or an exception says: where it counts and what it demands; `origin` is the rule that is applied,
    with its arguments."""

    where: tuple[str, ...]
    sentences: tuple[str, ...]
    origin: str | None = None


class PolicyFiles:
    """The main file of a sound policy with all that it imports."""

    def __init__(self, compiled: Compiled) -> None:
        """Read the imported files again: the stages of a policy keep their texts, not their trees."""
        main = compiled.source
        text = main.text[: main.whole.end]
        loaded = load(parse(Source(main.path, text)), Path(main.path))
        self.main = loaded.main
        self._text = loaded.source.text
        self._comments = tuple(comments(loaded.source))
        self._comment_starts = [span.start for span in self._comments]
        self._tables: dict[str, dict[str, ast.Item]] = {}
        self._given_by_imports: dict[str, dict[str, str]] = {}
        self._units = frozenset(catalog.names("units"))
        self.in_force: dict[str, Declared] = {}
        self._admit(self.main, "", set())

    def _admit(self, file: File, prefix: str, seen: set[str]) -> None:
        """Notes the rules and exceptions of a file in force, and of what it includes."""
        seen.add(file.key)
        for item in file.module.items:
            if isinstance(item, ast.RuleDecl | ast.ExceptionDecl):
                self.in_force[prefix + item.name.text] = Declared(item, file, prefix)
            elif isinstance(item, ast.ApplyDecl):
                name = item.alias or item.template
                self.in_force[prefix + name.text.rpartition(".")[2]] = Declared(item, file, prefix)
        for declared, other in file.imports:
            if declared.is_include and other is not None and other.key not in seen:
                self._admit(other, self._prefix(declared, prefix), seen)

    # ------------------------------------------------------------------------------------------------------ names
    def find(self, name: str, file: File, prefix: str) -> Declared | None:
        """What a plain or dotted name means in a file: a rule, a lexicon, a definition, a parameter or a concept."""
        if "." not in name:
            item = self._table(file).get(name)
            value = self._given_by_imports.get(prefix, {}).get(name)
            return None if item is None else Declared(item, file, prefix, value)
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            alias, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
            for declared, other in file.imports:
                if alias in imports.names(declared) and other is not None:
                    return self.find(rest, other, self._prefix(declared, prefix))
        return None

    def _prefix(self, declared: ast.ImportDecl, prefix: str) -> str:
        """What stands before the names of an imported file; notes the values that the import gives."""
        inner = f"{prefix}{imports.names(declared)[0]}."
        if inner not in self._given_by_imports:
            self._given_by_imports[inner] = {each.name.text: self.words(each.value.span) for each in declared.bindings}
        return inner

    def _table(self, file: File) -> dict[str, ast.Item]:
        if file.key not in self._tables:
            named = [item for item in file.module.items if isinstance(item, ast.RuleDecl | Vocabulary)]
            self._tables[file.key] = {item.name.text: item for item in named}
        return self._tables[file.key]

    def vocabulary(self) -> Iterator[Declared]:
        """What rules in force use of the lexicons, definitions, parameters and concepts of other files."""
        own = [Declared(item, self.main) for item in self.main.module.items]
        waiting = [*own, *self.in_force.values()]
        seen = {each.key for each in own}
        found: list[Declared] = []
        while waiting:
            user = waiting.pop()
            waiting += self._defaults(user)
            for name in _names_used(user.item):
                used = self.find(name, user.file, user.prefix)
                if used is not None and used.key not in seen:
                    seen.add(used.key)
                    waiting.append(used)
                    if isinstance(used.item, Vocabulary):
                        found.append(used)
        yield from sorted(found, key=lambda each: each.key)

    def _defaults(self, declared: Declared) -> list[Declared]:
        """The parameters that an application leaves at their default values, as rules that use these and no more."""
        if not isinstance(declared.item, ast.ApplyDecl):
            return []
        template = self.find(declared.item.template.text, declared.file, declared.prefix)
        if template is None or not isinstance(template.item, ast.RuleDecl):
            return []
        given = self._given(template.item, declared.item)
        left = [each.default for each in template.item.parameters or () if each.name.text not in given]
        clauses = tuple(each for each in left if each is not None)
        return [replace(template, item=template.item.changed(parameters=None, clauses=clauses))]

    # ------------------------------------------------------------------------------------------------------ words
    def words(self, span: Span, changes: Mapping[Span, str] = MappingProxyType({})) -> str:
        """The words of a span on one line: without comments, and with other words for some spans inside it."""
        first = bisect_left(self._comment_starts, span.start)
        last = bisect_left(self._comment_starts, span.end)
        cuts = [*((each, " ") for each in self._comments[first:last]), *changes.items()]
        parts, position = [], span.start
        for cut, word in sorted(cuts):
            parts += [self._text[position : cut.start], word]
            position = cut.end
        return " ".join("".join([*parts, self._text[position : span.end]]).split())

    def phrase(self, node: ast.Node, declared: Declared, values: Mapping[str, str] = _NO_VALUES) -> str:
        """The words of a part of a declaration: values in place of parameters, names as the main file has them."""
        local = _parameters(declared.item)
        changes: dict[Span, str] = {}
        for each in ast.walk(node):
            if not isinstance(each, ast.Path | ast.Name):
                continue
            name = each.text
            if isinstance(each, ast.Name) and name in self._units:
                continue
            if name in values:
                changes[each.span] = values[name]
            elif declared.prefix and name not in local:
                used = self.find(name, declared.file, declared.prefix)
                if used is not None and isinstance(used.item, Vocabulary):
                    changes[each.span] = used.prefix + used.item.name.text
        return self.words(node.span, changes)

    def said(self, name: str) -> Said:
        """What the rule or exception of this name says."""
        declared = self.in_force.get(name)
        if declared is None:
            return Said((), ())
        if not isinstance(declared.item, ast.ApplyDecl):
            return self._said(declared, _NO_VALUES, None)
        apply = declared.item
        template = self.find(apply.template.text, declared.file, declared.prefix)
        if template is None or not isinstance(template.item, ast.RuleDecl):
            return Said((), (self.words(apply.span),))
        values = self._values(template, declared, apply)
        given = [f"{each} = {value}" for each, value in values.items()]
        given += [] if apply.weight is None else [self.words(apply.weight.span)]
        origin = f"{template.prefix}{template.item.name.text}"
        return self._said(template, values, f"{origin} with {', '.join(given)}" if given else origin)

    def _said(self, declared: Declared, values: Mapping[str, str], origin: str | None) -> Said:
        assert isinstance(declared.item, ast.RuleDecl | ast.ExceptionDecl)
        clauses = declared.item.clauses
        where = [self.phrase(each, declared, values) for each in clauses if isinstance(each, ast.When | ast.Unless)]
        sentences = [self.phrase(each, declared, values) for each in clauses if isinstance(each, Norms)]
        return Said(tuple(where), tuple(dict.fromkeys(sentences)), origin)

    def _values(self, template: Declared, declared: Declared, apply: ast.ApplyDecl) -> Mapping[str, str]:
        """The arguments of an application in words, those left out with their default values."""
        assert isinstance(template.item, ast.RuleDecl)
        given = self._given(template.item, apply)
        values: dict[str, str] = {}
        for parameter in template.item.parameters or ():
            name = parameter.name.text
            if name in given:
                values[name] = self._value(given[name], declared)
            elif parameter.default is not None:
                values[name] = self._value(parameter.default, template)
        return values

    def _given(self, template: ast.RuleDecl, apply: ast.ApplyDecl) -> Mapping[str, ast.Expression]:
        """The arguments of an application by the names of the parameters."""
        names = [each.name.text for each in template.parameters or ()]
        pairs = zip(names, apply.arguments, strict=False)
        return {name if given.name is None else given.name.text: given.value for name, given in pairs}

    def _value(self, value: ast.Expression, declared: Declared) -> str:
        words = self.phrase(value, declared)
        return f"({words})" if isinstance(value, _LOOSE) else words


def _names_used(item: ast.Item) -> frozenset[str]:
    """The names that a declaration uses, but for default values of a rule's parameters: arguments may replace them."""
    body = item.changed(parameters=None) if isinstance(item, ast.RuleDecl) else item
    return names_in(body) - _parameters(item)


def _parameters(item: ast.Item) -> frozenset[str]:
    """The names that mean something inside a declaration only."""
    return frozenset(each.name.text for each in getattr(item, "parameters", None) or ())
