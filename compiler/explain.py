"""Why a rule says what it says of one conversation: clause, place, facts, and what would change the verdict.

A verdict is taken apart into its single statements (atoms). An atom whose opposite alone would change the verdict is
a counterfactual; a number that is just within its bound is a near miss.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from bylaw.compiler.analysis import terms_by_rule
from bylaw.compiler.evaluate import TermScore, Unknown, Verdict, number, truth
from bylaw.compiler.program import RewardProgram, RewardTerm, Waiver
from bylaw.compiler.verdicts import rule_verdict
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    EachEvent,
    Extent,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    Operator,
    Or,
)
from bylaw.spec.logic import OPPOSITE, conjunction, conjuncts, meaning
from bylaw.spec.trace import Trace

NEAR = 0.1
"""Within this share of the bound from coming out otherwise, or for whole numbers within one, a value is a near miss."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One single statement: where it stands in the policy, its value, and the numbers that it compares.

    `value` is None where it is unknown, `reason` says why. `decides` says that its opposite alone changes the verdict
    of the clause. `numbers` are what a comparison with a fixed number measures, and that number; `operator` is how they
    are compared. `is_suite` says that it asks whether the prompt is in the suite of a limit, `is_event` that it is
    about each event of a kind.
    """

    extent: Extent | None
    fact: str | None
    value: bool | None
    reason: str | None
    decides: bool
    numbers: tuple[float, float] | None = None
    operator: Operator | None = None
    is_suite: bool = False
    is_event: bool = False

    @property
    def is_near_miss(self) -> bool:
        """Whether a little more or less would make the statement come out otherwise.

        Nothing found where nothing is allowed is no near miss: there is no better value.
        """
        if self.numbers is None or self.operator is None or self.value is None:
            return False
        measured, bound = self.numbers
        if measured == bound == 0:
            return False
        missing = abs(measured - bound)
        if not (measured.is_integer() and bound.is_integer()):
            return missing <= NEAR * abs(bound)
        # `at most 3` ends with 4, `fewer than 3` with 3
        is_inside = (self.operator if self.value else OPPOSITE[self.operator]) in ("<=", ">=", "==")
        return missing + is_inside <= max(1.0, NEAR * abs(bound))


@dataclass(frozen=True, slots=True)
class ClauseExplanation:
    """One sentence of a rule: its score, and the atoms of what it says and of where it counts."""

    term: RewardTerm
    score: TermScore
    said: tuple[Atom, ...]
    where: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """One rule: `verdict` as in `rule_verdict`, with what lifts it or why it cannot be decided.

    `open_waiver` is what may lift a rule that cannot be decided: whether it does is what is not known.
    """

    rule: str
    level: str
    verdict: str
    clauses: tuple[ClauseExplanation, ...]
    waiver: Waiver | None
    reason: str | None
    open_waiver: Waiver | None = None


def explain(program: RewardProgram, trace: Trace) -> tuple[RuleExplanation, ...]:
    """One explanation for each rule that can be true or false of a conversation, in the order of the file."""
    return tuple(
        _rule(rule, terms, trace)
        for rule, terms in terms_by_rule(program).items()
        if any(term.holds is not None for term in terms)
    )


def _rule(rule: str, terms: tuple[RewardTerm, ...], trace: Trace) -> RuleExplanation:
    found = rule_verdict(terms, trace)
    clauses = tuple(_clause(term, score, trace) for term, score in zip(found.terms, found.scores, strict=True))
    pairs = zip(found.terms, found.scores, strict=True)
    open_terms = (term for term, score in pairs if score.verdict is Verdict.UNSCORED)
    open_waiver = _open_waiver(next(open_terms), trace) if found.verdict == "unscored" else None
    return RuleExplanation(rule, terms[0].level, found.verdict, clauses, found.waiver, found.reason, open_waiver)


def _open_waiver(term: RewardTerm, trace: Trace) -> Waiver | None:
    """What may lift a term that would count otherwise: the first waiver of which it is not known whether it counts."""
    own = conjuncts(term.own) if term.waivers else ()
    if any(truth(part, trace) is not True for part in own):
        return None
    unknown = (waiver for waiver in term.waivers if _is_unknown(waiver.where, trace))
    return next(unknown, None)


def _is_unknown(expression: BooleanExpression | None, trace: Trace) -> bool:
    return expression is not None and isinstance(truth(expression, trace), Unknown)


def _clause(term: RewardTerm, score: TermScore, trace: Trace) -> ClauseExplanation:
    said = tuple(_atoms(term.holds, trace))
    own = term.own if term.waivers else term.condition
    where = conjunction((*conjuncts(own), *conjuncts(term.among)))
    return ClauseExplanation(term, score, said, tuple(_atoms(where, trace)))


def _atoms(expression: BooleanExpression | None, trace: Trace) -> Iterator[Atom]:
    """The single statements of an expression, in the order in which they are written, each once."""
    if expression is None:
        return
    whole = truth(expression, trace)
    for key, atom in leaves(expression).items():
        value = truth(atom, trace)
        known = None if isinstance(value, Unknown) else value
        flipped = whole if known is None else _with(expression, trace, {key: not known})
        yield Atom(
            extent=getattr(atom, "extent", None),
            fact=atom.path if isinstance(atom, BooleanFact) else None,
            value=known,
            reason=value.reason if isinstance(value, Unknown) else None,
            decides=flipped is not None and not isinstance(whole, Unknown) and flipped is not whole,
            numbers=_numbers(atom, trace),
            operator=atom.operator if isinstance(atom, Compare) else None,
            is_suite=_is_suite(atom),
            is_event=isinstance(atom, EachEvent),
        )


def _is_suite(atom: BooleanExpression) -> bool:
    """Whether this is the condition that lowering writes for a suite: it stands nowhere in the policy."""
    return isinstance(atom, Holds) and atom.extent is None and atom.subject == MessageText("prompt")


def _numbers(atom: BooleanExpression, trace: Trace) -> tuple[float, float] | None:
    if not isinstance(atom, Compare) or not isinstance(atom.right, NumberConstant):
        return None
    measured = number(atom.left, trace)
    return None if isinstance(measured, Unknown) or not math.isfinite(measured) else (measured, atom.right.value)


def leaves(expression: BooleanExpression) -> dict[Hashable, BooleanExpression]:
    """The parts that are not joined of others, by what they mean."""
    match expression:
        case And(items) | Or(items):
            return {key: atom for item in items for key, atom in leaves(item).items()}
        case Not(item):
            return leaves(item)
        case BooleanConstant():
            return {}
        case _:
            return {meaning(expression): expression}


def _with(expression: BooleanExpression, trace: Trace, assumed: Mapping[Hashable, bool]) -> bool | None:
    """The value under assumptions about its atoms; None for unknown."""
    match expression:
        case And(items) | Or(items):
            deciding = isinstance(expression, Or)
            values = [_with(item, trace, assumed) for item in items]
            return deciding if deciding in values else None if None in values else not deciding
        case Not(item):
            inner = _with(item, trace, assumed)
            return None if inner is None else not inner
        case _:
            key = meaning(expression)
            if key in assumed:
                return assumed[key]
            value = truth(expression, trace)
            return None if isinstance(value, Unknown) else value
