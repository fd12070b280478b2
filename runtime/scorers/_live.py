"""Conversations whose answer is still being written: its scores are fetched when a rule asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from bylaw.runtime.scorers.asking import Asker, Place
from bylaw.runtime.scorers.interface import Scored
from bylaw.spec.trace import Message, Trace

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class LiveTrace(Trace):
    """A trace that asks for what it does not know. `answered` gives a trace of the same kind, so whatever evaluates
    answers to this conversation has their scores. One scorer is asked about one text at a time here."""

    asker: Asker | None = None

    def lacks_scores(self, concept: str) -> str | None:
        return Trace(()).lacks_scores(concept) if self.asker is None else self.asker.lacks(concept)

    @property
    def context(self) -> tuple[Message, ...]:
        """What the score of an answer depends on besides the answer: nothing, where scorers read the text alone."""
        is_read = self.asker is not None and self.asker.scorers.reads_conversation(self.asker.scorers.by_concept)
        return self.messages if is_read else ()

    def answered(self, response: str) -> Trace:
        assert self.asker is not None
        return live_trace(Trace.answered(_given(self), response), self.asker)


def live_trace(trace: Trace, asker: Asker) -> LiveTrace:
    """The trace, with everything that it does not know yet from `asker`."""
    scores, reasons = _Scores(trace, asker, trace.scores), _Reasons(trace, asker, trace.unscored)
    views = scores, reasons, _Passages(trace, asker, trace.passages)
    return LiveTrace(trace.messages, trace.facts, trace.id, *views, asker)


def _given(trace: LiveTrace) -> Trace:
    """The trace with what it came with."""
    scores, reasons, passages = trace.scores, trace.unscored, trace.passages
    return Trace(
        trace.messages,
        trace.facts,
        trace.id,
        scores.given.scores if isinstance(scores, _View) else scores,
        reasons.given.unscored if isinstance(reasons, _View) else reasons,
        passages.given.passages if isinstance(passages, _View) else passages,
    )


@dataclass(frozen=True, eq=False)
class _View(Mapping[Place, _Value], Generic[_Value]):
    """One column of what is known of places in a trace; `known` are the places that the trace came with."""

    given: Trace
    asker: Asker
    known: Mapping[Place, _Value]

    def value_of(self, answer: Scored) -> _Value | None:
        raise NotImplementedError

    def __getitem__(self, place: Place) -> _Value:
        if place in self.known:
            return self.known[place]
        if place in self.given.scores or place in self.given.unscored or not self.asker.knows(place[0]):
            raise KeyError(place)
        key = self.asker.key(place, self.given)
        if key not in self.asker.answers:
            self.asker.ask([(place, self.given)])
        found = self.value_of(self.asker.answers[key])
        if found is None:
            raise KeyError(place)
        return found

    def __iter__(self) -> Iterator[Place]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class _Scores(_View[float]):
    def value_of(self, answer: Scored) -> float | None:
        return answer.score


class _Reasons(_View[str]):
    def value_of(self, answer: Scored) -> str | None:
        return answer.reason or None


class _Passages(_View[tuple[tuple[int, int], ...]]):
    def value_of(self, answer: Scored) -> tuple[tuple[int, int], ...] | None:
        return answer.passages
