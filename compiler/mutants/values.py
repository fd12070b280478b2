"""What to put into the texts and facts of a conversation, so that two versions of a rule may judge it differently.

Each statement about one text gives a shortest text that it is true of, one that it is false of and, where the versions
differ, shortest texts of the difference, by automata; where there is none, texts that are put together from what is
asked for. Comparisons of facts give the numbers around their bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from types import MappingProxyType
from typing import TypeAlias

from bylaw.compiler.automata.algebra import shortest_witness
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.evaluate import number
from bylaw.compiler.mutants.same import (
    RESPONSE,
    found_only_by,
    kept,
    lists_of,
    only_place,
    said_of_response,
    same_lists,
)
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular import dfa_of
from bylaw.compiler.witnesses import LIKELY_TEXTS
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    BooleanFact,
    Compare,
    Count,
    EachPart,
    Expression,
    Fact,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Not,
    NumberConstant,
    NumberFact,
    Occurrences,
    Or,
    PartOf,
    Phrase,
    TextExpression,
)
from bylaw.spec.logic import conjuncts, meaning, negate, reads_context, reads_response, selectors, walk
from bylaw.spec.trace import FactValue, Trace

WITNESS_LIMIT = 2_000
"""States of the automata that texts are looked for in: a report is worth less than a minute."""
MOST_MATCHERS = 24
"""Of longer lists no automaton is built; their entries are looked at one by one."""
LARGEST_COUNT = 100
"""Nor is one built of larger counts; texts with so much of it are put together."""
MOST_TEXTS, MOST_PAIRS, MOST_STATEMENTS, MOST_FOUND = 24, 12, 12, 4
FactValues: TypeAlias = Mapping[str, tuple[FactValue | None, ...]]


@dataclass(frozen=True, slots=True)
class Values:
    """What to try: texts by who says them (None: nobody says anything), texts of events, names of tools, arguments of
    calls and facts by name (None: not given)."""

    responses: tuple[str, ...]
    prompts: tuple[str | None, ...]
    systems: tuple[str | None, ...]
    developers: tuple[str | None, ...]
    events: tuple[str, ...]
    tools: tuple[str, ...]
    arguments: Mapping[str, tuple[FactValue, ...]]
    facts: FactValues


def differing_texts(ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm]) -> Iterator[tuple[str, ...]]:
    """Answers of which only one of two versions of a rule may be true, in groups: try all of a group before the next.

    `ours` and `theirs` are the sentences that only one of them has. A text of an earlier group that does tell them
    apart is a shortest one.
    """
    pairs = list(islice(_pairs(_obeyed(ours), _obeyed(theirs)), MOST_PAIRS))
    for find in (_by_what_differs, _by_automata, _by_construction):
        yield tuple(dict.fromkeys(text for one, other in pairs for text in _apart(one, other, RESPONSE, find)))


def values_of(terms: Sequence[RewardTerm], ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm]) -> Values:
    """What both versions of a rule ask about; `ours` and `theirs` as in `differing_texts`."""
    said = list(_distinct(part for term in terms for part in _parts(term)))
    texts = _Texts()
    for one, other in islice(_pairs(_said_of_one_text(ours), _said_of_one_text(theirs)), MOST_PAIRS):
        texts.apart(one, other)
    for mine, yours in islice(product(ours, theirs), MOST_PAIRS):
        here, there = _by_place(mine), _by_place(yours)
        for place in dict.fromkeys((*here, *there)):
            texts.apart(here.get(place), there.get(place))
    for statement in islice(_distinct(part for whole in said for part in _statements(whole)), MOST_STATEMENTS):
        texts.both(statement)
    facts, arguments = _facts(said, texts)
    tools = dict.fromkeys(tool for part in _walk(said) for each in selectors(part) for tool in each.tools)
    return Values(
        responses=texts.of(RESPONSE) or ("Yes.",),
        prompts=texts.of(MessageText("prompt")) or ("Hello",),
        systems=(None, *texts.of(MessageText("system"))),
        developers=(None, *texts.of(MessageText("developer"))),
        events=texts.of(MessageText("it")),
        tools=tuple(tools),
        arguments=arguments,
        facts=facts,
    )


def _parts(term: RewardTerm) -> Iterator[BooleanExpression]:
    """Everything that the verdict of a term depends on."""
    lifted = (waiver.where for waiver in term.waivers)
    held = kept(term) if term.holds is not None else None
    yield from (part for part in (held, term.condition, term.among, term.own, *lifted) if part is not None)


def _by_place(term: RewardTerm) -> dict[TextExpression, BooleanExpression]:
    """What the condition of a term asks of each text."""
    found: dict[TextExpression, tuple[BooleanExpression, ...]] = {}
    for part in (*conjuncts(term.condition), *conjuncts(term.among), *conjuncts(term.own)):
        place = only_place(part)
        if place is not None:
            found[place] = (*found.get(place, ()), part)
    return {place: parts[0] if len(parts) == 1 else And(parts) for place, parts in found.items()}


def _walk(said: Iterable[Expression]) -> Iterator[Expression]:
    for each in said:
        yield from walk(each)


def _statements(whole: BooleanExpression) -> Iterator[BooleanExpression]:
    """The statements inside one that are about a single text."""
    for part in walk(whole):
        if isinstance(part, (Holds, Compare, And, Or)) and only_place(part) is not None:
            yield part


def _distinct(statements: Iterable[BooleanExpression]) -> Iterator[BooleanExpression]:
    yield from {meaning(each): each for each in statements}.values()


def _pairs(
    ours: Sequence[BooleanExpression], theirs: Sequence[BooleanExpression]
) -> Iterator[tuple[BooleanExpression | None, BooleanExpression | None]]:
    """Statements of which only one version has the first and only the other the second."""
    left, right = ({meaning(each): each for each in side} for side in (ours, theirs))
    ones = [each for key, each in left.items() if key not in right]
    others = [each for key, each in right.items() if key not in left]
    yield from ((one, other) for one in ones or (None,) for other in others or (None,))


def _obeyed(terms: Sequence[RewardTerm]) -> list[BooleanExpression]:
    """What answers alone have to be like, as an example with a text alone means it."""
    found = []
    for term in terms:
        if term.holds is not None:
            asked = (*conjuncts(term.condition), *conjuncts(term.among))
            where = [p for p in asked if reads_response(p) and not reads_context(p)]
            found.append(Or((*map(negate, where), kept(term))) if where else kept(term))
    return found


def _said_of_one_text(terms: Sequence[RewardTerm]) -> list[BooleanExpression]:
    """The statements about one text that a version makes."""
    whole = _distinct(part for term in terms for part in _parts(term))
    return [part for each in whole for part in _statements(each)]


class _Texts:
    """Texts that were found for each place, likeliest first."""

    def __init__(self) -> None:
        self._found: dict[TextExpression, dict[str, None]] = {}

    def of(self, place: TextExpression) -> tuple[str, ...]:
        return tuple(self._found.get(place, {}))[:MOST_TEXTS]

    def places(self) -> tuple[TextExpression, ...]:
        return tuple(self._found)

    def apart(self, one: BooleanExpression | None, other: BooleanExpression | None) -> None:
        """Texts of which perhaps only one of two statements is true; None is a statement that is always true."""
        place = only_place(*(each for each in (one, other) if each is not None))
        if place is not None:
            known = self._found.setdefault(place, {})
            for find in (_by_what_differs, _by_automata, _by_construction):
                known.update(dict.fromkeys(_apart(one, other, place, find)))

    def both(self, statement: BooleanExpression) -> None:
        """Texts that a statement is perhaps true of, and some that it is perhaps false of."""
        place = only_place(statement)
        said = None if place is None else said_of_response(statement, place)
        if place is None or said is None:
            return
        known = self._found.setdefault(place, {})
        for wanted in (said, negate(said)):
            known.update(dict.fromkeys((*_by_automata(wanted, None), *_by_construction(wanted, None))))


Find: TypeAlias = Callable[[BooleanExpression | None, BooleanExpression | None], Iterator[str]]


def _apart(
    one: BooleanExpression | None, other: BooleanExpression | None, place: TextExpression, find: Find
) -> Iterator[str]:
    """Texts, by one way of finding them, that make one statement about a place true and another one false."""
    first = None if one is None else said_of_response(one, place)
    second = None if other is None else said_of_response(other, place)
    if (first is None) is (one is None) and (second is None) is (other is None):
        yield from find(first, second)
        yield from find(second, first)


def _by_what_differs(true: BooleanExpression | None, false: BooleanExpression | None) -> Iterator[str]:
    """By what only one of two statements looks for: every text in the difference has that in it."""
    if true is None or false is None:
        return
    is_not = isinstance(true, Not) and isinstance(false, Not)
    lists = lists_of(false, true) if is_not else lists_of(true, false)
    if lists is not None:
        text, _ = found_only_by(*lists)
        if text is not None:
            yield text
    for one, other in same_lists(true, false):
        text = _witness((one, negate(other)))
        if text is not None:
            yield text


def _by_automata(true: BooleanExpression | None, false: BooleanExpression | None) -> Iterator[str]:
    """A shortest text of the difference, where it is not too large to build."""
    wanted = [each for each in (true, None if false is None else negate(false)) if each is not None]
    parts = list(_walk(wanted))
    matchers = sum(len(part.matchers) for part in parts if isinstance(part, Holds))
    counts = (
        part.right.value for part in parts if isinstance(part, Compare) and isinstance(part.right, NumberConstant)
    )
    if matchers <= MOST_MATCHERS and max(counts, default=0) <= LARGEST_COUNT:
        text = _witness(wanted)
        if text is not None:
            yield text


def _witness(wanted: Sequence[BooleanExpression]) -> str | None:
    languages = [dfa_of(each, WITNESS_LIMIT) for each in wanted]
    built = [each for each in languages if each is not None]
    try:
        return shortest_witness(built, WITNESS_LIMIT) if len(built) == len(languages) else None
    except StateLimit:
        return None


def _by_construction(true: BooleanExpression | None, false: BooleanExpression | None) -> Iterator[str]:
    """Texts that are put together from what is asked for, and a few that most rules are true or false of."""
    wanted = tuple(each for each in (true, None if false is None else negate(false)) if each is not None)
    yield from islice(candidates(wanted), 4)
    yield from _around(wanted)
    yield from _of_parts(wanted)
    for part in _walk(wanted):
        if isinstance(part, Holds):
            yield from filter(None, map(_found_in, part.matchers[:MOST_FOUND]))
    yield from LIKELY_TEXTS


def _around(wanted: tuple[BooleanExpression, ...]) -> Iterator[str]:
    """Texts with about as much as is asked for of what is counted, and the examples of the catalog.

    Of what is looked for, that comes first which not all of the statements look for.
    """
    lists = [set(part.matchers) for part in _walk(wanted) if isinstance(part, (FoundAmong, Occurrences))]
    shared = set.intersection(*lists) if lists else set()
    for part in _walk(wanted):
        match part:
            case Compare(_, Count(unit), NumberConstant(bound)) if 0 <= bound <= 1_000:
                shown = next((each.text for each in catalog.unit(unit).examples if each.count == 1), "x")
                base = next(candidates(tuple(each for each in _conjuncts(wanted) if not isinstance(each, Compare))), "")
                here = number(Count(unit, RESPONSE), Trace(()).answered(base))
                more = max(int(bound) - 1, 0) - (int(here) if isinstance(here, float | int) else 0)
                yield from (" ".join(filter(None, (base, *[shown] * times))) for times in range(max(more, 0), more + 4))
            case Compare(_, FoundAmong() | Occurrences() as found, NumberConstant(bound)) if 0 <= bound <= 100:
                first = [each for each in found.matchers if each not in shared]
                rest = [each for each in found.matchers if each in shared][: int(bound) + 3]
                for order in (first + rest, rest + first):
                    shown_ = [text for each in order if (text := _found_in(each)) is not None]
                    for times in range(max(int(bound) - 1, 0), int(bound) + 3) if shown_ else ():
                        text = " ".join((shown_ * times)[:times])
                        yield from (text, text.upper())
            case Holds(name) if not part.matchers and part.argument is None:
                yield from (each.text for each in catalog.predicate(name).examples)


def _conjuncts(wanted: tuple[BooleanExpression, ...]) -> Iterator[BooleanExpression]:
    for each in wanted:
        yield from conjuncts(each)


def _of_parts(wanted: tuple[BooleanExpression, ...]) -> Iterator[str]:
    """Texts of two parts, of which what is said of a part is true of the one and false of the other."""
    for part in _walk(wanted):
        match part:
            case EachPart(_, unit, _, item):
                said = said_of_response(item, MessageText("it"))
            case Holds(_, PartOf(unit) as place):
                said = said_of_response(part, place)
            case _:
                continue
        if said is None:
            continue
        end, joint = _JOINTS.get(unit, ("", " "))
        found = [text for each in (said, negate(said)) if (text := _witness((each,))) is not None]
        found += ["a"]
        ended = [text if not end or text.endswith(("!", "?", end)) else text + end for text in found]
        yield from (f"{first}{joint}{second}" for first, second in product(ended, ended))


_JOINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"sentences": (".", " "), "lines": ("", "\n"), "paragraphs": ("", "\n\n")}
)
"""What a part ends with, and what stands between two of them."""


def _found_in(matcher: Matcher) -> str | None:
    """A shortest text in which something is found."""
    if isinstance(matcher, Phrase):
        return matcher.text
    language = dfa_of(Holds("contain", RESPONSE, (matcher,)), WITNESS_LIMIT)
    try:
        return None if language is None else shortest_witness([language], WITNESS_LIMIT)
    except StateLimit:
        return None


# ------------------------------------------------------------------------------------------------------------ facts
def _facts(said: Sequence[BooleanExpression], texts: _Texts) -> tuple[FactValues, Mapping[str, tuple[FactValue, ...]]]:
    """Values of facts (None among them: not given) and, by their plain names, of arguments of calls."""
    found: dict[str, dict[FactValue, None]] = {}
    for place in texts.places():
        if isinstance(place, Fact):
            found.setdefault(place.path, {}).update(dict.fromkeys(texts.of(place)))
    for part in _walk(said):
        match part:
            case BooleanFact(path):
                found.setdefault(path, {}).update({True: None, False: None})
            case Compare(_, left, right):
                for fact, bound in ((left, right), (right, left)):
                    if isinstance(fact, NumberFact):
                        found.setdefault(fact.path, {}).update(dict.fromkeys(_near(bound)))
            case Fact(path):
                found.setdefault(path, {}).setdefault("x")
    facts = {name: (*values, None) for name, values in found.items() if not name.startswith("it.")}
    arguments = {name[3:]: tuple(values) for name, values in found.items() if name.startswith("it.")}
    return facts, arguments


def _near(bound: Expression) -> tuple[float, ...]:
    """The numbers around a bound."""
    if not isinstance(bound, NumberConstant):
        return (0.0, 1.0)
    value = bound.value
    tenth = value + value * 0.05, value - value * 0.05, value * 1.1, value * 0.9
    return (value, value - 1, value + 1, *(float(f"{each:.6g}") for each in tenth))
