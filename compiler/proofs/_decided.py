"""What to say of a limit that hard rules decide (P413)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bylaw.compiler.demands import Demand
from bylaw.compiler.proofs._limits import (
    LONGEST_SHOWN,
    Limit,
    RuledOut,
    ask,
    listed,
    mark,
    proved,
    quoted,
    reach,
    shortest,
)
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.compiler.witnesses import is_true_of
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.expression import BooleanExpression, Compare, Count, NumberConstant

HIGHEST_COUNT = 4_000
_BUT: Mapping[bool | None, str] = MappingProxyType(
    {
        True: "... but this allows no such answer",
        False: "... but this makes every answer count",
        None: "... but this allows no such average",
    }
)


@dataclass(frozen=True, slots=True)
class Question:
    """Whether some answer is like `wanted`. If none is, the limit can never be met (`is_fatal`), or it always is.

    `shows` says whether `wanted` is what the limit counts or its opposite; it is None for one side of an average,
    where `wanted` compares a count with the bound. `is_partial` says that the limit is about a part of the answers:
    `wanted` is then that an answer counts against it, or where the question is fatal, that it does not.
    """

    wanted: BooleanExpression
    is_fatal: bool
    shows: bool | None = None
    is_partial: bool = False


def decided(view: PolicyView, limit: Limit, question: Question, proof: RuledOut) -> Diagnostic:
    """The finding for a limit, where no answer that obeys the rules of `proof` is like what the question wants."""
    names = [f"`{rule.term.id}`" for rule in proof.rules]
    fate = "can never be met" if question.is_fatal else "never binds"
    is_error = question.is_fatal and not limit.gives_way
    if question.is_fatal and limit.gives_way:
        fate += ", and gives way"
    under = f"with {listed(names)}, " if names else ""
    message = f"{limit.name} {fate}: {under}{_what_is_left(view, question, proof.rules)}"
    first = "... which this already sees to"
    if question.is_fatal:
        first = _BUT[question.shows]
    label = f"this asks for {limit.asks} ..." if names else f"this asks for {limit.asks}"
    marks = tuple(
        mark(rule.term.extent, "... together with this" if place else first) for place, rule in enumerate(proof.rules)
    )
    return Diagnostic(
        "P413",
        Severity.ERROR if is_error else Severity.WARNING,
        message,
        mark(limit.term.extent, label),
        marks,
        (*_witnesses(view, question, proof.rules), *reach(limit, proof.rules), proved(proof.states)),
        Fix(_advice(question, names)),
    )


def _advice(question: Question, names: Sequence[str]) -> str:
    rule = "" if not names else f"`when` or `unless` to {names[0]}" if len(names) == 1 else "a condition to a rule"
    if question.is_fatal:
        return f"change the bound, or add {rule}" if rule else "change the bound, or what is counted"
    return f"delete the limit, or add {rule}" if rule else "delete the limit, or change its bound"


# ------------------------------------------------------------------------------------------------------ what is left
def _what_is_left(view: PolicyView, question: Question, rules: Sequence[Demand]) -> str:
    """What all answers that obey the rules have in common."""
    if question.is_partial:
        return "every answer counts against it" if question.is_fatal else "no answer counts against it"
    if question.shows is not None:
        return "no answer shows what it counts" if question.shows else "every answer shows what it counts"
    assert isinstance(question.wanted, Compare)
    compare = question.wanted
    upwards = compare.operator in (">=", ">")
    extreme = _greatest(view, compare, rules) if upwards else _least(view, compare, rules)
    if extreme is None:
        return "every answer is above the bound"
    unit = compare.left.unit.replace("_", " ") if isinstance(compare.left, Count) else "of what it counts"
    if not upwards:
        return f"every answer has at least {extreme} {unit}"
    return f"no answer has more than {extreme} {unit}" if extreme else f"no answer has any {unit}"


def _is_possible(view: PolicyView, compare: Compare, number: int, rules: Sequence[Demand]) -> bool:
    upwards = compare.operator in (">=", ">")
    wanted = Compare(">=" if upwards else "<=", compare.left, NumberConstant(float(number)))
    return not isinstance(ask(view, [wanted], rules), RuledOut)


def _greatest(view: PolicyView, compare: Compare, rules: Sequence[Demand]) -> int:
    """The greatest count of answers that obey the rules, none of which reaches the bound."""
    low, high = 0, max(math.floor(_bound(compare)), 0) + 1  # reached, not reached
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_possible(view, compare, middle, rules) else (low, middle)
    return low


def _least(view: PolicyView, compare: Compare, rules: Sequence[Demand]) -> int | None:
    """The least count of answers that obey the rules, none of which stays below the bound; None where it is huge."""
    bound = _bound(compare)
    low = math.floor(bound) if compare.operator == "<=" else math.ceil(bound) - 1  # no answer has so few
    high = max(low + 1, 2 * low)
    while not _is_possible(view, compare, high, rules):
        if high > HIGHEST_COUNT:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_possible(view, compare, middle, rules) else (middle, high)
    return high


def _bound(compare: Compare) -> float:
    assert isinstance(compare.right, NumberConstant)
    return compare.right.value


# -------------------------------------------------------------------------------------------------------- witnesses
def _witnesses(view: PolicyView, question: Question, rules: Sequence[Demand]) -> Iterator[str]:
    """The shortest answer that obeys the rules, and the shortest one that is like what they rule out; a
    longer one than a message has room for shows nothing."""
    if not rules:
        return
    wanted, opposite = _words(question)
    own = shortest(view, [rule.obeyed for rule in rules])
    if own is not None and len(own) <= LONGEST_SHOWN:
        names = listed([f"`{rule.term.id}`" for rule in rules])
        yield f"shortest answer that obeys {names} is {quoted(own)}; like all others it {opposite}"
    other = shortest(view, [question.wanted])
    if other is not None and len(other) <= LONGEST_SHOWN:
        broken = [f"`{rule.term.id}`" for rule in rules if not is_true_of(rule.obeyed, other)]
        yield f"shortest answer that {wanted} is {quoted(other)}; it breaks {listed(broken)}"


def _words(question: Question) -> tuple[str, str]:
    """What is said of an answer that is like what is wanted, and of one that is not."""
    if question.is_partial:
        against = ("counts against the limit", "does not count against the limit")
        return against[::-1] if question.is_fatal else against
    if question.shows is not None:
        shows, does_not = "shows what is counted", "does not show what is counted"
        return (shows, does_not) if question.shows else (does_not, shows)
    assert isinstance(question.wanted, Compare)
    return {
        ">=": ("reaches the bound", "stays below the bound"),
        "<=": ("is not above the bound", "is above the bound"),
        ">": ("is above the bound", "is not above the bound"),
        "<": ("is below the bound", "is not below the bound"),
    }[question.wanted.operator]
