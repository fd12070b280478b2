"""The abstract events of a conversation, and for each a message that is one.

A finite alphabet for monitors: the kind, who speaks or which tool (those that are named, and another one), and the
answers to what rules ask of one event, in all combinations that can come together. An event without a message is only
not known to be impossible.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from bylaw.compiler.automata.algebra import shortest_witness
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.evaluate import truth
from bylaw.compiler.expressions import truth_in
from bylaw.compiler.monitors.calls import calls_of
from bylaw.compiler.monitors.texts import (
    FALSE,
    SEARCH_LIMIT,
    TRUE,
    UNKNOWN,
    NotDecided,
    Values,
    answers_to,
    coded,
    exactly,
    text_patterns,
)
from bylaw.compiler.situation import IT, TOOL, Situation
from bylaw.spec.expression import BooleanExpression, EventSelector, Fact, NumberFact
from bylaw.spec.logic import walk
from bylaw.spec.trace import FactValue, Message, Trace, tool_call

MOST_EVENTS = 400
ANOTHER_TOOL = "another_tool"


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is asked of single events.

    Of the `text` of the event, or of the name of its `tool` (both said of the response); of one `argument` of a call,
    `path`; of the whole `message`, by the evaluator alone; or a `guess`, which more than the event settles.
    """

    kind: Literal["text", "tool", "argument", "message", "guess"]
    said: BooleanExpression
    path: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event: `values` are its answers, by the number of the question (0 where it is not asked of it).

    `message` is one such event, None where none is known. `is_answer` says that the conversation may end with it.
    """

    kind: Literal["call", "output", "message"]
    name: str
    values: Values
    message: Message | None

    @property
    def is_answer(self) -> bool:
        return self.kind == "message" and self.name == "assistant"

    def may_be(self, selector: EventSelector) -> bool:
        """Whether it is of the kind, the tools and the role of a selector."""
        if self.kind != selector.kind:
            return False
        if self.kind == "message":
            return selector.role in (None, self.name)
        return selector.role in (None, "tool" if self.kind == "output" else "assistant") and (
            not selector.tools or self.name in selector.tools
        )


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The events that conversations are made of. `is_exact`: each has a message, and there are no others."""

    events: tuple[Event, ...]
    is_exact: bool


def alphabet_of(
    questions: Mapping[Question, Sequence[EventSelector]],
    selectors: Sequence[EventSelector],
    is_whole: bool,
    is_thorough: bool = True,
) -> Alphabet:
    """The events that matter: those that `selectors` may mean, and answers; with `is_whole`, all kinds of them.

    `questions` says of which events each is asked. Unless `is_thorough`, a few likely texts stand for what automata
    would find. Raises NotDecided where there are too many.
    """
    found: list[Event] = []
    is_exact = True
    shapes = [Event("message", role, (), None) for role in ("user", "assistant", "system", "developer")]
    shapes += [
        Event(kind, tool, (), None) for kind in ("call", "output") for tool in _tools(kind, questions, selectors)
    ]
    for shape in sorted(shapes, key=lambda each: each.name != "user"):
        if not (is_whole or shape.is_answer or any(map(shape.may_be, selectors))):
            continue
        asked = {each: at for at, (each, where) in enumerate(questions.items()) if any(map(shape.may_be, where))}
        events, is_known = _events(shape, asked, len(questions), is_thorough)
        found += events
        is_exact &= is_known
        if len(found) > MOST_EVENTS:
            raise NotDecided("the rules tell too many different events apart")
    return Alphabet(tuple(found), is_exact)


def _tools(
    kind: Literal["call", "output"],
    questions: Mapping[Question, Sequence[EventSelector]],
    all_of: Sequence[EventSelector],
) -> Iterator[str]:
    """One tool for each way in which rules tell tools apart, one that is not named among them."""
    named = tuple(dict.fromkeys(tool for selector in all_of if selector.kind == kind for tool in selector.tools))
    asked = tuple(question.said for question in questions if question.kind == "tool")
    seen: set[tuple[Values, tuple[bool, ...]]] = set()
    others = _other_tools(named, asked)
    for tool in (*named, *others):
        trace = Trace((Message("assistant", tool),))
        answers = tuple(coded(truth(question, trace)) for question in asked)
        meant = tuple(tool in selector.tools for selector in all_of if selector.kind == kind and selector.tools)
        if (answers, meant) not in seen:
            seen.add((answers, meant))
            yield tool


@lru_cache(maxsize=256)
def _other_tools(named: tuple[str, ...], asked: tuple[BooleanExpression, ...]) -> tuple[str, ...]:
    """A tool that no rule names, for each combination of answers to what is asked of the names of tools."""
    names = itertools.chain((ANOTHER_TOOL,), (f"{ANOTHER_TOOL}_{number}" for number in itertools.count(2)))
    plain = next(name for name in names if name not in named)
    if not asked:
        return (plain,)
    patterns = text_patterns(asked)
    if not patterns.is_exact:
        raise NotDecided("what is said of the names of tools is not described by an automaton of a reasonable size")
    outside = exactly(("", *named)).complement()
    found = [plain]
    for pattern in patterns.items:
        try:
            name = shortest_witness((outside, *pattern.languages), SEARCH_LIMIT)
        except StateLimit:
            raise NotDecided("the search for the name of a tool grew too large") from None
        found += [] if name is None else [name]
    return tuple(found)


# ----------------------------------------------------------------------------------------------- events of one kind
def _events(shape: Event, asked: Mapping[Question, int], size: int, is_thorough: bool) -> tuple[list[Event], bool]:
    """The events of one kind and name, and whether each has a message and there are no others."""
    bodies, is_exact = (_called if shape.kind == "call" else _said)(shape, asked, is_thorough)
    whole = [each for each in asked if each.kind == "message"]
    guesses = [each for each in asked if each.kind == "guess"]
    if len(whole) + len(guesses) > 6:
        raise NotDecided("the rules compare too many parts of a conversation with each other")
    tool = Trace((Message("assistant", shape.name),))
    same = {
        each: UNKNOWN if each.kind == "argument" or shape.kind == "message" else coded(truth(each.said, tool))
        for each in asked
        if each.kind in ("argument", "tool")
    }
    found: dict[tuple[Values, bool], Event] = {}
    for body, message in bodies:
        for answers, shown in _asked_of_messages(whole, same | body, message):
            for guessed in itertools.product((TRUE, FALSE), repeat=len(guesses)):
                by_place = [FALSE] * size
                for each, value in (*answers.items(), *zip(guesses, guessed, strict=True)):
                    by_place[asked[each]] = value
                values = tuple(by_place)
                found.setdefault((values, shown is not None), replace(shape, values=values, message=shown))
    return _without_dominated(list(found.values())), is_exact and not whole


_Bodies = tuple[list[tuple[dict[Question, int], Message | None]], bool]


def _said(shape: Event, asked: Mapping[Question, int], is_thorough: bool) -> _Bodies:
    """What is said, or given back."""
    questions = tuple(each for each in asked if each.kind == "text")
    patterns = text_patterns(tuple(each.said for each in questions), is_thorough)
    bodies = []
    for pattern in patterns.items:
        text = str(pattern.examples[0]) if pattern.examples else None
        bodies.append((dict(zip(questions, pattern.values, strict=True)), _message(shape, text)))
    return bodies, patterns.is_exact


def _message(shape: Event, text: str | None) -> Message | None:
    if text is None:
        return None
    return Message("tool", text, shape.name) if shape.kind == "output" else Message(shape.name, text)


def _called(shape: Event, asked: Mapping[Question, int], is_thorough: bool) -> _Bodies:
    """What a tool is called with."""
    texts = tuple(each for each in asked if each.kind == "text")
    paths = tuple(sorted({each.path for each in asked if each.kind == "argument"}))
    named = [tuple(each for each in asked if each.kind == "argument" and each.path == path) for path in paths]
    about = tuple((path, tuple(each.said for each in own)) for path, own in zip(paths, named, strict=True))
    calls = calls_of(tuple(each.said for each in texts), about, is_thorough)
    bodies = []
    for call in calls.items:
        answers = dict(zip(texts, call.text, strict=True))
        for own, values in zip(named, call.named, strict=True):
            answers |= dict(zip(own, values, strict=True))
        message = None if call.arguments is None else tool_call(shape.name, dict(call.arguments))
        bodies.append((answers, message))
        for more in _more_arguments(asked, paths) if message is not None else ():
            longer = tool_call(shape.name, dict(call.arguments or ()) | more)
            said = answers_to(tuple(each.said for each in texts), longer.content)
            bodies.append((answers | dict(zip(texts, said, strict=True)), longer))
    return bodies, calls.is_exact


def _more_arguments(asked: Mapping[Question, int], paths: Sequence[str]) -> Iterator[dict[str, FactValue]]:
    """A few values for arguments that are only compared with something else."""
    facts = {
        part.path: isinstance(part, NumberFact)
        for each in asked
        if each.kind == "message"
        for part in walk(each.said)
        if isinstance(part, (Fact, NumberFact)) and part.path.startswith(IT) and part.path not in (TOOL, *paths)
    }
    if 0 < len(facts) <= 3:
        for values in itertools.product((0, 1, 2), repeat=len(facts)):
            chosen = zip(facts.items(), values, strict=True)
            yield {path.removeprefix(IT): float(at) if is_number else "ab"[:at] for (path, is_number), at in chosen}


def _asked_of_messages(
    questions: Sequence[Question], known: dict[Question, int], message: Message | None
) -> Iterator[tuple[dict[Question, int], Message | None]]:
    """With the answers to what only the evaluator tells of a message; other answers may be possible too."""
    if not questions:
        yield known, message
        return
    if message is not None:
        here = Situation(Trace((message,))).at(0)
        yield known | {each: coded(truth_in(each.said, here)) for each in questions}, message
    for values in itertools.product((TRUE, FALSE), repeat=len(questions)):
        yield known | dict(zip(questions, values, strict=True)), None


def _without_dominated(events: list[Event]) -> list[Event]:
    """Without events that leave more unknown than another one, or have no message where another one has: whatever is
    true of a conversation with them is true of one with the others."""

    def dominates(other: Event, event: Event) -> bool:
        if other is event or (other.message is None and event.message is not None):
            return False
        if other.values == event.values:
            return event.message is None and other.message is not None
        return all(one in (UNKNOWN, two) for one, two in zip(event.values, other.values, strict=True))

    return [event for event in events if not any(dominates(other, event) for other in events)]
