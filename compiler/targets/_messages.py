"""Conversations as data that chat templates and our own readers take alike, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bylaw.compiler.targets.interface import TargetError
from bylaw.spec.trace import ROLES, FactValue, Message, Trace, tool_call


class NoConversation(TargetError):
    """What was given is no conversation."""


def message_data(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as `{"role", "content"}`; calls have `tool_calls`, as OpenAI's API writes them."""
    return [_data(message, number) for number, message in enumerate(messages, 1)]


def _data(message: Message, number: int) -> dict[str, Any]:
    if message.kind == "call":
        arguments = json.dumps(dict(message.arguments), ensure_ascii=False)
        function = {"name": message.tool, "arguments": arguments}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        return {"role": message.role, "content": "", "tool_calls": [call]}
    named = {"name": message.tool} if message.tool else {}
    return {"role": message.role, "content": message.content, **named}


def messages_of(data: Any) -> tuple[Message, ...]:
    """The messages that `message_data` wrote, or that a data set has as a text (what the user says) or as a list of
    messages. Raises NoConversation."""
    if isinstance(data, str):
        return (Message("user", data),)
    if not isinstance(data, Sequence) or not data:
        raise NoConversation("a prompt is a text or a list of messages, and this is neither")
    return tuple(message for number, item in enumerate(data, 1) for message in _messages(item, number))


def _messages(item: Any, number: int) -> list[Message]:
    if not isinstance(item, Mapping) or item.get("role") not in ROLES:
        raise NoConversation(f"message {number} has no role of {', '.join(ROLES)}")
    content = item.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = "".join(_part(part, number) for part in content)
    if content is not None and not isinstance(content, str):
        raise NoConversation(f"the content of message {number} is no text")
    calls = [_call(call, number) for call in item.get("tool_calls") or ()]
    if content is None and not calls:
        raise NoConversation(f"message {number} has no content")
    said = [Message(item["role"], content or "", item.get("name") or "" if item["role"] == "tool" else "")]
    return calls if calls and not content else said + calls


def _part(part: Any, number: int) -> str:
    if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise NoConversation(f"message {number} has a part that is no text, which rules cannot read")
    return str(part["text"])


def _call(call: Any, number: int) -> Message:
    function = call.get("function") if isinstance(call, Mapping) else None
    try:
        given = function["arguments"]  # type: ignore[index]
        arguments = json.loads(given) if isinstance(given, str) else dict(given)
        if all(isinstance(value, str | int | float | bool) for value in arguments.values()):
            return tool_call(str(function["name"]), arguments)  # type: ignore[index]
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise NoConversation(f"message {number} calls a tool with arguments that are no plain values by name")


def conversation_text(messages: Sequence[Message], facts: Mapping[str, FactValue]) -> str:
    """What comes before an answer, as one line of JSON: data sets keep it whole, whatever they do to nested values."""
    return json.dumps({"messages": message_data(messages), "facts": dict(sorted(facts.items()))}, ensure_ascii=False)


def conversation_of(text: Any) -> Trace:
    """What `conversation_text` wrote. Raises NoConversation."""
    try:
        data = json.loads(text)
        return Trace(messages_of(data["messages"]), facts_of(data["facts"]))
    except (TypeError, ValueError, KeyError) as error:
        raise NoConversation(f"this is no conversation that bylaw wrote into a data set: {error}") from None


def facts_of(data: Any) -> dict[str, FactValue]:
    """Facts by dotted name, from an object or its JSON; nothing for None. Raises NoConversation."""
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            raise NoConversation("the facts of a row are no JSON object") from None
    if data is None:
        return {}
    if not isinstance(data, Mapping) or not all(isinstance(value, str | int | float | bool) for value in data.values()):
        raise NoConversation("the facts of a row are no object of texts, numbers and truth values")
    return {str(name): value for name, value in data.items()}
