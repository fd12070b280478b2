"""Writing out a rule that `apply` makes: arguments in place of parameters, and names of another file in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bylaw.spec import ast, catalog
from bylaw.spec.templates import Application

_LISTED = frozenset({"counted", "tools"})
"""Fields in which a name may be that of a list."""
_DECLARED = _LISTED | {"function", "concept", "topic", "property", "suite"}
"""Fields in which a name may be that of something declared."""


def cannot_inline(applied: Application) -> str | None:
    """Why a rule that is applied cannot be written out in full; None where it can."""
    prefix = _prefix(applied)
    if not prefix:
        return None
    if any(isinstance(clause, ast.Overrides) for clause in applied.rule.clauses):
        return f"it overrides rules of `{prefix}` under their names there"
    foreign = set(applied.home.imports)
    for clause in applied.rule.clauses:
        for node in ast.walk(clause):
            if isinstance(node, (ast.Path, ast.Name)) and node.text.split(".")[0] in foreign and "." in node.text:
                return f"it uses `{node.text}`, which only `{prefix}` knows"
    return None


def inlined(applied: Application, rule: ast.RuleDecl) -> ast.RuleDecl:
    """The rule with arguments for parameters. `rule` is the instance, with its own name and level."""
    prefix = _prefix(applied)
    own = frozenset(applied.home.declared) if prefix else frozenset()
    values: dict[str, ast.Node] = {}
    for parameter in applied.rule.parameters or ():
        if parameter.default is not None:
            values[parameter.name.text] = _rewritten(parameter.default, {}, own, prefix)
    parameters = [parameter.name.text for parameter in applied.rule.parameters or ()]
    for place, argument in enumerate(applied.item.arguments):
        name = parameters[place] if argument.name is None else argument.name.text
        values[name] = argument.value
    clauses = tuple(_rewritten(clause, values, own - values.keys(), prefix) for clause in rule.clauses)
    return rule.changed(clauses=clauses, annotations=applied.item.annotations)


def _prefix(applied: Application) -> str:
    """What the file of the template is called in the file that applies it; nothing for the same file."""
    return applied.item.template.text.rpartition(".")[0]


def _rewritten(node: Any, values: Mapping[str, ast.Node], own: frozenset[str], prefix: str, field: str = "") -> Any:
    """Parameters replaced by their values, and names of the template's file by their full names.

    A name that is no expression, such as that of a unit, is one of these only in some `field`s.
    """
    if isinstance(node, tuple):
        return tuple(_rewritten(each, values, own, prefix, field) for each in node)
    is_unit = field == "counted" and isinstance(node, ast.Name) and node.text in catalog.names("units")
    if isinstance(node, ast.Path) or (isinstance(node, ast.Name) and field in _DECLARED and not is_unit):
        if node.text in values and (isinstance(node, ast.Path) or field in _LISTED):
            value = values[node.text]
            return ast.Name(value.text, value.span) if isinstance(value, ast.Path) and field in _LISTED else value
        return node.changed(text=f"{prefix}.{node.text}") if node.text.split(".")[0] in own else node
    if not isinstance(node, ast.Node) or isinstance(node, ast.Name):
        return node
    changed = {
        name: new
        for name in node.__match_args__
        if name != "span" and (new := _rewritten(old := getattr(node, name), values, own, prefix, name)) is not old
    }
    return node.changed(**changed) if any(new != getattr(node, name) for name, new in changed.items()) else node
