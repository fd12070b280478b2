"""Whether some conversation obeys a set of statements about conversations: a shortest one, or a proof of none.

Statements about tool calls, outputs and messages look at each event by itself, at what stands before or after it, and
at how often events occur. So a conversation is a word over finitely many kinds of events (compiler/monitors/events.py)
and each statement a finite machine that reads it (compiler/monitors/model.py); the machines are searched together.
What is asked of one text or argument is settled by automata, comparisons of numbers by the points where they change.

Nothing fails open. Every conversation that is found is evaluated again (compiler/evaluate.py) before it is given out.
Where something is no question for automata, the search assumes that it can be anything: finding nothing is then still
a proof, and anything else is not decided.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from bylaw.compiler.evaluate import truth
from bylaw.compiler.monitors.events import Alphabet, Event, Question, alphabet_of
from bylaw.compiler.monitors.model import Model
from bylaw.compiler.monitors.reading import bare, facts_read, leaves, sources, why_open, with_facts
from bylaw.compiler.monitors.search import Search
from bylaw.compiler.monitors.texts import NotDecided, language_of, value_patterns
from bylaw.spec.expression import BooleanExpression, BooleanFact, NumberFact
from bylaw.spec.logic import walk
from bylaw.spec.trace import FactValue, Message, Trace, written

__all__ = ("NotDecided", "conversation_obeying", "shown")

LIMIT = 10_000
"""States of the search."""
MOST_CHOICES = 32
"""Combinations of facts that are tried."""
DEFAULTS: tuple[FactValue, ...] = (1.0, 0.0, 10.0, 100.0)
LONGEST_SHOWN = 60


def conversation_obeying(statements: Sequence[BooleanExpression], limit: int = LIMIT) -> Trace | None:
    """A conversation that ends with an answer and of which all statements are true, or None where there is none.

    It has as few messages as any (where automata describe all that is asked), and short texts. None is a proof. Raises
    NotDecided where neither is found: something is beyond what monitors describe, or the search has met more than
    `limit` states.
    """
    asked = tuple(bare(statement) for statement in statements)
    paths = facts_read(asked)
    if not paths:
        return _checked(_without_facts(asked, limit), {}, statements)
    return _with_facts(asked, paths, statements, limit)


def _checked(
    found: tuple[Message, ...] | None, facts: dict[str, FactValue], statements: Sequence[BooleanExpression]
) -> Trace | None:
    """The conversation, when the reference evaluator agrees. Raises NotDecided."""
    if found is None:
        return None
    trace = Trace(found, facts)
    if all(truth(statement, trace) is True for statement in statements):
        return trace
    raise NotDecided("the conversation that was found does not obey the rules when it is evaluated")


def _without_facts(statements: tuple[BooleanExpression, ...], limit: int) -> tuple[Message, ...] | None:
    """The messages of a shortest conversation, still to be checked where something was guessed. Raises NotDecided.

    A few likely texts often do, and cost little: where no conversation could be shorter, whatever texts there are, no
    automata are built.
    """
    model = Model.of(statements)
    try:
        fewest, found = _likely(model, statements, limit)
    except NotDecided:
        pass  # automata may tell fewer events apart
    else:
        if fewest is None or found is not None:
            return found
    return _thorough(model, statements, limit)


def _thorough(model: Model, statements: tuple[BooleanExpression, ...], limit: int) -> tuple[Message, ...] | None:
    """The messages of a shortest conversation, with automata for all that is asked of texts. Raises NotDecided."""
    alphabet = _alphabet(model, is_thorough=True)
    search = Search(model, _known(alphabet), limit)
    found = _messages(search.shortest())
    if found is None and alphabet.is_exact and search.is_exact():
        return None
    if found is None and Search(model, alphabet.events, limit, is_generous=True).shortest() is None:
        return None
    if found is None or (model.reasons and not _is_kept(found, statements)):
        raise NotDecided(_reason(model))
    return found


def _likely(
    model: Model, statements: tuple[BooleanExpression, ...], limit: int
) -> tuple[int | None, tuple[Message, ...] | None]:
    """(how many messages any conversation needs at least, None if there can be none; one of that length, if a few
    likely texts make one). Raises NotDecided."""
    alphabet = _alphabet(model, is_thorough=False)
    possible = Search(model, alphabet.events, limit, is_generous=True).shortest()
    if possible is None:
        return None, None
    found = _messages(Search(model, _known(alphabet), limit).shortest(len(possible)))
    return len(possible), found if found is not None and _is_kept(found, statements) else None


def _alphabet(model: Model, is_thorough: bool) -> Alphabet:
    return alphabet_of(model.questions, tuple(model.selectors), bool(model.wholes), is_thorough)


def _known(alphabet: Alphabet) -> tuple[Event, ...]:
    return tuple(event for event in alphabet.events if event.message is not None)


def _messages(events: list[Event] | None) -> tuple[Message, ...] | None:
    return None if events is None else tuple(event.message for event in events if event.message is not None)


def _is_kept(messages: tuple[Message, ...], statements: tuple[BooleanExpression, ...]) -> bool:
    return all(truth(statement, Trace(messages)) is True for statement in statements)


def _reason(model: Model) -> str:
    """Why the question stays open, in words for the author."""
    reasons = [*model.reasons]
    reasons += [why_open(question.said) for question in model.questions if _is_open(question)]
    if model.wholes:
        reasons.append("what is said of the whole conversation as one text is not compared with its single events")
    if any(place.is_only for place in model.places):
        reasons.append("what is said of all messages of one role as one text is not compared with the single ones")
    return next(iter(reasons), "several things are asked of one text or argument that no automaton describes together")


def _is_open(question: Question) -> bool:
    """Whether no automaton, and no points on a line of numbers, tell all about it."""
    if question.kind == "argument":
        return not value_patterns(question.path, (question.said,)).is_exact
    return question.kind == "message" or (question.kind == "text" and language_of(question.said) is None)


# ------------------------------------------------------------------------------------------------------------- facts
def _with_facts(
    asked: tuple[BooleanExpression, ...],
    paths: tuple[str, ...],
    statements: Sequence[BooleanExpression],
    limit: int,
) -> Trace | None:
    """The same where statements read facts of the conversation: they are chosen first. Raises NotDecided."""
    least = _least(asked, limit)
    if least is None:
        return None
    choices = [_values(path, asked) for path in paths]
    chosen = list(itertools.islice(itertools.product(*(values for values, _ in choices)), MOST_CHOICES + 1))
    plans: list[tuple[int, dict[str, FactValue], tuple[Message, ...] | None]] = []
    for each in chosen[:MOST_CHOICES]:
        facts = dict(zip(paths, each, strict=True))
        try:
            fewest, found = _likely(*_given(asked, facts), limit)
        except NotDecided:
            fewest, found = least, None
        if found is not None and len(found) <= least:
            return _checked(found, facts, statements)
        if fewest is not None:
            plans.append((fewest, facts, found))
    reason = None
    for _, facts, found in sorted(plans, key=lambda plan: (plan[0], plan[2] is None)):
        try:
            messages = _thorough(*_given(asked, facts), limit) if found is None else found
        except NotDecided as undecided:
            reason = reason or undecided.reason
        else:
            if messages is not None:
                return _checked(messages, facts, statements)
    if all(is_exact for _, is_exact in choices) and reason is None and len(chosen) <= MOST_CHOICES:
        return None
    if _is_hopeless(asked, limit):
        return None
    raise NotDecided(reason or "what is said of the facts of a conversation is not described by automata")


def _given(
    asked: tuple[BooleanExpression, ...], facts: dict[str, FactValue]
) -> tuple[Model, tuple[BooleanExpression, ...]]:
    settled = tuple(with_facts(statement, facts) for statement in asked)
    return Model.of(settled), settled


def _least(asked: tuple[BooleanExpression, ...], limit: int) -> int | None:
    """How many messages any conversation needs at least, whatever the facts are; None if there can be none."""
    model = Model.of(asked)
    try:
        possible = Search(model, _alphabet(model, is_thorough=False).events, limit, is_generous=True).shortest()
    except NotDecided:
        return 1
    return None if possible is None else len(possible)


def _is_hopeless(asked: tuple[BooleanExpression, ...], limit: int) -> bool:
    """Whether no conversation obeys, even if statements that read facts could be anything. Raises NotDecided."""
    model = Model.of(asked)
    return Search(model, _alphabet(model, is_thorough=True).events, limit, is_generous=True).shortest() is None


def _values(path: str, statements: tuple[BooleanExpression, ...]) -> tuple[list[FactValue], bool]:
    """Values of a fact, one for each combination of answers to what is asked of it; whether there are no others."""
    reading = [
        leaf
        for leaf in dict.fromkeys(leaf for statement in statements for leaf in leaves(statement))
        if any(getattr(part, "path", None) == path for part in walk(leaf))
    ]
    alone = tuple(leaf for leaf in reading if sources(leaf) == {path})
    found: list[FactValue] = []
    is_exact = len(alone) == len(reading)
    if alone:
        patterns = value_patterns(path, alone)
        found += [each.examples[0] for each in patterns.items if each.examples]
        is_exact &= patterns.is_exact
    if not is_exact or not found:
        kinds = {type(part) for leaf in reading for part in walk(leaf) if getattr(part, "path", None) == path}
        found += DEFAULTS if NumberFact in kinds else (True, False) if BooleanFact in kinds else ("a", "")
    return list(dict.fromkeys(found)), is_exact


# ------------------------------------------------------------------------------------------------------------- shown
def shown(trace: Trace) -> str:
    """A conversation in one line: "user: `a`; call `refund(amount: 1)`; output of `refund`: `a`; answer: `a`"."""
    parts = [(part, len(list(same))) for part, same in itertools.groupby((*_facts(trace), *_events(trace)))]
    return "; ".join(part if times == 1 else f"{part} ({times} times)" for part, times in parts)


def _facts(trace: Trace) -> Iterator[str]:
    for path, value in trace.facts.items():
        yield f"{path} is {_quoted(written(value))}"


def _events(trace: Trace) -> Iterator[str]:
    for place, message in enumerate(trace.messages, start=1):
        match message.kind:
            case "call":
                arguments = ", ".join(f"{name}: {_short(written(value))}" for name, value in message.arguments)
                yield f"call `{message.tool}({arguments})`"
            case "output":
                yield f"output of `{message.tool}`: {_quoted(message.content)}"
            case _:
                is_answer = message.role == "assistant" and place == len(trace.messages)
                yield f"{'answer' if is_answer else message.role}: {_quoted(message.content)}"


def _quoted(text: str) -> str:
    return f"`{_short(text)}`" if text else "an empty text"


def _short(text: str) -> str:
    line = text.replace("\n", "\\n").replace("`", "'")
    return line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + "..."
