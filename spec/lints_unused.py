"""Lint of declarations that nothing uses: P605."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity

_Named: TypeAlias = ast.LexiconDecl | ast.DefineDecl | ast.ParamDecl | ast.ConceptDecl

_KINDS: Mapping[type, str] = MappingProxyType(
    {ast.LexiconDecl: "lexicon", ast.DefineDecl: "definition", ast.ParamDecl: "parameter", ast.ConceptDecl: "concept"}
)
_ABOUT_RULES = (ast.ExamplesDecl, ast.TestDecl, ast.Example)
"""What shows what rules say; the tools that it names are no declarations."""


def unused(module: ast.Module) -> Iterator[Diagnostic]:
    """P605: yield a warning for each declaration that no rule comes to, through others or itself.

    A file without rules of its own in force is for other files to import, so nothing is said of it. Nor is of suites,
    which prompts of a run are taken from, and of what is deprecated, which is there for other files.
    """
    if not any(map(_is_in_force, module.items)):
        return
    declared: dict[str, _Named] = {}
    for item in module.items:
        if isinstance(item, _Named):
            declared.setdefault(item.name.text, item)
    uses = {name: names_in(item) for name, item in declared.items()}
    waiting = [name for item in module.items if not isinstance(item, _Named) for name in names_in(item)]
    waiting += [name for name, item in declared.items() if _is_deprecated(item)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in uses and name not in seen:
            seen.add(name)
            waiting += uses[name]
    for name, item in declared.items():
        if name not in seen:
            users = [user for user, names in uses.items() if name in names and user != name]
            yield _warning(item, users)


def _is_in_force(item: ast.Item) -> bool:
    """Whether an item puts rules in force."""
    match item:
        case ast.RuleDecl(parameters=parameters):
            return parameters is None
        case ast.ImportDecl(is_include=is_include):
            return is_include
    return isinstance(item, ast.ApplyDecl)


def _is_deprecated(item: _Named) -> bool:
    return any(annotation.name.text == "deprecated" for annotation in item.annotations)


def names_in(item: ast.Item) -> frozenset[str]:
    """The names that a declaration uses. One that is hidden by a parameter counts as used: better silent than wrong."""
    found: set[str] = set()
    waiting: list[ast.Node] = [item]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _ABOUT_RULES):
            continue
        if isinstance(node, ast.Path):
            found.add(node.text)
        given = (getattr(node, "name", None), getattr(node, "alias", None))
        for child in ast.children(node):
            if not isinstance(child, ast.Name):
                waiting.append(child)
            elif not any(child is each for each in given):
                found.add(child.text)
    return frozenset(found)


def _warning(item: _Named, users: list[str]) -> Diagnostic:
    kind = "topic" if isinstance(item, ast.ConceptDecl) and item.is_topic else _KINDS[type(item)]
    named = " and ".join(f"`{user}`" for user in users)
    note = f"only {named} {'names' if len(users) == 1 else 'name'} it, and no rule comes to {named}" if users else ""
    return Diagnostic(
        "P605",
        Severity.WARNING,
        f"no rule uses the {kind} `{item.name.text}`",
        Label(item.name.span),
        notes=(note,) if users else (),
        fix=Fix("delete it, or use it in a rule"),
    )
