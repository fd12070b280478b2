"""Leaving out declarations that nothing comes to any more."""

from __future__ import annotations

from collections.abc import Iterable

from bylaw.spec import ast, imports, templates

_IN_FORCE = (ast.ExceptionDecl, ast.ApplyDecl, ast.LevelsDecl)


def pruned(module: ast.Module) -> ast.Module:
    """The module without parameters, lexicons, definitions, concepts, suites, imports and rules with parameters that no
    rule in force comes to, by itself or through others."""
    kept = [item for item in module.items if _is_in_force(item)]
    rest = [item for item in module.items if not _is_in_force(item)]
    while True:
        named = _names(kept)
        found = [item for item in rest if _is_named(item, named)]
        if not found:
            break
        kept += found
        rest = [item for item in rest if item not in found]
    return module.changed(items=tuple(item for item in module.items if item in kept))


def _is_in_force(item: ast.Item) -> bool:
    if isinstance(item, ast.RuleDecl):
        return not templates.is_template(item)
    if isinstance(item, ast.ImportDecl):
        return item.is_include
    return isinstance(item, _IN_FORCE)


def _names(items: Iterable[ast.Item]) -> frozenset[str]:
    """Every name that stands in some declarations, apart from the names that they give."""
    found: set[str] = set()
    for item in items:
        given = id(getattr(item, "name", None))
        for node in ast.walk(item):
            if isinstance(node, (ast.Name, ast.Path)) and id(node) != given:
                found.add(node.text)
    return frozenset(found)


def _is_named(item: ast.Item, named: frozenset[str]) -> bool:
    if isinstance(item, ast.ImportDecl):
        return any(name.startswith(f"{alias}.") for alias in imports.names(item) for name in named)
    name = getattr(item, "name", None)
    return isinstance(name, ast.Name) and name.text in named
