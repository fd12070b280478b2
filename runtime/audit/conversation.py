"""One JSON object as one conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from bylaw.runtime.audit.inputs import (
    ColumnNames,
    Limits,
    Unreadable,
    fact_name,
    quote,
    quote_all,
    require_text,
    suggestion,
)
from bylaw.runtime.audit.tool_calls import LARGEST, make_call, make_output, read_calls
from bylaw.spec.scope import FACT_ROOTS
from bylaw.spec.trace import ROLES, FactValue, Message, Trace

_MESSAGES = "messages"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def parse_line(
    line: bytes, columns: ColumnNames, limits: Limits, fallback_id: str, answered: bool
) -> tuple[Trace, tuple[str, ...]]:
    """A line of JSON as a trace, and what of its facts had to be left out.

    With `answered` False a prompt is wanted: what stands in the response column is ignored, and the last message has to
    be the user's. Raises Unreadable.
    """
    data = decode(line)
    if not isinstance(data, dict):
        hint = ": an array is not read, write one object on each line" if isinstance(data, list) else ""
        raise Unreadable(f"the line is not a JSON object{hint}")
    return parse_object(data, columns, limits, fallback_id, answered)


def parse_object(
    data: Mapping[str, Any], columns: ColumnNames, limits: Limits, fallback_id: str, answered: bool
) -> tuple[Trace, tuple[str, ...]]:
    """An object that was read already, as `parse_line` does. Raises Unreadable."""
    if _MESSAGES in data:
        messages, used = messages_of(data[_MESSAGES]), {_MESSAGES}
    else:
        messages, used = _columns(data, columns, answered)
    if not answered:
        require_user(messages)
    facts, left_out = facts_of(data, used, limits)
    given = data.get(columns.id)
    identifier = str(given) if isinstance(given, (str, int)) and not isinstance(given, bool) else fallback_id
    return Trace(messages, facts, require_text(identifier, "the id") or fallback_id), left_out


def require_user(messages: tuple[Message, ...]) -> None:
    """Raises Unreadable where the last message of a prompt is not the user's."""
    if messages[-1].role != "user":
        raise Unreadable(f"the last message is from the {messages[-1].role}; a prompt ends with a user message")


def decode(line: bytes) -> Any:
    """A line of JSON as a value. Raises Unreadable."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = "; it seems to be UTF-16: save the file as UTF-8" if line.startswith(_UTF_16_MARKS) else ""
        raise Unreadable(
            f"the line is not UTF-8 text: byte {error.start + 1} is 0x{line[error.start]:02x}{hint}"
        ) from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        hint = "; an array is not read, write one object on each line" if text == "[" or text.startswith("[{") else ""
        raise Unreadable(
            f"the line is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}{hint}"
        ) from None
    except RecursionError:
        raise Unreadable("the line is not usable JSON: it is nested too deeply") from None
    except ValueError:
        raise Unreadable("the line is not usable JSON: a number has too many digits") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"the line is not JSON: {quote(name)} is no JSON number")


# --------------------------------------------------------------------------------------------------------- messages
def messages_of(value: Any) -> tuple[Message, ...]:
    """What was said, called and given back, in order: one message of the JSON may be several. Raises Unreadable."""
    if not isinstance(value, list) or not value:
        raise Unreadable("`messages` is not a list of messages, or it is empty")
    names: dict[str, str] = {}
    return tuple(message for number, item in enumerate(value, 1) for message in _message(item, number, names))


def _message(value: Any, number: int, names: dict[str, str]) -> list[Message]:
    """One message; `names` are the tools by the ids of their calls so far."""
    if not isinstance(value, dict):
        raise Unreadable(f"message {number} is not an object with `role` and `content`")
    role = value.get("role")
    if role not in ROLES:
        found = f"has the role {quote(str(role))}" if role is not None else "has no `role`"
        raise Unreadable(f"message {number} {found}; the roles are {quote_all(ROLES)}")
    content, calls = _spoken(value, number), _calls(value, number)
    if content is None and not calls:
        raise Unreadable(f"message {number} has no `content`")
    if calls and role != "assistant":
        raise Unreadable(f"message {number} is from the {role}, who calls no tools")
    if role == "tool":
        text = require_text(_content(content, number), f"message {number}")
        name = next((value[key] for key in ("name", "function") if value.get(key)), None)
        return [make_output(name, value.get("tool_call_id"), text, names)]
    said = [] if content is None else list(_said(role, content, number, names))
    called = list(read_calls(calls, number, names)) if calls else []
    if called and len(said) == 1 and said[0].content == "" and not said[0].tool:
        said = []  # a call is often written with an empty text beside it
    return [*said, *called]


def _spoken(value: Mapping[str, Any], number: int) -> Any:
    """The content of a message, with the refusal that some servers hand over beside it: that is said as well."""
    content, refusal = value.get("content"), value.get("refusal")
    if refusal in (None, ""):
        return content
    if not isinstance(refusal, str):
        raise Unreadable(f"`refusal` of message {number} is not a text")
    if isinstance(content, list) and content:
        return [*content, {"type": "refusal", "refusal": f"\n{refusal}"}]
    return f"{content}\n{refusal}" if isinstance(content, str) and content else refusal


def _calls(value: Mapping[str, Any], number: int) -> Any:
    """The calls beside a message; `function_call` is how the one call was written before there were several."""
    calls, call = value.get("tool_calls") or [], value.get("function_call")
    if not call:
        return calls
    if calls:
        raise Unreadable(f"message {number} has both `tool_calls` and `function_call`: leave one of them out")
    return [call]


def _said(role: str, content: Any, number: int, names: dict[str, str]) -> Iterator[Message]:
    """The texts of a message, with calls and outputs that stand between its parts."""
    parts = content if isinstance(content, list) else []
    if not any(isinstance(part, dict) and part.get("type") in ("tool_use", "tool_result") for part in parts):
        yield Message(role, require_text(_content(content, number), f"message {number}"))
        return
    text = ""
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("tool_use", "tool_result"):
            text += _part(part, number)
            continue
        if text:
            yield Message(role, require_text(text, f"message {number}"))
        text = ""
        if kind == "tool_use" and role == "assistant":
            yield make_call(part.get("name"), part.get("input"), part.get("id"), number, names)
        elif kind == "tool_result" and role == "user":
            given = "" if part.get("content") is None else _content(part["content"], number)
            output = make_output(None, part.get("tool_use_id"), require_text(given, f"message {number}"), names)
            yield output
        else:
            raise Unreadable(f"message {number} from the {role} has a part of the type {quote(str(kind))}")
    if text:
        yield Message(role, require_text(text, f"message {number}"))


def _content(content: Any, number: int) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Unreadable(f"`content` of message {number} is neither a text nor a list of parts")
    return "".join(_part(part, number) for part in content)


def _part(part: Any, number: int) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
    if kind not in ("text", "refusal"):
        raise Unreadable(f"message {number} has a part of the type {quote(str(kind))}; only `text` can be read")
    if not isinstance(text, str):
        raise Unreadable(f"message {number} has a part without `{kind}`")
    return text


def _columns(data: Mapping[str, Any], columns: ColumnNames, answered: bool) -> tuple[tuple[Message, ...], set[str]]:
    """The messages of a flat object, and the keys that they came from."""
    system = columns.system or "system"
    wanted = [("system", system)] if columns.system or system in data else []
    wanted.append(("user", columns.prompt))
    if answered:
        wanted.append(("assistant", columns.response))
    messages: list[Message] = []
    for role, name in wanted:
        if name not in data:
            known = f"its keys are {quote_all(data)}" if data else "it is empty"
            raise Unreadable(f"the object has no {quote(name)}; {known}{suggestion(name, data)}")
        if isinstance(data[name], list) and role != "system":
            messages += _said_in(data[name], role, name)
            continue
        if not isinstance(data[name], str):
            raise Unreadable(f"{quote(name)} is not a text")
        if data[name] or role != "system":
            messages.append(Message(role, require_text(data[name], quote(name))))
    return tuple(messages), {columns.response, *(name for _, name in wanted)}


def _said_in(value: list[Any], role: str, name: str) -> tuple[Message, ...]:
    """What stands in the column of the prompt or of the response as messages: the conversation before the answer, or
    the answer."""
    found = messages_of(value)
    if role == "user" and found[-1].role == "assistant":
        raise Unreadable(f"{quote(name)} ends with the assistant; an answer follows the user or a tool")
    if role == "assistant" and found[-1].role != "assistant":
        raise Unreadable(f"{quote(name)} ends with the {found[-1].role}; an answer is the assistant's")
    return found


# ------------------------------------------------------------------------------------------------------------ facts
def facts_of(data: Mapping[str, Any], used: set[str], limits: Limits) -> tuple[dict[str, FactValue], tuple[str, ...]]:
    """Every key that is no message as a fact, and what could not become one: `meta`, `user`, `session` and `request`
    hold facts of their own, any other key is one below `meta`."""
    facts: dict[str, FactValue] = {}
    left_out: list[str] = []
    for key, value in data.items():
        if key in used:
            continue
        if key in FACT_ROOTS and isinstance(value, dict):
            _flatten(key, value, limits.fact_depth, facts, left_out)
        else:
            _flatten(fact_name(key), value, limits.fact_depth - 1, facts, left_out)
    return facts, tuple(left_out)


def _flatten(path: str, value: Any, depth: int, facts: dict[str, FactValue], left_out: list[str]) -> None:
    if isinstance(value, dict):
        if depth <= 0:
            left_out.append(f"the fact {quote(path)} nests too deeply and was left out")
            return
        for key, item in value.items():
            _flatten(f"{path}.{key}", item, depth - 1, facts, left_out)
        return
    reason = _no_fact(path, value, facts)
    if reason:
        left_out.append(f"the fact {quote(path)} {reason} and was left out")
    elif value is not None:  # null says that the fact is not known: the same as leaving it out
        facts[path] = value


def _no_fact(path: str, value: Any, facts: Mapping[str, FactValue]) -> str | None:
    if isinstance(value, list):
        return "is a list"
    if path in facts:
        return "is given twice"
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        return "is too large a number"
    try:
        require_text(path, "its name")
        if isinstance(value, str):
            require_text(value, "it")
    except Unreadable as error:
        return str(error).removeprefix("it ")
    return None
