"""Asking a list of questions and reading the answers: one more try where one cannot be read, a reason for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from bylaw.runtime.judges.interface import Asker, JudgeError, JudgeReply, JudgeRequest
from bylaw.runtime.judges.prompt import again_prompt
from bylaw.runtime.judges.verdict import Problem
from bylaw.runtime.scorers.interface import Cost, Why

T = TypeVar("T")
_Read: TypeAlias = tuple[JudgeReply, T | Problem | None]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What became of one question: `value`, or None and why. `cost` with all attempts; `asked_again`: whether the judge
    had to be told the form of an answer once more. `model`: what the server says that it ran."""

    value: T | None
    why: Why | None = None
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    asked_again: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """A request, the reader of its answers, and the form of an answer, for a judge that is asked again."""

    request: JudgeRequest
    read: Callable[[str], T | Problem]
    form: str

    def sent(self) -> JudgeRequest:
        """The request with a check that lets no unreadable answer be stored."""

        def check(text: str) -> str | None:
            found = self.read(text)
            return found.reason if isinstance(found, Problem) else None

        return replace(self.request, check=check)

    def again(self, answer: str, problem: Problem) -> Ask[T]:
        """The same question after an answer that could not be read."""
        messages = again_prompt(self.request.messages, answer, problem.reason, self.form)
        return replace(self, request=replace(self.request, messages=messages))


def exchange(
    asker: Asker, asks: Sequence[Ask[T]], progress: Callable[[int], None] = lambda _: None
) -> tuple[Answer[T], ...]:
    """One answer for each question, in order. What cannot be read is asked for once more, with what was wrong; a second
    time it is `parse`. `progress` is told how many more are done. Raises JudgeError where the judge cannot be used
    at all, or an asker breaks its promise of one reply a request."""
    first: list[_Read[T]] = _read(asker, asks)
    unreadable = [i for i, (_, found) in enumerate(first) if isinstance(found, Problem)]
    progress(len(asks) - len(unreadable))
    again: list[Ask[T]] = [_again(asks[i], *first[i]) for i in unreadable]
    repaired: list[_Read[T]] = _read(asker, again)
    second = dict(zip(unreadable, repaired, strict=True))
    progress(len(unreadable))
    return tuple(_answer(first[i], second.get(i)) for i in range(len(asks)))


def _read(asker: Asker, asks: Sequence[Ask[T]]) -> list[_Read[T]]:
    replies: dict[int, JudgeReply] = {}
    if asks:
        for reply in asker.ask([ask.sent() for ask in asks]):
            if reply.index in replies or not 0 <= reply.index < len(asks):
                raise JudgeError(
                    f"the way to the judge gave a reply to question {reply.index + 1} that nobody waits for"
                )
            replies[reply.index] = reply
    if len(replies) < len(asks):
        raise JudgeError(
            f"the way to the judge left {len(asks) - len(replies)} of {len(asks)} questions without a reply"
        )
    ordered = [replies[i] for i in range(len(asks))]
    return [
        (reply, None if reply.text is None else ask.read(reply.text)) for ask, reply in zip(asks, ordered, strict=True)
    ]


def _again(ask: Ask[T], reply: JudgeReply, found: T | Problem | None) -> Ask[T]:
    assert reply.text is not None
    assert isinstance(found, Problem)
    return ask.again(reply.text, found)


def _answer(first: _Read[T], second: _Read[T] | None) -> Answer[T]:
    reply, found = second or first
    cost = reply.cost if second is None else first[0].cost + reply.cost
    again = second is not None
    if isinstance(found, Problem):
        return Answer(None, "parse", f"the judge's answer cannot be read: {found.reason}", cost, again, reply.model)
    if found is None:
        return Answer(None, reply.why or "transport", reply.reason or "no reply", cost, again, reply.model)
    return Answer(found, cost=cost, asked_again=again, model=reply.model)
