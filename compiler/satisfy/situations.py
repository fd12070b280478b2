"""Whether a condition can be met: a situation in which it is true, or a proof that there is none.

A condition is true where, in its negation normal form, all statements of one of its branches are (Kleene's logic: a
statement that is unknown, because a fact is not given, makes no branch true). Branches are opened one by one, as in an
analytic tableau (Smullyan, First-Order Logic, 1968, chapter II), and closed early where two statements exclude each
other. Every situation is weighed by the reference evaluator before it is given out. What is neither found nor refuted
is NotDecided.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy.branch import Branch, Refutation
from bylaw.compiler.satisfy.search import NotDecided, Search
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Fact,
    Not,
    NumberFact,
    Or,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, walk
from bylaw.spec.trace import FactValue, Trace

__all__ = ["NotDecided", "Refutation", "can_meet", "decide", "implies", "situation_meeting"]

MOST_BRANCHES = 400
"""Ways to make a condition true that are looked at, closed ones included."""
MOST_OPEN = 20
"""Ways for which neither is found, above which no more are looked at."""


def situation_meeting(expression: BooleanExpression | None) -> Trace | None:
    """A situation in which a condition is true (None: always), with every fact that it reads.

    It has a prompt where the condition reads the prompt or the conversation, and a response where it reads that. None
    is a proof that there is no such situation, whatever facts, texts and scores there are. Raises NotDecided.
    """
    answer = decide(expression)
    return answer if isinstance(answer, Trace) else None


def decide(expression: BooleanExpression | None) -> Trace | Refutation:
    """The same, with the reason where there is no such situation: the first of at most one for each branch."""
    if expression is None:
        return Trace(())
    tableau = _Tableau()
    opened: NotDecided | None = None
    open_branches = 0
    refuted: dict[str, Refutation] = {}
    for branch in tableau.branches((_normal(expression),)):
        try:
            answer = branch.conflict() or Search(branch).answer()
        except NotDecided as error:
            opened, open_branches = opened or error, open_branches + 1
            if open_branches >= MOST_OPEN:
                break  # it is no proof any more, and a situation has become unlikely
            continue
        if isinstance(answer, Trace):
            return _checked(expression, answer)
        refuted.setdefault(answer.reason, answer)
    if opened is not None:
        raise opened
    return _together([*tableau.refuted.values(), *refuted.values()])


def implies(one: BooleanExpression | None, other: BooleanExpression | None) -> bool | None:
    """Whether a condition is never met where `other` is known to be false; None where that is not decided.

    `other` may still be unknown where a fact is not given.
    """
    if other is None:
        return True
    keys = {meaning(part) for part in conjuncts(one)}
    if all(meaning(part) in keys for part in conjuncts(other)):
        return True
    meets = can_meet(one, negate(other))
    return None if meets is None else not meets


def can_meet(one: BooleanExpression | None, other: BooleanExpression | None) -> bool | None:
    """Whether there is a situation in which both conditions are true; None where that is not decided."""
    try:
        return situation_meeting(conjunction((*conjuncts(one), *conjuncts(other)))) is not None
    except NotDecided:
        return None


# ------------------------------------------------------------------------------------------------------------ tableau
@dataclass
class _Tableau:
    """Opens branches; `refuted` are proofs for those that were closed before they were complete."""

    refuted: dict[str, Refutation] = field(default_factory=dict)
    count: int = 0

    def branches(
        self, waiting: tuple[BooleanExpression, ...], parts: tuple[BooleanExpression, ...] = ()
    ) -> Iterator[Branch]:
        """Every way to make all of `waiting` true beside `parts`. Raises NotDecided past MOST_BRANCHES."""
        known = {meaning(part): part for part in parts}
        choices: list[tuple[BooleanExpression, ...]] = []
        todo = list(waiting)
        while todo:
            part = todo.pop(0)
            match part:
                case And(items):
                    todo = [*items, *todo]
                case Or(items):
                    choices.append(items)
                case BooleanConstant(True):
                    continue
                case _:
                    known.setdefault(meaning(part), part)
        branch = Branch(tuple(known.values()))
        open_choices = [items for items in choices if not any(_is_known(item, known) for item in items)]
        if not open_choices:
            self._count()
            yield branch
            return
        conflict = branch.conflict()
        if conflict is not None:
            self._count()
            self.refuted.setdefault(conflict.reason, conflict)
            return
        first, *rest = sorted(open_choices, key=len)
        others = tuple(Or(items) for items in rest)
        for item in first:
            yield from self.branches((item, *others), branch.parts)
        if not first:
            self.refuted.setdefault("", Refutation((), "there is nothing that could be true"))

    def _count(self) -> None:
        self.count += 1
        if self.count > MOST_BRANCHES:
            raise NotDecided(f"there are more than {MOST_BRANCHES} ways to make it true")


def _is_known(item: BooleanExpression, known: dict[Hashable, BooleanExpression]) -> bool:
    return item == BooleanConstant(True) or meaning(item) in known


def _normal(expression: BooleanExpression) -> BooleanExpression:
    """Negations only before single statements."""
    match expression:
        case And(items):
            return And(tuple(map(_normal, items)))
        case Or(items):
            return Or(tuple(map(_normal, items)))
        case Not(And() | Or() | Not() | BooleanConstant() as item):
            return _normal(negate(item))
    inner = expression.item if isinstance(expression, Not) else expression
    return negate(inner) if isinstance(expression, Not) else expression


def _together(found: list[Refutation]) -> Refutation:
    """One reason for all branches; three of them are enough to be understood."""
    if len(found) == 1:
        return found[0]
    parts = {id(part): part for each in found for part in each.parts}
    reasons = [each.reason for each in found if each.reason][:3]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return Refutation(tuple(parts.values()), "; ".join(reasons) + more)


def _checked(expression: BooleanExpression, trace: Trace) -> Trace:
    """The situation with every fact that the condition reads, weighed by the reference evaluator."""
    facts: dict[str, FactValue] = dict(trace.facts)
    for part in walk(expression):
        match part:
            case BooleanFact(path) if not path.startswith("it."):
                facts.setdefault(path, False)
            case NumberFact(path) if not path.startswith("it."):
                facts.setdefault(path, 0.0)
            case Fact(path) if not path.startswith("it."):
                facts.setdefault(path, "")
    complete = replace(trace, facts=facts)
    if truth(expression, complete) is not True:
        raise AssertionError("a situation that was found does not meet the condition")
    return complete
