"""A trace: one conversation with what is known about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FactValue = str | float | bool
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a conversation: what one side said, a tool call of the assistant, or what a tool gave back.

    A call has a `tool` and `arguments` (pairs of name and value) and the role `assistant`; its content is the values of
    its arguments, one to a line, as `tool_call` writes them. What a tool gave back has the role `tool` and its name.
    """

    role: str
    content: str
    tool: str = ""
    arguments: tuple[tuple[str, FactValue], ...] = ()

    @property
    def kind(self) -> str:
        """`call`, `output` or `message`."""
        if self.role == "tool":
            return "output"
        return "call" if self.tool else "message"


def tool_call(tool: str, arguments: Mapping[str, FactValue]) -> Message:
    """A call of a tool by the assistant."""
    content = "\n".join(written(value) for value in arguments.values())
    return Message("assistant", content, tool, tuple(arguments.items()))


def written(value: FactValue) -> str:
    """A fact as a person would write it: `true`, `12`, `0.5`; a text as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


@dataclass(frozen=True, slots=True)
class Trace:
    """Messages in order, and facts by dotted name (`meta.topic`).

    The response is the last message when the assistant said it (a tool call is no response); the prompt is the last
    user message before it. `scores` holds what is known of concepts: (concept, text) -> score from 0 to 1. `unscored`
    says for others why a scorer could not tell, `passages` where in the text it saw the concept (start, end).
    """

    messages: tuple[Message, ...]
    facts: Mapping[str, FactValue] = field(default_factory=lambda: MappingProxyType({}))
    id: str = ""
    scores: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    unscored: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    passages: Mapping[tuple[str, str], tuple[tuple[int, int], ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def lacks_scores(self, concept: str) -> str | None:
        """Why nothing will score this concept (full name) in an answer still to come; None if something will."""
        return f"nothing scores `{concept}` while an answer is written"

    @property
    def context(self) -> tuple[Message, ...]:
        """The messages that the scores of an answer to this depend on: none where only its text is read."""
        return ()

    @property
    def response(self) -> str | None:
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" and not last.tool else None

    def text(self, role: str) -> str | None:
        """The text that a rule means by `response`, `prompt`, `system`, `developer` or `conversation`.

        A conversation without a system or developer message has the empty text there: the author's condition
        `system contains "..."` is then simply false. A missing response or prompt is None: nothing can be said.
        """
        match role:
            case "response":
                return self.response
            case "prompt":
                return next((m.content for m in reversed(self.messages) if m.role == "user"), None)
            case "conversation":
                return "\n".join(m.content for m in self.messages)
            case _:
                return "\n".join(m.content for m in self.messages if m.role == role)

    def answered(self, response: str) -> Trace:
        """This conversation with one more assistant message."""
        messages = (*self.messages, Message("assistant", response))
        return Trace(messages, self.facts, self.id, self.scores, self.unscored, self.passages)
