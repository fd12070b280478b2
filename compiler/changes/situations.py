"""Conversations in which given conditions hold: found, proved not to exist, or neither."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy import NotDecided, situation_meeting
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    ConceptScore,
    Expression,
    Fact,
    MessageText,
    NumberFact,
)
from bylaw.spec.logic import meaning, walk
from bylaw.spec.trace import FactValue, Message, Trace

USUAL_PROMPT = "Hello."
FILLINGS: tuple[tuple[str, float, bool], ...] = (("", 0.0, False), ("x", 1.0, True), ("", 0.0, True), ("x", 0.0, False))
"""Values for facts that are needed and not bound: as a text, as a number, as yes or no."""


class Missing(Enum):
    """Why there is no conversation: `IMPOSSIBLE` is a proof, `OPEN` is none."""

    IMPOSSIBLE = "impossible"
    OPEN = "open"


IMPOSSIBLE: Final = Missing.IMPOSSIBLE
OPEN: Final = Missing.OPEN


@dataclass(slots=True)
class Situations:
    """Finds conversations; `samples` are those that authors wrote down, without their answers."""

    samples: Sequence[Trace] = ()
    known: dict[Hashable, Trace | Missing] = field(default_factory=dict)

    def find(self, wanted: BooleanExpression) -> Trace | Missing:
        """A conversation, still without an answer, in which `wanted` is known to be true; it never reads the answer."""
        if wanted == BooleanConstant(True):
            return Trace(())
        key = meaning(wanted)
        if key not in self.known:
            self.known[key] = self._find(wanted)
        return self.known[key]

    def _find(self, wanted: BooleanExpression) -> Trace | Missing:
        try:
            found = situation_meeting(wanted)
        except NotDecided:
            return next((sample for sample in self.samples if truth(wanted, sample) is True), OPEN)
        return IMPOSSIBLE if found is None else found


@dataclass(frozen=True, slots=True)
class Needs:
    """What clauses read: the facts, each with how it is read, and whether they read the prompt."""

    facts: Mapping[str, type]
    prompt: bool

    @staticmethod
    def of(read: Iterable[Expression]) -> Needs:
        """What these expressions read."""
        parts = [part for expression in read for part in walk(expression)]
        facts: dict[str, type] = {}
        for part in parts:
            if isinstance(part, (Fact, NumberFact, BooleanFact)) and not part.path.startswith("it."):
                facts.setdefault(part.path, type(part))
        return Needs(facts, any(isinstance(part, MessageText) and part.role == "prompt" for part in parts))

    def completed(self, trace: Trace) -> Iterator[Trace]:
        """The conversation as it is, and then with everything that is read and not there: a prompt, and facts."""
        yield trace
        missing = {path: kind for path, kind in self.facts.items() if path not in trace.facts}
        messages = trace.messages
        if self.prompt and trace.text("prompt") is None:
            messages = (Message("user", USUAL_PROMPT), *messages)
        if not missing:
            if messages != trace.messages:
                yield replace(trace, messages=messages)
            return
        for words, number, yes in FILLINGS:
            usual: Mapping[type, FactValue] = {Fact: words, NumberFact: number, BooleanFact: yes}
            given = {path: usual[kind] for path, kind in missing.items()}
            yield replace(trace, messages=messages, facts={**trace.facts, **given})


def scored(trace: Trace, read: Iterable[Expression], apart_from: Iterable[Expression]) -> Iterator[Trace]:
    """The answered conversation as it is, and then with scores for what concepts ask of its answer: all 0, all 1.

    Nothing is assumed of concepts that `apart_from` speaks of.
    """
    yield trace
    answer = trace.response
    if answer is None:
        return
    asked = _concepts(read) - _concepts(apart_from)
    for score in (0.0, 1.0) if asked else ():
        yield replace(trace, scores={**trace.scores, **{(name, answer): score for name in sorted(asked)}})


def _concepts(expressions: Iterable[Expression]) -> set[str]:
    """The concepts that are asked of the answer as a whole."""
    scores = (part for each in expressions for part in walk(each) if isinstance(part, ConceptScore))
    return {score.concept.name for score in scores if score.subject == MessageText("response")}
