"""What an expression says in a situation, by the definitions and in plain Python.

Three-valued: a fact that the trace does not have, or a division by zero, is unknown, never true and never false,
unless the rest of the sentence settles it (false `and` unknown is false). Time grows linearly with the conversation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from bylaw.compiler.situation import Found, Situation, is_candidate
from bylaw.compiler.values import (
    Unknown,
    calculated,
    compared,
    connective,
    fact_as_number,
    fact_as_truth,
    opposite,
)
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Concept,
    ConceptScore,
    Continued,
    Count,
    EachEvent,
    EachPart,
    EventAt,
    EventCount,
    EventSelector,
    Fact,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Neighbour,
    Not,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Operator,
    Or,
    PartOf,
    Phrase,
    Rank,
    TextCall,
    TextConstant,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED


# ------------------------------------------------------------------------------------------------------ booleans
def truth_in(expression: BooleanExpression, here: Situation) -> bool | Unknown:
    """Kleene's three-valued logic: unknown only where the known parts do not settle it."""
    match expression:
        case BooleanConstant(value):
            return value
        case BooleanFact(path):
            return fact_as_truth(here.fact(path), path)
        case Not(item):
            return opposite(truth_in(item, here))
        case And(items) | Or(items):
            return connective((truth_in(item, here) for item in items), isinstance(expression, Or))
        case Compare(operator, left, right):
            return _compare(operator, left, right, here)
        case Holds():
            return _holds(expression, here)
        case BooleanCall(function, arguments):
            answer = _call(function, arguments, here)
            return answer if isinstance(answer, Unknown) else bool(answer)
        case EachPart(quantity, unit, subject, item):
            text = text_in(subject, here)
            if isinstance(text, Unknown):
                return text
            parts = (truth_in(item, here.part(text[e.start : e.end])) for e in catalog.unit(unit).find(text))
            return connective(parts, quantity == "some")
        case EachEvent(quantity):
            return here.once(
                "truth", expression, lambda: connective(_said_of_events(expression, here), quantity == "some")
            )
        case Neighbour(side, selector):
            if here.position is None:
                return Unknown("nothing stands before or after this")
            return found(selector, here).beside(side, here.position)


def _holds(expression: Holds, here: Situation) -> bool | Unknown:
    text = text_in(expression.subject, here)
    if isinstance(text, Unknown):
        return text
    question, matchers = catalog.predicate(expression.predicate), expression.matchers
    if expression.argument is not None:
        wanted = text_in(expression.argument, here)
        if isinstance(wanted, Unknown):
            return wanted
        if wanted == "":  # found everywhere; only the empty text is exactly this
            return expression.predicate != "match" or text == ""
        matchers = (Phrase(wanted),)
    if not question.takes_matchers:
        return bool(question.find(text, None))
    if expression.in_order:
        return _in_order(question, text, matchers)
    each = (bool(question.find(text, matcher)) for matcher in matchers)
    return any(each) if expression.quantity == "any" else all(each)


def _in_order(question: catalog.Predicate, text: str, matchers: tuple[Matcher, ...]) -> bool:
    """Whether each is found after the end of the one before it: the first such occurrence counts."""
    position = 0
    for matcher in matchers:
        later = next((e for e in question.find(text, matcher) if e.start >= position), None)
        if later is None:
            return False
        position = later.end
    return True


def _compare(operator: Operator, left: NumberExpression, right: NumberExpression, here: Situation) -> bool | Unknown:
    for counted, other, order in ((left, right, operator), (right, left, MIRRORED[operator])):
        if isinstance(counted, EventCount):
            return _compare_count(order, found(counted.selector, here), number_in(other, here))
    return compared(operator, number_in(left, here), number_in(right, here))


def _compare_count(operator: Operator, events: Found, bound: float | Unknown) -> bool | Unknown:
    """A count of events that lies within a range may still be settled: 3 or 4 calls are more than 1."""
    least, most, doubt = events.count()
    if doubt is None or isinstance(bound, Unknown):
        return compared(operator, float(least), bound)
    lowest, highest = compared(operator, float(least), bound), compared(operator, float(most), bound)
    is_between = operator in ("==", "!=") and least <= bound <= most
    return doubt if is_between or lowest is not highest else lowest


# -------------------------------------------------------------------------------------------------------- events
def found(selector: EventSelector, here: Situation) -> Found:
    """Which events of the conversation are meant; worked out once for each selector."""
    return here.once("found", selector, lambda: Found.of(tuple(_statuses(selector, here))))


def _statuses(selector: EventSelector, here: Situation) -> Iterator[bool | Unknown]:
    for position, message in enumerate(here.trace.messages):
        candidate = is_candidate(selector, message, position)
        if candidate is False or selector.where is None:
            yield candidate
        else:
            yield connective((candidate, truth_in(selector.where, here.at(position))), False)


def _said_of_events(each: EachEvent, here: Situation) -> Iterator[bool | Unknown]:
    """For `every`: is it none of those meant, or does the item hold of it? For `some`: is it, and does it?"""
    is_some = each.quantity == "some"
    for position, status in enumerate(found(each.selector, here).statuses):
        if status is not False:
            said = truth_in(each.item, here.at(position))
            yield connective((status if is_some else opposite(status), said), not is_some)


# ------------------------------------------------------------------------------------------------------- numbers
def number_in(expression: NumberExpression, here: Situation) -> float | Unknown:
    """The value of a quantity."""
    match expression:
        case NumberConstant(value):
            return value
        case NumberFact(path):
            return fact_as_number(here.fact(path), path)
        case Count(_, subject) | Occurrences(_, subject) | FoundAmong(_, subject):
            text = text_in(subject, here)
            return text if isinstance(text, Unknown) else float(_counted(expression, text))
        case Arithmetic(operator, left, right):
            return calculated(operator, number_in(left, here), number_in(right, here))
        case NumberCall(function, arguments):
            result = _call(function, arguments, here)
            if isinstance(result, Unknown):
                return result
            return float(result) if math.isfinite(float(result)) else Unknown(f"`{function}` has no finite value here")
        case ConceptScore(concept, subject):
            text = text_in(subject, here)
            return text if isinstance(text, Unknown) else _score(concept, text, here)
        case EventCount(selector):
            least, _, doubt = found(selector, here).count()
            return float(least) if doubt is None else doubt
        case Rank(alternatives):
            for place, alternative in enumerate(alternatives):
                holds = truth_in(alternative, here)
                if isinstance(holds, Unknown):
                    return holds
                if holds:
                    return -float(place) + 0.0
            return -float(len(alternatives))


def _counted(counted: Count | Occurrences | FoundAmong, text: str) -> int:
    if isinstance(counted, Count):
        return len(catalog.unit(counted.unit).find(text))
    question = catalog.predicate(counted.predicate)
    each = [len(question.find(text, matcher)) for matcher in counted.matchers]
    return sum(each) if isinstance(counted, Occurrences) else sum(times > 0 for times in each)


def _score(concept: Concept, text: str, here: Situation) -> float | Unknown:
    """1 for an example of the concept, 0 for a counterexample, else what a scorer said."""
    bare = text.strip()
    for examples, score in ((concept.like, 1.0), (concept.unlike, 0.0)):
        if any(bare == example.strip() for example in examples):
            return score
    key = (concept.name, text)
    known = here.trace.scores.get(key)
    if known is not None:
        return known
    return Unknown(here.trace.unscored.get(key, f"no scorer has scored `{concept.name}`"))


def _call(
    function: str, arguments: tuple[TextExpression | NumberExpression, ...], here: Situation
) -> catalog.Value | Unknown:
    values: list[catalog.Argument] = []
    for argument in arguments:
        value = text_in(argument, here) if isinstance(argument, TextExpression) else number_in(argument, here)
        if isinstance(value, Unknown):
            return value
        values.append(value)
    try:
        return catalog.function(function).value(*values)
    except catalog.NoValue as error:
        return Unknown(error.reason)


# --------------------------------------------------------------------------------------------------------- texts
def text_in(expression: TextExpression, here: Situation) -> str | Unknown:
    """The text that a sentence is about."""
    match expression:
        case TextConstant(value):
            return value
        case MessageText(role):
            return here.text(role)
        case Continued(before):
            response = here.text("response")
            return response if isinstance(response, Unknown) else before + response
        case Fact(path):
            return here.fact_text(path)
        case PartOf(unit, index, subject):
            text = text_in(subject, here)
            return text if isinstance(text, Unknown) else part_of(unit, index, text)
        case EventAt(selector, index):
            return _event_at(selector, index, here)
        case TextCall(function, arguments):
            result = _call(function, arguments, here)
            return result if isinstance(result, Unknown) else str(result)


def _event_at(selector: EventSelector, index: int, here: Situation) -> str | Unknown:
    """The text of one event; the empty text where there is no such event."""
    statuses = found(selector, here).statuses
    unknown = next((status for status in statuses if isinstance(status, Unknown)), None)
    if unknown is not None:
        return unknown
    places = [place for place, status in enumerate(statuses) if status]
    place = index - 1 if index > 0 else len(places) + index
    return here.trace.messages[places[place]].content if 0 <= place < len(places) else ""


def part_of(unit: str, index: int, text: str) -> str:
    """One part of a text; the empty text where there is no such part."""
    parts = catalog.unit(unit).find(text)
    place = index - 1 if index > 0 else len(parts) + index
    return text[parts[place].start : parts[place].end] if 0 <= place < len(parts) else ""
