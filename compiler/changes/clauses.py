"""Clauses: terms that are true or false, as a search for texts sees them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.spec.expression import And, BooleanConstant, BooleanExpression, Not, Or
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context, reads_response
from bylaw.spec.trace import Trace

TRUE = BooleanConstant(True)
MOST_CASES = 32
"""Above this number a clause is taken as it is: what hangs on the conversation inside it is then not decided."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A term as the search sees it: where it counts, as far as the answer does not matter, and what answers that keep
    it there have in common. For a budget, answers that count against it are those that break it."""

    term: RewardTerm
    where: BooleanExpression
    kept: BooleanExpression
    key: Hashable

    @staticmethod
    def of(term: RewardTerm, *, own: bool = False) -> Clause:
        """The clause of a term that is true or false; `own`: without what lifts it.

        Raises ValueError for a term that weighs a quantity.
        """
        if term.holds is None:
            raise ValueError(f"`{term.id}` is neither kept nor broken")
        condition = term.own if own and term.waivers else term.condition
        parts = (*conjuncts(condition), *conjuncts(term.among))
        answered = conjunction(tuple(part for part in parts if reads_response(part)))
        kept = negate(term.holds) if term.kind == "budget" and term.sense != "at least" else term.holds
        if answered is not None:
            kept = Or((negate(answered), kept))
        where = conjunction(tuple(part for part in parts if not reads_response(part))) or TRUE
        if own and term.waivers:
            term = RewardTerm(
                term.id, term.rule, term.kind, term.level, term.extent,
                condition=condition, holds=term.holds, weight=term.weight, sense=term.sense, among=term.among,
            )  # fmt: skip
        return Clause(term, where, kept, (meaning(where), meaning(kept)))

    def cases(self) -> tuple[Clause, ...]:
        """The clause once for each way in which what it asks for hangs on the rest of the conversation.

        Permissions write such conditions into what a rule asks for. Cases that ask for nothing are left out.
        """
        waiting: list[Clause] = [self]
        found: list[Clause] = []
        while waiting:
            clause = waiting.pop()
            condition = _condition_in(clause.kept) if len(waiting) + len(found) < MOST_CASES else None
            if condition is None:
                found.append(clause)
                continue
            for value, told in ((True, condition), (False, negate(condition))):
                kept = _with(clause.kept, meaning(condition), value)
                if kept != TRUE:
                    where = told if clause.where == TRUE else And((clause.where, told))
                    waiting.append(Clause(self.term, where, kept, (meaning(where), meaning(kept))))
        return tuple(found)

    def says(self, trace: Trace) -> bool | None:
        """Whether a conversation keeps the clause, or the clause does not count there; None: it cannot be told."""
        verdict = evaluate_term(self.term, trace).verdict
        return None if verdict is Verdict.UNSCORED else verdict is not Verdict.VIOLATED


def _condition_in(kept: BooleanExpression) -> BooleanExpression | None:
    """A statement in what is asked for that the answer does not change."""
    match kept:
        case And(items) | Or(items):
            return next((found for item in items if (found := _condition_in(item)) is not None), None)
        case Not(item):
            return _condition_in(item)
        case BooleanConstant():
            return None
    return kept if reads_context(kept) and not reads_response(kept) else None


def _with(kept: BooleanExpression, condition: Hashable, value: bool) -> BooleanExpression:
    """What is left of a statement where a part of it is known to be true, or false."""
    match kept:
        case And(items) | Or(items):
            deciding = BooleanConstant(isinstance(kept, Or))
            left = [part for item in items if (part := _with(item, condition, value)) != negate(deciding)]
            if deciding in left:
                return deciding
            if len(left) < 2:
                return left[0] if left else negate(deciding)
            return Or(tuple(left)) if isinstance(kept, Or) else And(tuple(left))
        case Not(item):
            return negate(_with(item, condition, value))
    return BooleanConstant(value) if meaning(kept) == condition else kept
