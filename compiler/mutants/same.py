"""Whether two versions of a rule are proved to give the same verdict everywhere.

A proof is: the same words; the same language of texts, by automata (`compiler/regular.py`), for parts that are about
one text; or parts put together in the same way that are each proved the same. What is not proved is not called so.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from bylaw.compiler.automata.algebra import equivalent, intersect, shortest_witness
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular import dfa_of
from bylaw.compiler.regular_lines import as_response
from bylaw.compiler.witnesses import LIKELY_TEXTS, Witnesses, is_true_of
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    Compare,
    EachEvent,
    EachPart,
    EventCount,
    EventSelector,
    Fact,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberConstant,
    Or,
    TextExpression,
)
from bylaw.spec.logic import conjunction, meaning, negate, walk

RESPONSE = MessageText("response")
ALWAYS = BooleanConstant(True)
LIMIT = 4_000
"""States, or combinations of them, in one proof."""
MOST_REFINED = 8


@dataclass(frozen=True, slots=True)
class Situated:
    """What one sentence asks for and where, as keys that are the same for sentences that say the same; not how much it
    weighs, since no verdict depends on that."""

    where: Hashable
    kept: Hashable


def situated(terms: Sequence[RewardTerm]) -> tuple[Situated, ...]:
    """What a rule says, sentence for sentence."""
    return tuple(Situated(_where(term), meaning(kept(term))) for term in terms if term.holds is not None)


def kept(term: RewardTerm) -> BooleanExpression:
    """What is true of the answers that do not break a term (or do not count against it); for terms with `holds`."""
    assert term.holds is not None
    if term.kind == "budget":
        return term.holds if term.sense == "at least" else negate(term.holds)
    return term.holds


def _where(term: RewardTerm) -> Hashable:
    lifted = tuple(meaning(waiver.where) for waiver in term.waivers)
    return meaning(term.condition), meaning(term.among), meaning(term.own) if term.waivers else None, lifted


def proved_same(one: Sequence[RewardTerm], other: Sequence[RewardTerm], witnesses: Witnesses) -> bool:
    """Whether two versions of a rule are proved to give every conversation the same verdict."""
    ours, theirs = _judged(one), _judged(other)
    if len(ours) == len(theirs) and all(
        _same_term(left, right, witnesses) for left, right in zip(ours, theirs, strict=True)
    ):
        return True
    return _same_together(ours, theirs)


def _judged(terms: Sequence[RewardTerm]) -> list[RewardTerm]:
    return [term for term in terms if term.holds is not None]


def _same_term(left: RewardTerm, right: RewardTerm, witnesses: Witnesses) -> bool:
    if len(left.waivers) != len(right.waivers):
        return False
    pairs: list[tuple[BooleanExpression | None, BooleanExpression | None]] = [
        (kept(left), kept(right)),
        (left.condition, right.condition),
        (left.among, right.among),
        (left.own if left.waivers else None, right.own if right.waivers else None),
    ]
    pairs += [(ours.where, theirs.where) for ours, theirs in zip(left.waivers, right.waivers, strict=True)]
    return all(same_truth(ours or ALWAYS, theirs or ALWAYS, witnesses) for ours, theirs in pairs)


def _same_together(ours: list[RewardTerm], theirs: list[RewardTerm]) -> bool:
    """Whether all sentences that count in the same place say the same together, wherever sentences count."""
    places = dict.fromkeys(_where(term) for term in ours)
    if not ours or places != dict.fromkeys(_where(term) for term in theirs):
        return False
    for place in places:
        left = {meaning(kept(term)): kept(term) for term in ours if _where(term) == place}
        right = {meaning(kept(term)): kept(term) for term in theirs if _where(term) == place}
        if left.keys() != right.keys() and not _same_conjunction(left, right):
            return False
    return True


def _same_conjunction(left: dict[Hashable, BooleanExpression], right: dict[Hashable, BooleanExpression]) -> bool:
    """Sentences that are in both and have no automaton are left out on both sides, which proves less."""
    known = {key: dfa_of(said, LIMIT) for key, said in {**left, **right}.items()}
    if any(known[key] is None for key in left.keys() ^ right.keys()):
        return False
    one, other = ([found for key in side if (found := known[key]) is not None] for side in (left, right))
    if not one or not other:
        return False
    try:
        return equivalent(intersect(one, LIMIT), intersect(other, LIMIT), LIMIT)
    except StateLimit:
        return False


# ----------------------------------------------------------------------------------------------------- expressions
def same_truth(left: BooleanExpression, right: BooleanExpression, witnesses: Witnesses) -> bool:
    """Whether two statements are proved to be true in the same situations."""
    if meaning(left) == meaning(right):
        return True
    return _same_language(left, right, witnesses) or _same_shape(left, right, witnesses)


def _same_language(left: BooleanExpression, right: BooleanExpression, witnesses: Witnesses) -> bool:
    place = only_place(left, right)
    # A constant is known even where the text is not: it is the same only for texts that are there.
    if place is None or any(isinstance(part, BooleanConstant) for side in (left, right) for part in walk(side)):
        return False
    one, other = said_of_response(left, place), said_of_response(right, place)
    if one is None or other is None:
        return False
    if _is_told_apart(one, other):
        return False
    if _covered(one, other) or _same_each(one, other, witnesses):
        return True
    return _equal(dfa_of(one, LIMIT), dfa_of(other, LIMIT))


def _is_told_apart(one: BooleanExpression, other: BooleanExpression) -> bool:
    """Whether a text that is put together quickly shows that two statements are not the same."""
    sides = ((one,), (negate(one),), (one, negate(other)), (other, negate(one)))
    texts = (*LIKELY_TEXTS, *(text for side in sides for text in islice(candidates(side), 3)))
    return any(is_true_of(one, text) is not is_true_of(other, text) for text in dict.fromkeys(texts))


def _equal(one: Dfa | None, other: Dfa | None) -> bool:
    """Whether two automata accept the same texts; False also where that is not decided."""
    try:
        return one is not None and other is not None and equivalent(one, other, LIMIT)
    except StateLimit:
        return False


def _same_each(left: BooleanExpression, right: BooleanExpression, witnesses: Witnesses) -> bool:
    """Whether two statements look for the same things, each of which is found in the same texts either way."""
    if isinstance(left, Not) and isinstance(right, Not):
        left, right = left.item, right.item
    if not isinstance(left, Holds) or not isinstance(right, Holds) or not left.matchers:
        return False
    frames = {(each.matchers, each.quantity, each.subject, each.argument, each.in_order) for each in (left, right)}
    if len(frames) > 1 or left.argument is not None or left.in_order:
        return False
    return all(
        _equal(*(witnesses.language(replace(each, matchers=(matcher,))) for each in (left, right)))
        for matcher in left.matchers
    )


def _covered(left: BooleanExpression, right: BooleanExpression) -> bool:
    """Whether nothing is found by the one of two lists only."""
    lists = lists_of(left, right)
    if lists is None:
        return False
    return all(found_only_by(*pair) == (None, True) for pair in (lists, lists[::-1]))


@lru_cache(maxsize=512)
def _language(statement: Holds) -> Dfa | None:
    return dfa_of(statement, LIMIT)


def found_only_by(more: Holds, less: Holds) -> tuple[str | None, bool]:
    """(a shortest text in which something of one list is found and nothing of another, whether that is decided).

    The text None is a proof that there is none, where it is decided. Only the entries that are not in both lists are
    looked at first; one of the others is taken into account when it is found in the text that would be the answer, so
    the automata stay small however long the lists are.
    """
    ours = tuple(matcher for matcher in more.matchers if matcher not in less.matchers)
    if not ours:
        return None, True
    left_out = [matcher for matcher in less.matchers if matcher not in more.matchers]
    wanted = _language(replace(more, matchers=ours))
    for _ in range(MOST_REFINED):
        others = [_language(replace(less, matchers=(each,))) for each in left_out]
        known = [each.complement() for each in others if each is not None]
        if wanted is None or len(known) < len(others):
            return None, False
        try:
            text = shortest_witness([wanted, *known], LIMIT)
        except StateLimit:
            return None, False
        if text is None:
            return None, True
        found = [each for each in less.matchers if is_true_of(replace(less, matchers=(each,)), text)]
        if not found:
            return text, True
        left_out += found
    return None, False


def lists_of(left: BooleanExpression, right: BooleanExpression) -> tuple[Holds, Holds] | None:
    """Two statements, or their opposites, that any of a list is found in the same text in the same way."""
    if isinstance(left, Not) and isinstance(right, Not):
        left, right = left.item, right.item
    if not isinstance(left, Holds) or not isinstance(right, Holds):
        return None
    frame = {(each.predicate, each.quantity, each.subject, each.argument) for each in (left, right)}
    is_any = left.quantity == "any" and left.argument is None
    return (left, right) if len(frame) == 1 and is_any and left.matchers and right.matchers else None


def same_lists(true: BooleanExpression, false: BooleanExpression) -> Iterator[tuple[Holds, Holds]]:
    """For two statements (or two opposites) that any of the same things is found in different ways: each thing in the
    way that makes `true` true and in the way that makes `false` true."""
    is_not = isinstance(true, Not) and isinstance(false, Not)
    first, second = (each.item if isinstance(each, Not) and is_not else each for each in (true, false))
    if not isinstance(first, Holds) or not isinstance(second, Holds) or first.predicate == second.predicate:
        return
    if first.matchers == second.matchers and first.quantity == second.quantity == "any":
        for matcher in first.matchers:
            one, other = replace(first, matchers=(matcher,)), replace(second, matchers=(matcher,))
            yield (other, one) if is_not else (one, other)


def said_of_response(statement: BooleanExpression, place: TextExpression) -> BooleanExpression | None:
    """The same, said of the response instead of another text; None where it reads anything else."""
    if place == RESPONSE:
        return statement
    return statement if isinstance(statement, BooleanConstant) else as_response(statement, place)


def only_place(*statements: BooleanExpression) -> TextExpression | None:
    """The one text that statements are about; None where they are about several, or about something else."""
    found: dict[TextExpression, None] = {}
    for statement in statements:
        for part in walk(statement):
            if isinstance(part, (MessageText, Fact)):
                found[part] = None
    return next(iter(found)) if len(found) == 1 else None


def _same_shape(left: BooleanExpression, right: BooleanExpression, witnesses: Witnesses) -> bool:
    match left, right:
        case (And(ours), And(theirs)) | (Or(ours), Or(theirs)):
            return _same_parts(ours, theirs, isinstance(left, And), witnesses)
        case Not(ours_), Not(theirs_):
            return same_truth(ours_, theirs_, witnesses)
        case EachPart(), EachPart():
            frame = (left.quantity, left.unit, left.subject) == (right.quantity, right.unit, right.subject)
            return frame and same_truth(left.item, right.item, witnesses)
        case EachEvent(), EachEvent():
            return (
                left.quantity == right.quantity
                and _same_events(left.selector, right.selector, witnesses)
                and same_truth(left.item, right.item, witnesses)
            )
        case Compare(first, EventCount(ours_events), NumberConstant(), _), Compare(
            second, EventCount(theirs_events), NumberConstant(), _
        ):
            frame = (first, left.right) == (second, right.right)
            return frame and _same_events(ours_events, theirs_events, witnesses)
        case Neighbour(), Neighbour():
            return left.side == right.side and _same_events(left.selector, right.selector, witnesses)
    return False


def _same_parts(
    ours: tuple[BooleanExpression, ...], theirs: tuple[BooleanExpression, ...], is_and: bool, witnesses: Witnesses
) -> bool:
    """Pairwise; or, for what is different, all of it together."""
    if len(ours) == len(theirs) and all(
        same_truth(left, right, witnesses) for left, right in zip(ours, theirs, strict=True)
    ):
        return True
    shared = {meaning(part) for part in ours} & {meaning(part) for part in theirs}
    left, right = ([part for part in side if meaning(part) not in shared] for side in (ours, theirs))
    if not shared or not left or not right:
        return False
    if is_and:
        return same_truth(conjunction(tuple(left)) or ALWAYS, conjunction(tuple(right)) or ALWAYS, witnesses)
    return _same_language(Or(tuple(left)), Or(tuple(right)), witnesses)


def _same_events(left: EventSelector, right: EventSelector, witnesses: Witnesses) -> bool:
    frame = (left.kind, frozenset(left.tools), left.role) == (right.kind, frozenset(right.tools), right.role)
    return frame and same_truth(left.where or ALWAYS, right.where or ALWAYS, witnesses)
