"""Parameters that stay open: a policy in which a parameter is a fact, so that its value is a variable of the proofs.

Resolving puts the value of a parameter in the place of its name. Here the name is replaced before that by the name of a
fact that no policy can write; where only a number that is known beforehand will do, resolving then fails, and nothing
is proved about that parameter.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bylaw.spec import ast

_PREFIX = "meta.parameter:"


def fact_of(parameter: str) -> str:
    """The path of the fact that stands for a parameter."""
    return _PREFIX + parameter


def parameter_of(path: str) -> str:
    """The name of the parameter for which a fact stands, or that of the fact."""
    return path.removeprefix(_PREFIX)


def limits_of(module: ast.Module) -> dict[str, tuple[float, float]]:
    """(least, greatest) value of each number among the parameters that has a range."""
    return {
        item.name.text: (float(item.allowed.low.amount), float(item.allowed.high.amount))
        for item in module.items
        if isinstance(item, ast.ParamDecl) and isinstance(item.allowed, ast.NumberRange)
    }


def with_facts(module: ast.Module, parameters: Collection[str]) -> ast.Module:
    """The policy with facts in the place of these parameters, also inside its definitions."""
    found = _replaced(module, frozenset(parameters))
    assert isinstance(found, ast.Module)
    return found


def _replaced(value: Any, parameters: frozenset[str]) -> Any:
    if isinstance(value, tuple):
        changed = tuple(_replaced(item, parameters) for item in value)
        return value if all(map(_is, changed, value)) else changed
    if isinstance(value, ast.Path):
        return ast.Path(fact_of(value.text), value.span) if value.text in parameters else value
    if not isinstance(value, ast.Node) or isinstance(value, ast.ParamDecl):
        return value
    if isinstance(value, ast.RuleDecl | ast.DefineDecl):  # their own parameters hide others of the same name
        parameters -= {own.name.text for own in value.parameters or ()}
    fields = {name: _replaced(getattr(value, name), parameters) for name in value.__match_args__}
    news = {name: field for name, field in fields.items() if field is not getattr(value, name)}
    return value.changed(**news) if news else value


def _is(one: object, other: object) -> bool:
    return one is other
