"""Resolving suites: prompts that a policy names, written in the file or read from a JSON Lines file beside it."""

from __future__ import annotations

import json
from collections.abc import Callable

from bylaw.spec import ast
from bylaw.spec.errors import Label
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import Suite
from bylaw.spec.scope import Messages

MOST_PROMPTS = 20_000
"""A suite becomes a condition on the prompt, so it is a part of the program; more belong into several suites."""


def resolve_suite(item: ast.SuiteDecl, read: Callable[[ast.Text], str | None], messages: Messages) -> Suite:
    """One suite. `read` gives the text of a file named in the policy, or None after a diagnostic of its own.

    A line of the file is a JSON object whose `prompt` is a text, or whose `messages` are a conversation: its last user
    message is then the prompt. Records P119 for what cannot be used.
    """
    if isinstance(item.value, ast.SuiteFile):
        text = read(item.value.path)
        prompts = () if text is None else _prompts_of_file(text, item.value.path, messages)
    else:
        prompts = _prompts_of_list(item.value, messages)
        if not prompts and not messages.found:
            messages.error("P119", f"suite `{item.name.text}` has no prompts", item.name.span)
    description = None if item.description is None else item.description.value
    extent = Extent(item.name.span.start, item.name.span.end)
    return Suite(item.name.text, tuple(dict.fromkeys(prompts)), extent, description)


def _prompts_of_list(value: ast.ListLiteral, messages: Messages) -> tuple[str, ...]:
    found: list[str] = []
    seen: dict[str, ast.Text] = {}
    for entry in value.items:
        if not isinstance(entry, ast.Text):
            messages.error("P119", "a prompt of a suite is a text", entry.span)
            continue
        if not entry.value.strip():
            messages.error("P119", "a prompt of a suite says something", entry.span)
            continue
        if entry.value in seen:
            first = Label(seen[entry.value].span, "first here")
            messages.error("P119", "this prompt stands twice in its suite", entry.span, secondary=(first,))
        seen.setdefault(entry.value, entry)
        found.append(entry.value)
    return tuple(found)


def _prompts_of_file(text: str, path: ast.Text, messages: Messages) -> tuple[str, ...]:
    found: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        prompt = _prompt_of_line(line)
        if prompt is None:
            note = 'a line is `{"prompt": "..."}`, or `{"messages": [{"role": "user", "content": "..."}]}`'
            messages.error("P119", f"line {number} of `{path.value}` holds no prompt", path.span, notes=(note,))
            return ()
        found.append(prompt)
        if len(found) > MOST_PROMPTS:
            messages.error("P119", f"`{path.value}` has more than {MOST_PROMPTS:,} prompts", path.span)
            return ()
    if not found:
        messages.error("P119", f"`{path.value}` holds no prompt", path.span)
    return tuple(found)


def _prompt_of_line(line: str) -> str | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("messages"), list):
        said = [m.get("content") for m in value["messages"] if isinstance(m, dict) and m.get("role") == "user"]
        return said[-1] if said and isinstance(said[-1], str) else None
    prompt = value.get("prompt")
    return prompt if isinstance(prompt, str) and prompt.strip() else None
