"""Statements about conversations, taken apart into what a monitor has to remember from event to event.

Values are Kleene's: 0 false, 1 unknown, 2 true; `and` is the least, `or` the greatest, `not x` is 2 - x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.evaluate import truth
from bylaw.compiler.monitors.events import Question
from bylaw.compiler.monitors.reading import bare, is_of_event, said_of_response, sources, why_open
from bylaw.compiler.monitors.texts import UNKNOWN, Values, answers_to, coded, language_of
from bylaw.compiler.situation import TOOL
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    EachEvent,
    EventAt,
    EventCount,
    EventSelector,
    Fact,
    MessageText,
    Neighbour,
    Not,
    NumberConstant,
    NumberFact,
    Operator,
    Or,
)
from bylaw.spec.logic import MIRRORED, OPPOSITE, walk
from bylaw.spec.trace import Trace

ANSWER, USER = EventSelector("message", role="assistant"), EventSelector("message", role="user")
Range = tuple[int, int]
"""The least and the greatest value that something can still get."""


@dataclass(slots=True)
class Here:
    """What is known at one event: its answers, what stood before it and will stand after it, and what is guessed of
    the whole conversation."""

    values: Values
    before: Values
    after: Values
    guesses: Values


Step = Callable[[Here], int]
Total = Callable[[Sequence[Range]], Range]


@dataclass(frozen=True, slots=True)
class Each:
    """`item` holds for some of the events that a selector (by its number) means, or for every one."""

    is_some: bool
    selector: int
    item: Step


@dataclass(frozen=True, slots=True)
class Counted:
    """How many events a selector means, compared with a constant. Counts above `cap` are all above the bound."""

    selector: int
    operator: Operator
    bound: float
    cap: int


@dataclass(slots=True)
class Placed:
    """What is asked of one event by its place: `questions` by number, `missing` what they answer where it is not there.

    `is_only` is a place in a text made of all messages of a role: with one such message, it is the place of that.
    """

    selector: int
    index: int
    is_only: bool = False
    questions: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What statements are put together from: `at` is the number of the monitor, the question or the guess."""

    kind: Literal["each", "count", "place", "answer", "guess", "whole", "constant"]
    at: int
    part: int = 0


@dataclass(slots=True)
class Model:
    """What has been read of the statements. All lists go by number.

    `guessed` are the leaves (by number) whose value events read: the search guesses them, and checks them at the end;
    -1 stands for a guess that nothing checks but the evaluator. `reasons` say why there are such guesses. `readers` are
    the statements, for each leaf, that read it outside of events.
    """

    statements: list[Total] = field(default_factory=list)
    questions: dict[Question, list[EventSelector]] = field(default_factory=dict)
    selectors: dict[EventSelector, int] = field(default_factory=dict)
    wheres: list[Step | None] = field(default_factory=list)
    befores: list[int] = field(default_factory=list)
    afters: list[int] = field(default_factory=list)
    eaches: list[Each] = field(default_factory=list)
    counts: list[Counted] = field(default_factory=list)
    places: list[Placed] = field(default_factory=list)
    wholes: list[Dfa] = field(default_factory=list)
    guessed: list[int] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    readers: list[set[int]] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    _known: dict[BooleanExpression, int] = field(default_factory=dict)
    _nested: dict[int, int] = field(default_factory=dict)

    @staticmethod
    def of(statements: Sequence[BooleanExpression]) -> Model:
        """Reads statements without facts of the conversation."""
        model = Model()
        for statement in statements:
            model.statements.append(model._total(bare(statement)))
        return model

    # ------------------------------------------------------------------------------------ of the whole conversation
    def _total(self, expression: BooleanExpression) -> Total:
        match expression:
            case BooleanConstant(value):
                known = (2, 2) if value else (0, 0)
                return lambda _: known
            case Not(item):
                inner = self._total(item)
                return lambda ranges: _turned(inner(ranges))
            case And(items) | Or(items):
                parts, chosen = [self._total(item) for item in items], min if isinstance(expression, And) else max
                if not parts:
                    return self._total(BooleanConstant(isinstance(expression, And)))
                return lambda ranges: _joined([part(ranges) for part in parts], chosen)
            case Compare() if (opposite := _without_denial(expression)) is not None:
                return self._total(opposite)
        at = self._leaf(expression)
        self.readers[at].add(len(self.statements))
        return lambda ranges: ranges[at]

    def _leaf(self, expression: BooleanExpression) -> int:
        if expression not in self._known:
            leaf = self._new_leaf(expression)
            self._known[expression] = len(self.leaves)
            self.leaves.append(leaf)
            self.readers.append(set())
        return self._known[expression]

    def _new_leaf(self, expression: BooleanExpression) -> Leaf:
        match expression:
            case EachEvent(quantity, selector, item):
                number = self._selector(selector)
                self.eaches.append(Each(quantity == "some", number, self._step(item, selector)))
                return Leaf("each", len(self.eaches) - 1)
            case Neighbour():
                return Leaf("constant", UNKNOWN)
        if (counted := _counted(expression)) is not None:
            selector, operator, bound = counted
            self.counts.append(Counted(self._selector(selector), operator, bound, max(0, math.floor(bound) + 1)))
            return Leaf("count", len(self.counts) - 1)
        read = sources(expression)
        if all(map(is_of_event, read)):
            return Leaf("constant", coded(truth(expression, Trace(()))))  # outside events `it` stands for nothing
        if len(read) == 1:
            (source,) = read
            leaf = self._placed(expression, source)
            if leaf is not None:
                return leaf
        return Leaf("guess", self._guess(expression))

    def _placed(self, expression: BooleanExpression, source: str | EventAt) -> Leaf | None:
        """What reads one message only, or all of them together."""
        match source:
            case "response":
                return Leaf("answer", self._question(Question("text", expression), ANSWER))
            case "prompt":
                return self._place(expression, MessageText("prompt"), USER, -1)
            case "system":
                return self._place(expression, MessageText("system"), EventSelector("message", role="system"), -1, True)
            case "developer":
                text = MessageText("developer")
                return self._place(expression, text, EventSelector("message", role="developer"), -1, True)
            case "conversation":
                about = said_of_response(expression, MessageText("conversation"))
                language = language_of(about)
                if language is None:
                    return None
                for kind in ("message", "call", "output"):
                    self._question(Question("text", about), EventSelector(kind))
                self.wholes.append(language)
                return Leaf("whole", len(self.wholes) - 1)
            case EventAt(selector, index) if index:
                return self._place(expression, source, selector, index)
        return None

    def _place(
        self,
        expression: BooleanExpression,
        text: MessageText | EventAt,
        selector: EventSelector,
        index: int,
        is_only: bool = False,
    ) -> Leaf:
        about = said_of_response(expression, text)
        number = self._selector(selector)
        place = next((p for p in self.places if (p.selector, p.index, p.is_only) == (number, index, is_only)), None)
        if place is None:
            place = Placed(number, index, is_only)
            self.places.append(place)
        place.questions.append(self._question(Question("text", about), selector))
        missing = UNKNOWN if text == MessageText("prompt") else answers_to((about,), "")[0]
        place.missing.append(missing)
        return Leaf("place", self.places.index(place), len(place.questions) - 1)

    def _guess(self, expression: BooleanExpression) -> int:
        self.reasons[why_open(expression)] = None
        self.guessed.append(-1)
        return len(self.guessed) - 1

    # ------------------------------------------------------------------------------------------------ of one event
    def _selector(self, selector: EventSelector) -> int:
        if selector not in self.selectors:
            where = None if selector.where is None else self._step(selector.where, selector)
            self.selectors[selector] = len(self.wheres)
            self.wheres.append(where)
        return self.selectors[selector]

    def _question(self, question: Question, selector: EventSelector) -> int:
        self.questions.setdefault(question, []).append(selector)
        return list(self.questions).index(question)

    def _step(self, expression: BooleanExpression, selector: EventSelector) -> Step:
        """What is said of one of the events that `selector` means."""
        match expression:
            case BooleanConstant(value):
                return (lambda _: 2) if value else (lambda _: 0)
            case Not(item):
                inner = self._step(item, selector)
                return lambda here: 2 - inner(here)
            case And(items) | Or(items):
                parts = [self._step(item, selector) for item in items]
                if isinstance(expression, And):
                    return lambda here: min((part(here) for part in parts), default=2)
                return lambda here: max((part(here) for part in parts), default=0)
            case Neighbour(side, other):
                sides = self.befores if side == "before" else self.afters
                number = self._selector(other)
                if number not in sides:
                    sides.append(number)
                at = sides.index(number)
                return (lambda here: here.before[at]) if side == "before" else (lambda here: here.after[at])
            case Compare() if (opposite := _without_denial(expression)) is not None:
                return self._step(opposite, selector)
        read = sources(expression)
        of_event = [source for source in read if is_of_event(source)]
        if not read:
            settled = coded(truth(expression, Trace(())))
            return lambda _: settled
        if not of_event:
            guess = self._nested_guess(self._leaf(expression))
            return lambda here: here.guesses[guess]
        if len(of_event) < len(read):
            self.reasons[why_open(expression)] = None
            asked = self._question(Question("guess", expression), selector)
        else:
            asked = self._question(_question_about(expression), selector)
        return lambda here: here.values[asked]

    def _nested_guess(self, leaf: int) -> int:
        """The guess at what a leaf will turn out to be."""
        if self.leaves[leaf].kind == "guess":
            return self.leaves[leaf].at
        if leaf not in self._nested:
            self._nested[leaf] = len(self.guessed)
            self.guessed.append(leaf)
        return self._nested[leaf]


def _question_about(expression: BooleanExpression) -> Question:
    """What is asked of an event, of its text, its tool or one argument where it reads nothing else."""
    read = tuple(source for source in sources(expression) if isinstance(source, str))
    if len(read) == 1:
        if read[0] == "it":
            return Question("text", said_of_response(expression, MessageText("it")))
        if read[0] != TOOL:
            return Question("argument", expression, read[0])
        if not any(isinstance(part, (NumberFact, BooleanFact)) for part in walk(expression)):
            return Question("tool", said_of_response(expression, Fact(TOOL)))
    return Question("message", expression)


def _without_denial(compare: Compare) -> BooleanExpression | None:
    """`at most` as not `more than`, so that opposite comparisons ask one question; None where there is no denial."""
    if compare.operator in ("<", "<=", "!="):
        return Not(Compare(OPPOSITE[compare.operator], compare.left, compare.right))
    return None


def _counted(expression: BooleanExpression) -> tuple[EventSelector, Operator, float] | None:
    match expression:
        case Compare(operator, EventCount(selector), NumberConstant(bound)):
            return selector, operator, bound
        case Compare(operator, NumberConstant(bound), EventCount(selector)):
            return selector, MIRRORED[operator], bound
    return None


def _turned(value: Range) -> Range:
    return 2 - value[1], 2 - value[0]


def _joined(ranges: Sequence[Range], chosen: Callable[..., int]) -> Range:
    return chosen(low for low, _ in ranges), chosen(high for _, high in ranges)
