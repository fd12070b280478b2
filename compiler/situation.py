"""Where an expression is evaluated: a trace, and the part or the event that the quantifiers around it have reached."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bylaw.compiler.values import Unknown, fact_as_text
from bylaw.spec.expression import EventSelector
from bylaw.spec.trace import FactValue, Message, Trace

_ValueType = TypeVar("_ValueType")

IT = "it."
TOOL = "it.tool"


@dataclass(frozen=True, slots=True)
class Situation:
    """A trace, the text that `it` stands for, and the place of the event in it, counted from 0.

    `memory` is shared by all situations of one trace: what does not depend on `it` is worked out once.
    """

    trace: Trace
    it: str | None = None
    position: int | None = None
    memory: dict[Hashable, Any] = field(default_factory=dict)

    def at(self, position: int) -> Situation:
        """The same trace, where `it` is an event."""
        return replace(self, it=self.trace.messages[position].content, position=position)

    def part(self, text: str) -> Situation:
        """The same event, where `it` is a part of a text."""
        return replace(self, it=text)

    def once(self, purpose: str, about: object, work: Callable[[], _ValueType]) -> _ValueType:
        """What `work` gives, worked out once for this purpose, object and trace."""
        key = (purpose, id(about))
        if key not in self.memory:
            self.memory[key] = (work(), about)  # holding it keeps its id from being used again
        value: _ValueType = self.memory[key][0]
        return value

    def text(self, role: str) -> str | Unknown:
        """The text of a role. A conversation that ends with anything but an answer has no response."""
        if role == "it":
            return Unknown("`it` stands for nothing here") if self.it is None else self.it
        if role not in self.memory:
            self.memory[role] = self.trace.text(role)
        text: str | None = self.memory[role]
        if text is None and role == "response":
            return Unknown("the conversation does not end with an assistant message")
        return Unknown(f"the conversation has no {role}") if text is None else text

    def fact(self, path: str) -> FactValue | Unknown:
        """A fact of the trace, or of the event that `it` stands for."""
        if not path.startswith(IT):
            facts = self.trace.facts
            return facts[path] if path in facts else Unknown(f"the fact `{path}` is not given")
        if self.position is None:
            return Unknown(f"`{path}` stands for nothing here")
        message = self.trace.messages[self.position]
        if path == TOOL:
            return message.tool or Unknown(f"message {self.position + 1} does not say which tool it belongs to")
        name = path.removeprefix(IT)
        for argument, value in message.arguments:
            if argument == name:
                return value
        return Unknown(f"the {describe(message)} in message {self.position + 1} has no argument `{name}`")

    def fact_text(self, path: str) -> str | Unknown:
        """A fact as a text."""
        return fact_as_text(self.fact(path))


def is_candidate(selector: EventSelector, message: Message, position: int) -> bool | Unknown:
    """Whether a message is of the kind, the tools and the role of a selector, whatever its `where` says."""
    if message.kind != selector.kind or selector.role not in (None, message.role):
        return False
    if not selector.tools:
        return True
    if not message.tool:
        return Unknown(f"message {position + 1} does not say which tool it belongs to")
    return message.tool in selector.tools


def describe(message: Message) -> str:
    """A message in a few words: `call to refund`, `output of get_inbox`, `message from user`."""
    match message.kind:
        case "call":
            return f"call to {message.tool}"
        case "output":
            return f"output of {message.tool or 'a tool'}"
    return f"message from {message.role}"


@dataclass(frozen=True, slots=True)
class Found:
    """For one selector, event by event, whether it is one of those meant; and where the first and last ones stand.

    `first` and `last` are positions of events that are meant for certain, `first_unknown` and `last_unknown` of those
    where it cannot be told; None where there is none.
    """

    statuses: tuple[bool | Unknown, ...]
    first: int | None
    last: int | None
    first_unknown: int | None
    last_unknown: int | None

    @staticmethod
    def of(statuses: tuple[bool | Unknown, ...]) -> Found:
        """Goes through the events once."""
        certain = [position for position, status in enumerate(statuses) if status is True]
        unknown = [position for position, status in enumerate(statuses) if isinstance(status, Unknown)]
        ends = [where[end] if where else None for where in (certain, unknown) for end in (0, -1)]
        return Found(statuses, *ends)

    def beside(self, side: str, position: int) -> bool | Unknown:
        """Whether one of those meant stands before, or after, this position."""
        if side == "before":
            if self.first is not None and self.first < position:
                return True
            doubtful = self.first_unknown if (self.first_unknown or 0) < position else None
        else:
            if self.last is not None and self.last > position:
                return True
            doubtful = self.last_unknown if (self.last_unknown or 0) > position else None
        if doubtful is None:
            return False
        reason = self.statuses[doubtful]
        assert isinstance(reason, Unknown)
        return reason

    def count(self) -> tuple[int, int, Unknown | None]:
        """How many are meant: at least, at most, and why that cannot be told exactly."""
        sure = sum(status is True for status in self.statuses)
        doubts = [status for status in self.statuses if isinstance(status, Unknown)]
        return sure, sure + len(doubts), doubts[0] if doubts else None
