"""What a permission opposes: the parts of an obligation that nobody who uses it can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from bylaw.spec.expression import (
    BooleanExpression,
    Compare,
    Holds,
    Not,
    NumberConstant,
    Occurrences,
    Or,
)
from bylaw.spec.logic import conjuncts, meaning, negate, reads_context
from bylaw.spec.regulator import Regulator

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa

LIKELY = ("", "a", "A", "1", "Yes.", "word " * 40)


@dataclass(frozen=True, slots=True)
class Easing:
    """The parts of an obligation that a permission lifts, by their place among `parts_of` it.

    None lifts the part wherever the permission counts; an expression lifts it for the answers that it is true of.
    """

    parts: Mapping[int, BooleanExpression | None]

    def __bool__(self) -> bool:
        return bool(self.parts)

    def is_whole(self, parts: tuple[BooleanExpression, ...]) -> bool:
        """Whether nothing of the obligation is left."""
        return len(self.parts) == len(parts) and all(used is None for used in self.parts.values())


def parts_of(rule: Regulator) -> tuple[BooleanExpression, ...]:
    """What an obligation asks, one thing at a time: `must not mention any of [a, b]` asks two."""
    return tuple(each for part in conjuncts(rule.obligation) for each in _apart(part))


def eased_parts(permission: Regulator, rule: Regulator) -> Easing:
    """What a permission lifts of a rule: parts that say its opposite in the same words, wherever it counts; parts that
    automata prove nobody can keep who uses it, for the answers that use it."""
    if permission.obligation is None or rule.obligation is None:
        return Easing({})
    used = permission.obligation if permission.modality == "may" else negate(permission.obligation)
    uses = _alternatives(used)
    same = {meaning(each) for use in uses for each in _apart(negate(use))}
    parts = parts_of(rule)
    found: dict[int, BooleanExpression | None] = {n: None for n, part in enumerate(parts) if meaning(part) in same}
    if found:
        return Easing(found)
    for number, part in enumerate(parts):
        excluded = [use for use in uses if _excludes(use, part)]
        if excluded:
            found[number] = excluded[0] if len(excluded) == 1 else Or(tuple(excluded))
    return Easing(found)


def _apart(part: BooleanExpression) -> tuple[BooleanExpression, ...]:
    """A statement about several things that all have to hold, one by one."""
    match part:
        case Not(Holds(_, _, matchers, "any") as holds) if len(matchers) > 1 and not holds.in_order:
            return tuple(Not(replace(holds, matchers=(matcher,))) for matcher in matchers)
        case Holds(_, _, matchers, "all") if len(matchers) > 1 and not part.in_order:
            return tuple(replace(part, matchers=(matcher,), quantity="any") for matcher in matchers)
        case Compare("<=", Occurrences(_, _, matchers) as counted, NumberConstant(0.0)) if len(matchers) > 1:
            return tuple(replace(part, left=replace(counted, matchers=(matcher,))) for matcher in matchers)
    return (part,)


def _alternatives(used: BooleanExpression) -> tuple[BooleanExpression, ...]:
    """`may A or B` permits A, and permits B; `may mention any of [a, b]` each of them."""
    match used:
        case Or(items):
            return tuple(each for item in items for each in _alternatives(item))
        case Holds(_, _, matchers, "any") if len(matchers) > 1:
            return tuple(replace(used, matchers=(matcher,)) for matcher in matchers)
    return (used,)


def _excludes(used: BooleanExpression, part: BooleanExpression) -> bool:
    """Whether no text does both, where automata of a modest size can tell; texts that use the permission exist."""
    if reads_context(used) or reads_context(part):
        return False
    from bylaw.compiler.automata.algebra import any_witness
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.candidates import candidates
    from bylaw.compiler.evaluate import truth
    from bylaw.spec.trace import Trace

    for text in (*LIKELY, *candidates([used, part])):
        trace = Trace(()).answered(text)
        if truth(used, trace) is True and truth(part, trace) is True:
            return False
    left, right = _language_of(used), _language_of(part)
    if left is None or right is None:
        return False
    try:
        return any_witness([left]) is not None and any_witness([left, right]) is None
    except StateLimit:
        return False


@lru_cache(maxsize=1024)
def _language_of(expression: BooleanExpression) -> Dfa | None:
    """Each permission is held against every rule, so its automaton is asked for again and again."""
    from bylaw.compiler.regular import dfa_of

    return dfa_of(expression)
