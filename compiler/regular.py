"""Typed expressions about the response -> automata.

None means "not regular, or too large": the caller then weighs finished texts with the evaluator instead, and an
analysis says "not analysable", never "no conflict".
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

from bylaw.compiler.automata.algebra import intersect, number_between, union
from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, count_between, indicator, linear, saturating, scale, support
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.pullback import machine_over_texts
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular_lines import as_response, every_line, line_at, read_line
from bylaw.compiler.specialise import reads_only_response
from bylaw.spec import catalog
from bylaw.spec.catalog import Language
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    Count,
    EachEvent,
    EachPart,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Neighbour,
    Not,
    NumberCall,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Operator,
    Or,
    PartOf,
    Phrase,
    Rank,
    TextCall,
)
from bylaw.spec.logic import MIRRORED, negate, walk
from bylaw.spec.machine import CountingMachine
from bylaw.spec.normal import Normalised
from bylaw.spec.pattern import Alternate, Node

STATE_LIMIT = 20_000
LARGEST_COUNT = 4_000
"""Above this, a count is compared on the finished text."""
LONGEST_PHRASE = 4_000
"""A longer text, such as a whole prompt, is looked for in the finished text: each character costs a state."""
MOST_AMONG, MOST_PATTERNS_AMONG = 8, 3
"""Up to here `at least n of` a list becomes an automaton; patterns may remember more than phrases do."""
RESPONSE = MessageText("response")


def dfa_of(expression: BooleanExpression, limit: int = STATE_LIMIT) -> Dfa | None:
    """The responses for which a statement is true, or None where that is not a regular language of this size."""
    if not reads_only_response(expression):
        return None
    try:
        return _dfa(expression, limit)
    except StateLimit:
        return None


def valued_of(term: RewardTerm, limit: int = STATE_LIMIT) -> Valued | None:
    """What a specialised term adds to the exponent (nats; -inf where a hard rule is broken), or None.

    A budget without a multiplier adds nothing yet: its multiplier counts as 0.
    """
    for part in (term.condition, term.among, term.holds, term.value):
        if part is not None and not reads_only_response(part):
            return None
    try:
        if term.holds is not None:
            return _statement(term, term.holds, limit)
        if term.value is None or term.condition is not None or term.among is not None:
            return None  # whether a count counts shows at the end of a text only
        factor = -(term.multiplier or 0.0) if term.kind == "budget" else (term.weight or 0.0)
        value = _value(term.value, limit)
        return None if value is None else scale(value, factor)
    except StateLimit:
        return None


def _statement(term: RewardTerm, holds: BooleanExpression, limit: int) -> Valued | None:
    applies = (term.condition,) if term.condition is not None else ()
    if term.kind == "budget":
        multiplier, among = term.multiplier or 0.0, (*applies, *(() if term.among is None else (term.among,)))
        event = _dfa(And((*among, holds)), limit)
        counted = None if event is None else scale(indicator(event), -multiplier)
        if counted is None or term.among is None:
            return counted
        room = _dfa(And(among), limit)
        return None if room is None else add((counted, scale(indicator(room), multiplier * (term.bound or 0.0))), limit)
    broken = _dfa(And((*applies, negate(holds))), limit)
    if broken is None:
        return None
    if term.kind == "hard":
        return support(broken.complement())
    return scale(indicator(broken), -(term.weight or 0.0))


def why_not_regular(term: RewardTerm) -> str:
    """Why there is no automaton of what a term says."""
    parts = [part for said in (term.condition, term.among, term.holds) if said is not None for part in walk(said)]
    if any(isinstance(part, ConceptScore) for part in parts):
        return "concepts are scored, so no proof about texts speaks of them"
    if any(isinstance(part, (NumberCall, TextCall, BooleanCall)) for part in parts):
        return "functions are computed on the finished text, so no proof speaks of them"
    return "no automaton of a reasonable size describes this"


# ---------------------------------------------------------------------------------------------------- statements
def _dfa(expression: BooleanExpression, limit: int) -> Dfa | None:
    match expression:
        case BooleanConstant(value):
            return Dfa.constant(Alphabet.of(()), value)
        case BooleanFact():
            return None
        case Not(item):
            inner = _dfa(item, limit)
            return None if inner is None else inner.complement()
        case And(items) | Or(items):
            parts = [_dfa(item, limit) for item in items]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            return (intersect if isinstance(expression, And) else union)(known, limit)
        case Holds() | Compare() if (place := read_line(expression)) is not None:
            return _line(expression, place, limit)
        case EachPart(quantity, "lines", MessageText("response"), item):
            return _each_line(quantity, item, limit)
        case Holds(name, subject, matchers, quantity):
            if subject != RESPONSE or expression.argument is not None or expression.in_order:
                return None
            return _holds(name, matchers, quantity, limit)
        case Compare(operator, left, right):
            return _compare(operator, left, right, limit)
        case BooleanCall() | EachPart() | EachEvent() | Neighbour():
            return None


def _line(expression: Holds | Compare, place: int, limit: int) -> Dfa | None:
    """What is said of one line of the response."""
    said = as_response(expression, PartOf("lines", place, RESPONSE))
    inside = None if said is None else _dfa(said, limit)
    return None if inside is None else line_at(inside, place, limit)


def _each_line(quantity: str, item: BooleanExpression, limit: int) -> Dfa | None:
    """What is said of every line of the response, or of some line: not of every line the opposite."""
    said = as_response(item if quantity == "every" else negate(item), MessageText("it"))
    inside = None if said is None else _dfa(said, limit)
    if inside is None:
        return None
    lines = every_line(inside, limit)
    return lines if quantity == "every" else lines.complement()


def _holds(name: str, matchers: tuple[Matcher, ...], quantity: str, limit: int) -> Dfa | None:
    if any(isinstance(matcher, Phrase) and len(matcher.text) > LONGEST_PHRASE for matcher in matchers):
        return None
    if _is_too_large(matchers, limit):
        return None
    found = [catalog.predicate(name).language(matcher) for matcher in matchers or (None,)]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    if quantity == "any" and len({one.mode for one in known}) == 1 and all(_is_plain(one.node) for one in known):
        # One pattern with alternatives is the same language, and pulled back to texts as they are only once.
        together = Alternate(tuple(one.node.items[0] for one in known if isinstance(one.node, Normalised)))
        known = [Language(known[0].mode, Normalised((together,)))]
    built = [language(one.node, one.mode, limit=limit) for one in known]  # type: ignore[arg-type]
    return built[0] if len(built) == 1 else (union if quantity == "any" else intersect)(built, limit)


def _is_too_large(matchers: tuple[Matcher, ...], limit: int) -> bool:
    """Whether a list alone has more beginnings than an automaton of it may have states, which each needs one for."""
    texts = [matcher.text.casefold() for matcher in matchers if isinstance(matcher, Phrase)]
    if sum(map(len, texts)) <= limit:
        return False
    return len({text[:end] for text in texts for end in range(1, len(text) + 1)}) > limit


def _is_plain(node: Node) -> bool:
    return isinstance(node, Normalised)


def _compare(operator: Operator, left: NumberExpression, right: NumberExpression, limit: int) -> Dfa | None:
    if isinstance(left, NumberConstant) and not isinstance(right, NumberConstant):
        return _compare(MIRRORED[operator], right, left, limit)
    if not isinstance(right, NumberConstant) or not isinstance(left, (Count, Occurrences, FoundAmong)):
        return None  # only counts are whole and never below zero
    if left.subject != RESPONSE:
        return None
    if operator == "!=":
        equal = _compare("==", left, right, limit)
        return None if equal is None else equal.complement()
    least, most = _range(operator, right.value)
    if most is not None and most < least:
        return Dfa.constant(Alphabet.of(()), False)
    if least == 0 and most is None:
        return Dfa.constant(Alphabet.of(()), True)
    if max(least, most or 0) > LARGEST_COUNT:
        return None
    if isinstance(left, FoundAmong):
        return _found_among(left, least, most, limit)
    if isinstance(left, Occurrences) and (least, most) in ((1, None), (0, 0)):
        # "At least once" needs no counting, so it works for every pattern and for whole lexicons.
        found = _holds(left.predicate, left.matchers, "any", limit)
        return found if found is None or least else found.complement()
    machine = _machine(left)
    return None if machine is None else count_between(machine, least, most, limit=limit)


def _found_among(among: FoundAmong, least: int, most: int | None, limit: int) -> Dfa | None:
    """The texts in which at least `least` of the matchers are found, and no more than `most`."""
    patterns = sum(not isinstance(matcher, Phrase) for matcher in among.matchers)
    if len(among.matchers) > MOST_AMONG or patterns > MOST_PATTERNS_AMONG:
        return None
    found = [_holds(among.predicate, (matcher,), "any", limit) for matcher in among.matchers]
    known = [one for one in found if one is not None]
    return number_between(known, least, most, limit) if len(known) == len(found) else None


def _range(operator: str, bound: float) -> tuple[int, int | None]:
    """The whole numbers, from 0, that stand in this relation to `bound`: (least, most)."""
    match operator:
        case "<=":
            return 0, math.floor(bound)
        case "<":
            return 0, math.ceil(bound) - 1
        case ">=":
            return max(math.ceil(bound), 0), None
        case ">":
            return max(math.floor(bound) + 1, 0), None
    return (int(bound), int(bound)) if bound == int(bound) and bound >= 0 else (1, 0)


@cache
def unit_machine(name: str) -> CountingMachine | None:
    """Counts a unit in texts as they are stored, as `catalog.unit(name).find` finds it."""
    unit = catalog.unit(name)
    if unit.machine is None:
        return None
    return unit.machine() if unit.is_raw else machine_over_texts(unit.machine())


@lru_cache(maxsize=256)
def _machine(counted: NumberExpression) -> CountingMachine | None:
    match counted:
        case Count(unit):
            return unit_machine(unit)
        case Occurrences(name, _, (matcher,)):
            found = catalog.predicate(name).language(matcher)
            return None if found is None else occurrences(found.node)
    return None


# ------------------------------------------------------------------------------------------------------- values
def _value(expression: NumberExpression, limit: int) -> Valued | None:
    match expression:
        case NumberConstant(constant):
            return scale(indicator(Dfa.constant(Alphabet.of(()), True)), constant)
        case Arithmetic("+", left, right):
            return _sum(_value(left, limit), _value(right, limit), limit)
        case Arithmetic("-", left, right):
            return _sum(_value(left, limit), _scaled(right, -1.0, limit), limit)
        case Arithmetic("*", NumberConstant(factor), scaled) | Arithmetic("*", scaled, NumberConstant(factor)):
            return _scaled(scaled, factor, limit)
        case Arithmetic("/", scaled, NumberConstant(divisor)) if divisor != 0 and math.isfinite(1.0 / divisor):
            return _scaled(scaled, 1.0 / divisor, limit)
        case Arithmetic("distance", NumberConstant(target), counted) | Arithmetic(
            "distance", counted, NumberConstant(target)
        ):
            return _distance(counted, target, limit)
        case Occurrences(name, subject, matchers) if len(matchers) > 1:
            parts = [_value(Occurrences(name, subject, (matcher,)), limit) for matcher in matchers]
            known = [part for part in parts if part is not None]
            return add(known, limit) if len(known) == len(parts) else None
        case Count() | Occurrences() if expression.subject == RESPONSE:
            machine = _machine(expression)
            return None if machine is None else linear(machine)
        case Rank(alternatives):
            return _rank(alternatives, limit)
    return None


def _rank(alternatives: tuple[BooleanExpression, ...], limit: int) -> Valued | None:
    """One step down for each alternative that does not hold, nor any above it."""
    steps: list[Valued] = []
    for place in range(len(alternatives)):
        none = _dfa(And(tuple(negate(alternative) for alternative in alternatives[: place + 1])), limit)
        if none is None:
            return None
        steps.append(scale(indicator(none), -1.0))
    return add(steps, limit)


def _scaled(expression: NumberExpression, factor: float, limit: int) -> Valued | None:
    value = _value(expression, limit)
    return None if value is None else scale(value, factor)


def _sum(left: Valued | None, right: Valued | None, limit: int) -> Valued | None:
    return None if left is None or right is None else add((left, right), limit)


def _distance(counted: NumberExpression, target: float, limit: int) -> Valued | None:
    if not isinstance(counted, (Count, Occurrences)) or counted.subject != RESPONSE:
        return None
    machine = _machine(counted)
    cap = max(math.ceil(target), 0)
    if machine is None or cap > LARGEST_COUNT:
        return None
    return saturating(machine, lambda count: abs(count - target), cap, 1.0, limit)
