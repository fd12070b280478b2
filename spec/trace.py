"""A trace: one conversation with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FactValue = str | float | bool
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Messages in order, and facts by dotted name (`meta.topic`).

    The response is the last message when the assistant wrote it; the prompt is the last user message before it.
    """

    messages: tuple[Message, ...]
    facts: Mapping[str, FactValue] = field(default_factory=lambda: MappingProxyType({}))
    id: str = ""

    @property
    def response(self) -> str | None:
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else None

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
        return Trace((*self.messages, Message("assistant", response)), self.facts, self.id)
