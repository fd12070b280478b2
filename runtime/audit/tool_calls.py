"""Tool calls and what tools gave back, as transcripts of different makers write them.

Read are `tool_calls` beside a message (with `function` as an object, as a name, or left out) and messages of the role
`tool`, and parts of a message's content of the types `tool_use` and `tool_result`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from bylaw.runtime.audit.inputs import Unreadable, require_text
from bylaw.spec.trace import FactValue, Message, tool_call, written

LARGEST = 1e308
"""Integers beyond are kept as texts: no number of the evaluator can hold them."""


def read_calls(value: Any, number: int, names: dict[str, str]) -> Iterator[Message]:
    """The calls beside message `number`; `names` learns which tool each call's id belongs to. Raises Unreadable."""
    if not isinstance(value, list):
        raise Unreadable(f"`tool_calls` of message {number} is not a list")
    for call in value:
        if not isinstance(call, dict):
            raise Unreadable(f"message {number} has a tool call that is not an object")
        function = call.get("function", call)
        inner = function if isinstance(function, dict) else call
        name = inner.get("name") if isinstance(function, dict) else function
        arguments = next((inner[key] for key in ("arguments", "args", "input") if key in inner), None)
        yield make_call(name, arguments, call.get("id"), number, names)


def make_call(name: Any, arguments: Any, identifier: Any, number: int, names: dict[str, str]) -> Message:
    """One call. Raises Unreadable for a call of a tool without a name."""
    if not isinstance(name, str) or not name:
        raise Unreadable(f"message {number} calls a tool without a name")
    tool = require_text(name, f"a tool of message {number}")
    if isinstance(identifier, str):
        names[identifier] = tool
    given = _decoded(arguments)
    if given is None:
        return tool_call(tool, {})
    try:
        if not isinstance(given, dict):
            return Message("assistant", require_text("\n".join(_leaves(given)), f"message {number}"), tool)
        found = dict(_flat(given, "", number))
    except RecursionError:
        raise Unreadable(f"a tool call of message {number} is nested too deeply") from None
    call = tool_call(tool, found)
    require_text("\n".join((call.content, *found)), f"message {number}")
    return call


def make_output(name: Any, identifier: Any, text: str, names: Mapping[str, str]) -> Message:
    """What a tool gave back; the name of the tool is empty where neither its name nor the id of its call is known."""
    tool = name if isinstance(name, str) else names.get(identifier, "") if isinstance(identifier, str) else ""
    return Message("tool", text, require_text(tool, "the name of a tool"))


def _decoded(arguments: Any) -> Any:
    """Arguments that stand in the JSON as a text that is JSON itself; a text that is none stays as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments, parse_constant=_refuse) if arguments.strip() else None
    except (ValueError, RecursionError):
        return arguments


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _flat(value: Mapping[str, Any], before: str, number: int) -> Iterator[tuple[str, FactValue]]:
    """Arguments by name, those of objects with dots; a list is its values, one to a line; null is no value."""
    seen: set[str] = set()
    for key, item in value.items():
        name = f"{before}{key}"
        inner = list(_flat(item, f"{name}.", number)) if isinstance(item, dict) else [(name, item)]
        for full, leaf in inner:
            if full in seen:
                raise Unreadable(f"a tool call of message {number} gives `{full}` twice")
            seen.add(full)
            if leaf is not None:
                yield full, "\n".join(_leaves(leaf)) if isinstance(leaf, list) else _value(leaf)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield written(_value(value))


def _value(value: Any) -> FactValue:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) <= LARGEST:
        return str(value)
    found: FactValue = value
    return found
