"""What in a conversation makes a statement true or false: places in the response, and events."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bylaw.compiler.expressions import found, number_in, text_in, truth_in
from bylaw.compiler.situation import Situation, describe
from bylaw.compiler.values import Unknown
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    ConceptScore,
    Count,
    EachEvent,
    EachPart,
    EventCount,
    Extent,
    Holds,
    MessageText,
    Not,
    NumberExpression,
    Occurrences,
    Operator,
    Or,
    PartOf,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED, OPPOSITE

RESPONSE = MessageText("response")


@dataclass(frozen=True, slots=True)
class Evidence:
    """`places` are ranges of the response, `events` positions in the conversation, both in order."""

    places: tuple[Extent, ...]
    events: tuple[int, ...] = ()

    def reason(self, here: Situation) -> str | None:
        """The events in words: `message 4: call to send_email (and 2 more)`; None without events."""
        if not self.events:
            return None
        first, others = self.events[0], len(self.events) - 1
        more = f" (and {others} more)" if others else ""
        return f"message {first + 1}: {describe(here.trace.messages[first])}{more}"


def evidence_of(statement: BooleanExpression, here: Situation, wanted: bool) -> Evidence:
    """What makes `statement` come out as `wanted`, as it is known to do; the whole response where nothing in particular
    does (something is missing)."""
    pieces = tuple(_pieces(statement, here, wanted, None))
    places = {piece for piece in pieces if isinstance(piece, Extent)}
    events = tuple(sorted({piece for piece in pieces if isinstance(piece, int)}))
    response = here.text("response")
    if not places and not events and not isinstance(response, Unknown):
        places = {Extent(0, len(response))}
    return Evidence(tuple(sorted(places, key=lambda extent: (extent.start, extent.end))), events)


def _pieces(statement: BooleanExpression, here: Situation, wanted: bool, start: int | None) -> Iterator[Extent | int]:
    """Ranges of the response and positions of events for a statement that is known to come out as wanted; `start` is
    where in the response `it` begins, None elsewhere."""
    match statement:
        case Not(item):
            yield from _pieces(item, here, not wanted, start)
        case And(items) | Or(items):
            # a conjunction that holds, and an alternative that does not, say so of each item
            is_each = wanted is isinstance(statement, And)
            for item in items:
                if is_each or truth_in(item, here) is wanted:
                    yield from _pieces(item, here, wanted, start)
        case Holds(name, subject, matchers) if wanted and statement.argument is None:
            text, question = text_in(subject, here), catalog.predicate(name)
            at = _place(subject, here, start)
            if at is not None and isinstance(text, str):
                yield from _moved((e for m in (matchers or (None,)) for e in question.find(text, m)), at)
        case Compare(operator, left, right):
            broken = OPPOSITE[operator] if wanted else operator
            for counted, bound, order in ((left, right, broken), (right, left, MIRRORED[broken])):
                if isinstance(counted, (Count, Occurrences)):
                    yield from _surplus(order, counted, bound, here, start)
                    return
                if isinstance(counted, ConceptScore):
                    if order in ("<", "<="):  # what falls short of a threshold is nowhere in particular
                        yield from _seen(counted, here, start)
                    return
                if isinstance(counted, EventCount):
                    statuses = found(counted.selector, here).statuses
                    yield from (position for position, status in enumerate(statuses) if status is True)
                    return
        case EachPart(quantity, unit, subject, item) if wanted is (quantity == "some"):
            yield from _parts(unit, subject, item, here, wanted, start)
        case EachEvent(quantity) if wanted is (quantity == "some"):
            yield from _events(statement, here, wanted)


def _parts(
    unit: str, subject: TextExpression, item: BooleanExpression, here: Situation, wanted: bool, start: int | None
) -> Iterator[Extent | int]:
    """The parts that decide it, or what in them does."""
    text, at = text_in(subject, here), _place(subject, here, start)
    if isinstance(text, Unknown) or at is None:
        return
    for part in catalog.unit(unit).find(text):
        there = here.part(text[part.start : part.end])
        if truth_in(item, there) is wanted:
            inside = list(_pieces(item, there, wanted, at + part.start))
            yield from inside or [Extent(at + part.start, at + part.end)]


def _events(each: EachEvent, here: Situation, wanted: bool) -> Iterator[Extent | int]:
    """The events that decide it; of the response also what in it does."""
    last = len(here.trace.messages) - 1
    for position, status in enumerate(found(each.selector, here).statuses):
        if status is True and truth_in(each.item, here.at(position)) is wanted:
            yield position
            if position == last and here.trace.response is not None:
                yield from _pieces(each.item, here.at(position), wanted, 0)


def _place(subject: TextExpression, here: Situation, start: int | None) -> int | None:
    """Where in the response a text begins; None for a text that is no range of it."""
    if subject == RESPONSE:
        return None if isinstance(here.text("response"), Unknown) else 0
    if subject == MessageText("it"):
        return start
    if isinstance(subject, PartOf):
        whole, at = text_in(subject.subject, here), _place(subject.subject, here, start)
        if at is None or isinstance(whole, Unknown):
            return None
        parts = catalog.unit(subject.unit).find(whole)
        index = subject.index - 1 if subject.index > 0 else len(parts) + subject.index
        return at + parts[index].start if 0 <= index < len(parts) else None
    return None


def _surplus(
    broken: Operator,
    counted: Count | Occurrences,
    bound: NumberExpression,
    here: Situation,
    start: int | None,
) -> Iterator[Extent]:
    """Where there is too much for `counted broken bound` to hold: every match of a pattern, or the units from the first
    one too many to the last one. Nothing in particular where there is too little."""
    limit, text = number_in(bound, here), text_in(counted.subject, here)
    at = _place(counted.subject, here, start)
    if isinstance(limit, Unknown) or isinstance(text, Unknown) or at is None:
        return
    if isinstance(counted, Occurrences):
        question = catalog.predicate(counted.predicate)
        yield from _moved((e for matcher in counted.matchers for e in question.find(text, matcher)), at)
        return
    allowed = {"<=": math.floor(limit), "<": math.ceil(limit) - 1, "==": math.floor(limit), "!=": 0}.get(broken)
    units = catalog.unit(counted.unit).find(text)
    if allowed is not None and len(units) > max(allowed, 0):
        yield Extent(at + units[max(allowed, 0)].start, at + units[-1].end)


def _seen(score: ConceptScore, here: Situation, start: int | None) -> Iterator[Extent]:
    """Where a scorer saw the concept."""
    text, at = text_in(score.subject, here), _place(score.subject, here, start)
    if isinstance(text, str) and at is not None:
        seen = here.trace.passages.get((score.concept.name, text), ())
        yield from (Extent(at + first, at + end) for first, end in seen)


def _moved(extents: Iterator[Extent], at: int) -> Iterator[Extent]:
    return (Extent(at + extent.start, at + extent.end) for extent in extents)
