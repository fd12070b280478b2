"""Conditions that are never true, or always (P411), exceptions and permissions that are never reached (P412), and rules
that every answer obeys (P418).

What a condition means is decided by compiler/satisfy/situations.py; what hangs on parameters alone is left to its
author. Of several things that could be said of one rule, the first is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from bylaw.compiler.proofs._conditions import Clause, Conditional, conditionals, is_refuted, places, refuted
from bylaw.compiler.proofs._obeyed import obeyed_by_all
from bylaw.compiler.proofs._reached import unreached
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.compiler.satisfy import NotDecided, Refutation
from bylaw.compiler.satisfy.branch import variables_of
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import And, BooleanExpression, Fact, Holds, Or, Phrase
from bylaw.spec.logic import negate
from bylaw.spec.source import Span

MOST_PARTS = 6
"""Parts of one `and` or `or` that are held against each other."""


def all_findings(view: PolicyView) -> Iterator[Finding]:
    """Everything that is found, and what stayed open because the time was used up or no proof was found."""
    never: set[str] = set()
    for each in conditionals(view):
        if _is_one_text(each):
            continue
        if view.is_late:
            yield Undecided(f"the conditions of `{each.name}`", "the time is used up")
            continue
        try:
            clauses = tuple(clause for clause in each.clauses if clause.is_settled_before_the_answer)
            found = _never_true(each, clauses) if clauses else None
            if found is not None:
                never.add(each.name)
            else:
                found = _changes_nothing(each, clauses)
        except NotDecided as error:
            yield Undecided(f"whether the conditions of `{each.name}` can be true", error.reason)
            continue
        if found is not None:
            yield found
    yield from unreached(view, never)
    yield from obeyed_by_all(view, never)


def _is_one_text(each: Conditional) -> bool:
    """Whether the condition is that a fact is one text: another text makes it false, so there is nothing to find."""
    match [clause.said for clause in each.clauses]:
        case [Holds("match", Fact(), (Phrase(),)) as said]:
            return said.argument is None and each.clauses[0].word == "when"
    return False


# --------------------------------------------------------------------------------------------------------- never true
def _never_true(each: Conditional, clauses: tuple[Clause, ...]) -> Diagnostic | None:
    """P411 for conditions that cannot be true together: the smallest set of clauses. Raises NotDecided."""
    whole = refuted(clause.said for clause in clauses)
    if whole is None:
        return None
    core = clauses
    for size in (1, 2):
        smaller = (few for few in combinations(clauses, size) if is_refuted(clause.said for clause in few))
        found = next(smaller, None)
        if found is not None:
            core = found
            break
    why = refuted(clause.said for clause in core) or whole
    verb = "counts" if each.is_exception else "applies"
    fix = f"correct the condition, or remove the {'exception' if each.is_exception else 'rule'}"
    if len(core) > 1:
        marks = tuple(Label(clause.span, _second(clause)) for clause in core[1:])
        message = f"`{each.name}` never {verb}: its conditions exclude each other"
        first = "where this is true ..." if core[0].word == "when" else "where this is not true ..."
        return _finding(message, Label(core[0].span, first), marks, (why.reason,), fix)
    if core[0].word == "when":
        message, label, note = f"`{each.name}` never {verb}: its `when` is never true", "never true", why.reason
    else:
        message, label = f"`{each.name}` never {verb}: its `unless` is always true", "always true"
        note = f"it is never false: {why.reason}"
    return _finding(message, Label(core[0].span, label), _marks(why, core[0].span), (note,), fix)


def _second(clause: Clause) -> str:
    return "... this is never true" if clause.word == "when" else "... this is always true"


def _marks(why: Refutation, inside: Span) -> tuple[Label, ...]:
    """The two statements that exclude each other, where that is a part of a longer clause."""
    found = [span for span in places(why.parts) if inside.start <= span.start and span.end <= inside.end]
    if len(found) != 2:
        return ()
    return Label(found[0], "this ..."), Label(found[1], "... and this")


# ---------------------------------------------------------------------------------------------------- changes nothing
def _changes_nothing(each: Conditional, clauses: tuple[Clause, ...]) -> Diagnostic | None:
    """P411 for a clause, or a part of one, that is always true, or is wherever the others are. Raises NotDecided."""
    for clause in clauses:
        why = refuted([negate(clause.said)])
        if why is not None:
            return _always(each, clause, why)
    for clause in clauses:
        others = [other.said for other in clauses if other is not clause]
        why = refuted([*others, negate(clause.said)]) if others else None
        if why is not None:
            return _implied(each, clause, [other for other in clauses if other is not clause], why)
    return next(filter(None, (_part(each, clause) for clause in clauses)), None)


def _always(each: Conditional, clause: Clause, why: Refutation) -> Diagnostic:
    never = "always true" if clause.word == "when" else "never true"
    opposite = "false" if clause.word == "when" else "true"
    notes = [f"it is never {opposite}: {why.reason}", *_if_unknown(clause.said)]
    message = f"`{clause.word}` changes nothing in `{each.name}`: it is {never}"
    marks = _marks(why, clause.span) if clause.word == "unless" else ()
    return _finding(message, Label(clause.span, never), marks, tuple(notes), "correct it, or remove it")


def _implied(each: Conditional, clause: Clause, others: list[Clause], why: Refutation) -> Diagnostic:
    needed = [other for other in others if not is_refuted([negate(clause.said), *_except(others, other)])] or others
    state = "true" if clause.word == "when" else "never true"
    message = f"`{clause.word}` changes nothing in `{each.name}`: where the rest of its conditions hold, it is {state}"
    marks = tuple(Label(other.span, f"... where this is {_held(other)}") for other in needed)
    notes = (why.reason,)
    return _finding(message, Label(clause.span, f"{state} ..."), marks, notes, "correct one of them, or remove this")


def _held(clause: Clause) -> str:
    return "true" if clause.word == "when" else "not true"


def _except(clauses: list[Clause], one: Clause) -> list[BooleanExpression]:
    return [clause.said for clause in clauses if clause is not one]


def _if_unknown(said: BooleanExpression) -> tuple[str, ...]:
    if not any(kind == "fact" for kind, _ in variables_of(said)):
        return ()
    return ("where the fact is not given, it is unknown, and the rule is unscored",)


def _part(each: Conditional, clause: Clause) -> Diagnostic | None:
    """A part of an `and` that the other parts imply, or of an `or` that another part covers; facts only."""
    said = clause.said if clause.word == "when" else negate(clause.said)
    if not isinstance(said, (And, Or)) or len(said.items) > MOST_PARTS:
        return None
    if any(kind != "fact" for kind, _ in variables_of(said)):
        return None
    is_and = isinstance(said, And)
    for place, item in enumerate(said.items):
        others = [other for number, other in enumerate(said.items) if number != place]
        for other in others:
            strong, weak = (other, item) if is_and else (item, other)
            try:
                reason = refuted([strong, negate(weak)])
            except NotDecided:
                continue
            if reason is None or is_refuted([strong]) or not variables_of(weak):
                continue
            here, there = places([item]), places([other])
            label = "this changes nothing ..."
            why = "... because this asks for more" if is_and else "... because this is true wherever it is"
            message = f"a part of the `{clause.word}` of `{each.name}` changes nothing"
            marks = tuple(Label(span, why) for span in there[:1])
            primary = Label((here or [clause.span])[0], label)
            return _finding(message, primary, marks, (reason.reason,), "correct it, or remove it")
    return None


def _finding(message: str, primary: Label, marks: tuple[Label, ...], notes: tuple[str, ...], fix: str) -> Diagnostic:
    return Diagnostic("P411", Severity.WARNING, message, primary, marks, notes, Fix(fix))
