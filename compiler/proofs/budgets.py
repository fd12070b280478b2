"""Limits that hard rules decide (P413), and limits that cannot be met together (P414).

A limit is about many answers, hard rules are about each. Where every answer that they leave shows what a limit counts,
or none does, its rate is 1 or 0 whatever the model is like. Limits over the same prompts are held together as a linear
programme over the kinds of answers that there are (`_mixtures`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

from bylaw.compiler.demands import Demand
from bylaw.compiler.proofs._decided import Question, decided
from bylaw.compiler.proofs._limits import (
    LATE,
    Limit,
    Open,
    RuledOut,
    ask,
    hard_rules,
    in_force,
    limits_of,
    listed,
)
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.spec.expression import And, Compare, NumberConstant, Operator, Or
from bylaw.spec.logic import negate, reads_context

CODES = ("P413", "P414")

SHARE = 0.25
"""How much of the time that is left these questions may take."""
MOST_PAIRS = 2_000
"""Pairs of limits that are held against each other where there are too many for all at once."""


def find(view: PolicyView) -> Iterator[Finding]:
    """P413 for each limit that hard rules decide, P414 for each smallest set of limits that cannot be met together."""
    now = time.monotonic()
    view = replace(view, until=now + SHARE * max(view.until - now, 0.0))  # the other analyses have questions too
    rules = hard_rules(view)
    open_limits: list[Limit] = []
    for limit in limits_of(view):
        found = None
        for question in _about(limit):
            if view.is_late:
                yield Undecided(limit.name, LATE)
                break
            answer = ask(view, [question.wanted], in_force(rules, limit))
            if isinstance(answer, Open):
                yield Undecided(f"whether the hard rules decide {limit.name}", answer.why)
                break
            if isinstance(answer, RuledOut) and _can_be_obeyed(view, answer.rules):
                found = decided(view, limit, question, answer)
                break
        if found is not None:
            yield found
        else:
            open_limits.append(limit)
    yield from _together(view, open_limits, rules)


def _can_be_obeyed(view: PolicyView, rules: Sequence[Demand]) -> bool:
    """Whether the rules leave any answer at all; where they do not, that is an error of its own."""
    return not rules or not isinstance(ask(view, [rule.obeyed for rule in rules], ()), RuledOut)


# -------------------------------------------------------------------------------------------- decided by hard rules
def _about(limit: Limit) -> Iterator[Question]:
    """The questions about a limit. One about a part of the answers is met where there are none of these, so it can
    never be met only where every answer is among them and counts against it."""
    among = limit.term.among
    if among is None:
        yield from _questions(limit)
    elif limit.term.sense != "exactly":
        for each in _questions(limit):
            joined = Or((negate(among), each.wanted)) if each.is_fatal else And((among, each.wanted))
            yield replace(each, wanted=joined, is_partial=True)


def _questions(limit: Limit) -> Iterator[Question]:
    """Fatal ones first."""
    event, value, sense = limit.term.holds, limit.term.value, limit.term.sense
    if event is not None:
        shows, does_not = (event, True), (negate(event), False)
        if sense != "at most" and limit.bound > 0:
            yield Question(shows[0], True, shows[1])
        if sense != "at least" and limit.bound < 1:
            yield Question(does_not[0], True, does_not[1])
        if sense == "at most" and limit.bound < 1:
            yield Question(shows[0], False, shows[1])
        if sense == "at least" and limit.bound > 0:
            yield Question(does_not[0], False, does_not[1])
    elif value is not None:
        sides: tuple[tuple[Operator, bool], ...] = {
            "at least": ((">=", True), ("<", False)),
            "at most": (("<=", True), (">", False)),
        }.get(sense or "", ((">=", True), ("<=", True)))  # type: ignore[assignment]
        for operator, is_fatal in sides:
            yield Question(Compare(operator, value, NumberConstant(float(limit.bound))), is_fatal)


# ------------------------------------------------------------------------------------------------------- together
def _together(view: PolicyView, limits: Sequence[Limit], rules: Sequence[Demand]) -> Iterator[Finding]:
    """P414, among limits about the same prompts. Limits about different ones are averages over different answers."""
    groups: dict[frozenset[str], list[Limit]] = {}
    for limit in limits:
        groups.setdefault(limit.keys, []).append(limit)
    for group in groups.values():
        counting = in_force(rules, group[0])
        rigid = [limit for limit in group if not limit.gives_way]
        told: set[str] = set()
        if len(rigid) > 1:
            yield from _clashes(view, rigid, counting, told)
        left = [limit for limit in group if limit.term.id not in told]
        if len(left) > 1 and len(left) > len(rigid) - len(told):  # some of them have a price
            yield from _clashes(view, left, counting, told)


def _clashes(view: PolicyView, group: Sequence[Limit], rules: Sequence[Demand], told: set[str]) -> Iterator[Finding]:
    """All smallest sets that share no limit with one found before; `told` gets the ids of their limits."""
    if _is_met_by_one_answer(view, group, rules):
        return
    from bylaw.compiler.proofs._clashes import described
    from bylaw.compiler.proofs._mixtures import MOST_EVENTS, MOST_QUANTITIES, Mixture

    about = f"whether {listed([limit.name for limit in group[:3]])}{' and others' if len(group) > 3 else ''} can be met"
    mixture = Mixture(view, tuple(group))
    if mixture.is_met_by_known_texts(rules):
        return
    if len(mixture.events) > MOST_EVENTS or len(mixture.quantities) > MOST_QUANTITIES:
        yield Undecided(about, "there are too many limits for the same prompts; they were held together in pairs")
        pairs = [pair for pair in combinations(group, 2) if _may_clash(*pair)]
        for number, pair in enumerate(pairs):
            if view.is_late or number == MOST_PAIRS:
                yield Undecided(about, LATE if view.is_late else "there are too many pairs", len(pairs) - number)
                return
            clash = Mixture(view, pair).clash(rules)
            if clash is not None:
                told |= {limit.term.id for limit in clash.limits}
                yield described(view, clash)
        return
    left = list(group)
    while len(left) > 1 and (clash := mixture.clash(rules)) is not None:
        told |= {limit.term.id for limit in clash.limits}
        yield described(view, clash)
        left = [limit for limit in left if limit not in clash.limits]
        mixture = Mixture(view, tuple(left))
    for why in dict.fromkeys(mixture.opened):
        yield Undecided(about, why)


def _is_met_by_one_answer(view: PolicyView, group: Sequence[Limit], rules: Sequence[Demand]) -> bool:
    """Whether limits from above are all met where every answer is the same known one: none of the events happens."""
    known = view.witnesses
    bits = (1 << len(known.texts)) - 1
    for rule in rules:
        bits &= known.true_of(rule.obeyed, rule.key)
    for limit in group:
        event = limit.term.holds
        if event is None or limit.term.sense != "at most" or reads_context(event):
            return False
        bits &= known.false_of(event)
    return bits != 0


def _may_clash(one: Limit, other: Limit) -> bool:
    """Whether the bounds of two limits leave room for a clash, whatever they count."""
    terms = (one.term, other.term)
    if any(term.holds is None or term.among is not None for term in terms):
        return True
    (least, most), (other_least, other_most) = _range_of(one), _range_of(other)
    return least + other_least > 1 or most + other_most < 1 or least > other_most or other_least > most


def _range_of(limit: Limit) -> tuple[Fraction, Fraction]:
    """The shares that a limit allows: from, to."""
    least = Fraction(0) if limit.term.sense == "at most" else limit.bound
    return least, Fraction(1) if limit.term.sense == "at least" else limit.bound
