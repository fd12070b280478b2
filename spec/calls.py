"""Functions of the catalog where the author calls them: `reading_grade(response)`, `part(response, "***", 2)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix
from bylaw.spec.expression import (
    BooleanCall,
    Extent,
    NumberCall,
    NumberConstant,
    NumberExpression,
    TextCall,
    TextConstant,
    TextExpression,
)
from bylaw.spec.source import Span

if TYPE_CHECKING:  # the resolvers call this module
    from bylaw.spec.resolving import Resolving

LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
"""How languages are written (BCP 47): `en`, `pt-BR`."""

_KINDS: Mapping[type, str] = MappingProxyType(
    {TextCall: "a text", NumberCall: "a number", BooleanCall: "true or false"}
)

FunctionArguments = tuple[TextExpression | NumberExpression, ...]


def functions() -> tuple[str, ...]:
    """The names of all functions."""
    return catalog.names("functions")


def resolve(call: ast.Call, frame: Resolving) -> TextCall | NumberCall | BooleanCall | None:
    """A call with its arguments resolved; None where there is no function of that name.

    Raises Unresolved (P122) for arguments that the function does not take.
    """
    name = call.function.text
    if name not in functions():
        return None
    function = catalog.function(name)
    known = [parameter.name for parameter in function.parameters]
    given: dict[str, ast.Expression] = {}
    for position, argument in enumerate(call.arguments):
        positional = known[position] if position < len(known) else ""
        key = positional if argument.name is None else argument.name.text
        if key not in known or key in given:
            message = f"`{name}` has no place for this argument"
            raise frame.messages.failure("P122", message, argument.span, notes=(_takes(known),))
        given[key] = argument.value
    missing = [key for key in known if key not in given]
    if missing:
        message = f"`{name}` needs a value for `{missing[0]}`"
        raise frame.messages.failure("P122", message, call.span, notes=(_takes(known),))
    arguments = tuple(
        frame.text(given[parameter.name]) if parameter.kind == "text" else frame.number(given[parameter.name])
        for parameter in function.parameters
    )
    return make(name, arguments, call.span, frame)


def make(name: str, arguments: FunctionArguments, span: Span, frame: Resolving) -> TextCall | NumberCall | BooleanCall:
    """A call of a function with arguments of the right kinds. Raises Unresolved (P122) for values it cannot take."""
    function = catalog.function(name)
    reason = function.refuse(tuple(_known(argument) for argument in arguments))
    if reason is not None:
        raise frame.messages.failure("P122", f"`{name}` cannot be used like this: {reason}", span)
    match function.result:
        case "text":
            return TextCall(name, arguments)
        case "number":
            return NumberCall(name, arguments)
        case "boolean":
            return BooleanCall(name, arguments, Extent(span.start, span.end))


def gives_text(name: str) -> bool:
    """Whether a name is that of a function whose value is a text."""
    return name in functions() and catalog.function(name).result == "text"


def kind_of(call: TextCall | NumberCall | BooleanCall) -> str:
    """What a call gives, in words."""
    return _KINDS[type(call)]


def check_language(written: ast.Expression, frame: Resolving) -> None:
    """Refuses a language that is not written as a code (P122), where it stands in the policy."""
    if not isinstance(written, ast.Text) or LANGUAGE_CODE.fullmatch(written.value):
        return
    lower = written.value.lower()
    fix = Fix(f'write `"{lower}"`', written.span, f'"{lower}"') if LANGUAGE_CODE.fullmatch(lower) else None
    note = 'languages are written as codes, as in `"en"`, `"de"` or `"kn"`'
    message = f"`{written.value}` is not the code of a language"
    raise frame.messages.failure("P122", message, written.span, notes=(note,), fix=fix)


def _known(argument: TextExpression | NumberExpression) -> str | float | None:
    return argument.value if isinstance(argument, (TextConstant, NumberConstant)) else None


def _takes(known: list[str]) -> str:
    return f"it takes {', '.join(f'`{each}`' for each in known) or 'no arguments'}"
