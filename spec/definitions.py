"""Unfolding definitions: what a name stands for, with the arguments of a use bound to the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bylaw.spec import ast
from bylaw.spec.errors import Label
from bylaw.spec.scope import DEEPEST_UNFOLDING, Messages, Scope, Unresolved


@dataclass(frozen=True)
class Binding:
    """An argument of a definition, together with what could be seen where it was written."""

    value: ast.Expression
    place: Place


@dataclass(frozen=True)
class Place:
    """Where a sentence stands: in which file (`scope`), inside which definitions, with which arguments."""

    scope: Scope
    bindings: Mapping[str, Binding] = field(default_factory=lambda: MappingProxyType({}))
    unfolding: tuple[str, ...] = ()
    depth: int = 0

    def deeper(self, depth: int) -> Place:
        """The same place, reached from a sentence that is already `depth` deep."""
        return self if depth <= self.depth else replace(self, depth=depth)


def unfold(expression: ast.Path | ast.Call, place: Place, messages: Messages) -> tuple[ast.Expression, Place] | None:
    """The body of a definition, or the argument that a name is bound to, and where it stands; None for other names.

    Raises Unresolved for a definition that uses itself (P109), wrong arguments (P110) and definitions that nest too
    deeply or grow too large (P006).
    """
    name = expression.function if isinstance(expression, ast.Call) else ast.Name(expression.text, expression.span)
    bound = place.bindings.get(name.text)
    if bound is not None and isinstance(expression, ast.Path):
        return bound.value, bound.place.deeper(place.depth)
    found = place.scope.definition(name.text)
    if found is None:
        return None
    home, definition = found
    key = home.full_name(definition.name.text)
    if key in messages.cyclic:
        raise Unresolved
    if key in place.unfolding:
        circle = place.unfolding[place.unfolding.index(key) :]
        messages.cyclic.update(circle)
        note = " -> ".join((*circle, key))
        raise messages.failure("P109", f"`{name.text}` is defined by itself", name.span, notes=(note,))
    parts, height = _size(definition.body)
    messages.count_unfolding(definition, parts)
    if place.depth + height > DEEPEST_UNFOLDING:
        note = f"definitions may nest {DEEPEST_UNFOLDING} deep, counted in the parts of their sentences"
        raise messages.failure("P006", f"`{name.text}` is nested too deeply", name.span, notes=(note,))
    bindings = _bind(definition, expression, place, home, messages)
    return definition.body, Place(home, bindings, (*place.unfolding, key), place.depth + height)


def _bind(
    definition: ast.DefineDecl, use: ast.Path | ast.Call, place: Place, home: Scope, messages: Messages
) -> dict[str, Binding]:
    parameters = definition.parameters or ()
    known = [parameter.name.text for parameter in parameters]
    bound: dict[str, Binding] = {}
    for position, argument in enumerate(use.arguments if isinstance(use, ast.Call) else ()):
        positional = known[position] if position < len(known) else ""
        name = positional if argument.name is None else argument.name.text
        if name not in known or name in bound:
            raise messages.failure(
                "P110",
                f"`{definition.name.text}` has no place for this argument",
                argument.span,
                secondary=(Label(definition.name.span, "defined here"),),
                notes=(f"it takes {', '.join(f'`{each}`' for each in known) or 'no arguments'}",),
            )
        bound[name] = Binding(argument.value, place)
    for parameter in parameters:
        if parameter.name.text in bound:
            continue
        if parameter.default is None:
            raise messages.failure(
                "P110",
                f"`{definition.name.text}` needs a value for `{parameter.name.text}`",
                use.span,
                secondary=(Label(parameter.span, "declared here"),),
            )
        bound[parameter.name.text] = Binding(parameter.default, Place(home))
    return bound


def _size(body: ast.Expression) -> tuple[int, int]:
    """(number of parts, depth) of a syntax tree, found without recursion."""
    waiting: list[tuple[object, int]] = [(body, 1)]
    parts = height = 0
    while waiting:
        node, depth = waiting.pop()
        parts, height = parts + 1, max(height, depth)
        waiting.extend((child, depth + 1) for child in ast.children(node))
    return parts, height
