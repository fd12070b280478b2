"""Exceptions and permissions that lift nothing, because what they need is never true where the rule counts (P412)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.proofs._conditions import refuted, shown
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.compiler.satisfy import NotDecided, Refutation, situation_meeting
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import BooleanConstant, BooleanExpression, Extent
from bylaw.spec.logic import conjunction, conjuncts, negate
from bylaw.spec.regulator import PolicyException, Regulator

PERMISSIONS = ("may", "need not")


def unreached(view: PolicyView, never: set[str]) -> Iterator[Finding]:
    """P412; `never` are the names of rules and exceptions whose own conditions are never true: that is said already."""
    exceptions = {exception.name: exception for exception in view.policy.exceptions}
    for exception in exceptions.values():
        if not never & {exception.name, *_targets(exception, exceptions)}:
            yield from _in_time(view, f"`{exception.name}`", _of_exception(view, exception, exceptions))
    permissions = {r.rule: r for r in view.policy.regulators if r.modality in PERMISSIONS}
    for permission in permissions.values():
        if permission.rule not in never:
            yield from _in_time(view, f"`{permission.rule}`", _of_permission(view, permission, never))


def _in_time(view: PolicyView, name: str, found: Iterator[Diagnostic]) -> Iterator[Finding]:
    """What is found; what is not decided, or comes too late, is told."""
    if view.is_late:
        yield Undecided(f"whether {name} is ever reached", "the time is used up")
        return
    try:
        yield from found
    except NotDecided as error:
        yield Undecided(f"whether {name} is ever reached", error.reason)


def _targets(exception: PolicyException, exceptions: Mapping[str, PolicyException]) -> list[str]:
    """What an exception is to, what that is to, and so on to the rule; circles are an error of their own."""
    found = [exception.target]
    while found[-1] in exceptions and len(found) <= len(exceptions):
        found.append(exceptions[found[-1]].target)
    return found


# --------------------------------------------------------------------------------------------------------- exceptions
def _of_exception(
    view: PolicyView, exception: PolicyException, exceptions: Mapping[str, PolicyException]
) -> Iterator[Diagnostic]:
    *between, rule = _targets(exception, exceptions)
    rules = [regulator for regulator in view.policy.regulators if regulator.rule == rule]
    if not rules:
        return
    above = [part for name in between for part in conjuncts(exceptions[name].condition)]
    needed = [*conjuncts(rules[0].condition), *above]
    own = conjuncts(exception.condition)
    why = refuted([*needed, *own]) if own or needed else None
    if why is not None:
        yield _apart(exception, rules[0], [exceptions[name] for name in between], why)
        return
    lifting = [other for other in exceptions.values() if other.target == exception.name]
    if lifting and refuted([*needed, *own, *(negate(_where(other, exceptions)) for other in lifting)]) is not None:
        yield _lifted(exception, lifting)
        return
    for other in exceptions.values():
        if other.target == exception.target and other is not exception and not _is_later(exception, other, exceptions):
            also = [*needed, *conjuncts(_where(exception, exceptions)), negate(_where(other, exceptions))]
            if refuted(also) is not None:
                yield _covered(exception, other, _is_same(needed, exception, other, exceptions))
                return


def _where(exception: PolicyException, exceptions: Mapping[str, PolicyException]) -> BooleanExpression:
    """Where an exception counts: its condition, without its own exceptions."""
    parts = list(conjuncts(exception.condition))
    parts += [negate(_where(other, exceptions)) for other in exceptions.values() if other.target == exception.name]
    return conjunction(tuple(parts)) or BooleanConstant(True)


def _is_later(exception: PolicyException, other: PolicyException, exceptions: Mapping[str, PolicyException]) -> bool:
    """Of two exceptions that count in the same places, only the second changes nothing."""
    names = list(exceptions)
    if names.index(other.name) < names.index(exception.name):
        return False
    return refuted([_where(other, exceptions), negate(_where(exception, exceptions))]) is not None


def _is_same(
    needed: Sequence[BooleanExpression],
    one: PolicyException,
    other: PolicyException,
    exceptions: Mapping[str, PolicyException],
) -> bool:
    return refuted([*needed, _where(other, exceptions), negate(_where(one, exceptions))]) is not None


def _apart(
    exception: PolicyException, rule: Regulator, between: Sequence[PolicyException], why: Refutation
) -> Diagnostic:
    target = between[0] if between else None
    what = f"the exception `{target.name}` counts" if target else f"`{rule.rule}` applies"
    notes = [why.reason, *_possible(exception.condition, rule, between)]
    lifted = Label(span_of(target.extent if target else rule.rule_extent), "it would lift this")
    return _finding(
        f"the exception `{exception.name}` is never reached: its condition is never true where {what}",
        Label(span_of(exception.extent), "this lifts nothing"),
        (lifted,),
        tuple(notes),
        f"correct the condition of `{exception.name}` or of `{target.name if target else rule.rule}`, or remove the "
        "exception",
    )


def _possible(
    condition: BooleanExpression | None, rule: Regulator, between: Sequence[PolicyException]
) -> tuple[str, ...]:
    """A situation in which the condition is true, and the rule does not count."""
    try:
        found = situation_meeting(condition)
    except NotDecided:
        return ()
    if found is None:
        return ()
    what = f"the exception `{between[0].name}` does not count" if between else f"`{rule.rule}` does not apply"
    return (f"where {shown(found)}, its condition is true, but {what}",)


def _lifted(exception: PolicyException, lifting: Sequence[PolicyException]) -> Diagnostic:
    names = " and ".join(f"`{other.name}`" for other in lifting)
    return _finding(
        f"the exception `{exception.name}` is never reached: {names} lift{'s' if len(lifting) == 1 else ''} it "
        "wherever it would count",
        Label(span_of(exception.extent), "this lifts nothing"),
        tuple(Label(span_of(other.extent), "lifted by this") for other in lifting),
        ("an exception to an exception puts the rule back in force",),
        f"give {names} a narrower condition, or remove `{exception.name}`",
    )


def _covered(exception: PolicyException, other: PolicyException, is_same: bool) -> Diagnostic:
    where = "in the same situations" if is_same else "wherever it counts, and elsewhere"
    return _finding(
        f"the exception `{exception.name}` changes nothing: `{other.name}` lifts `{exception.target}` {where}",
        Label(span_of(exception.extent), "this lifts nothing more"),
        (Label(span_of(other.extent), "than this does"),),
        (),
        f"remove `{exception.name}`, or give `{other.name}` a narrower condition",
    )


# -------------------------------------------------------------------------------------------------------- permissions
def _of_permission(view: PolicyView, permission: Regulator, never: set[str]) -> Iterator[Diagnostic]:
    """A permission is found where the settled program remembers what it lifts."""
    lifted = [
        (term, waiver)
        for term in view.program.terms
        for waiver in (*term.waivers, *term.eased)
        if waiver.reason == "permission" and waiver.by == permission.rule and term.rule not in never
    ]
    if not lifted:
        return
    reasons: dict[str, tuple[Refutation, Extent]] = {}
    for term, waiver in lifted:
        own = term.own if term.waivers else term.condition
        parts = (*conjuncts(own), *conjuncts(waiver.where))
        why = refuted(parts) if parts else None
        if why is None:
            return
        reasons.setdefault(term.rule, (why, term.extent))
    names = " and ".join(f"`{name}`" for name in reasons)
    applies = "applies" if len(reasons) == 1 else "apply"
    notes = [why.reason for why, _ in reasons.values()]
    situation = situation_meeting(permission.condition)
    if situation is not None:
        does = "does" if len(reasons) == 1 else "do"
        notes.append(f"where {shown(situation)}, the permission counts, but {names} {does} not")
    yield _finding(
        f"the permission `{permission.rule}` is never reached: its condition is never true where {names} {applies}",
        Label(span_of(permission.extent), "this lifts nothing"),
        tuple(Label(span_of(extent), "it would lift this") for _, extent in reasons.values()),
        tuple(dict.fromkeys(notes)),
        f"correct the condition of `{permission.rule}` or of {names}, or remove the permission",
    )


def _finding(message: str, primary: Label, marks: tuple[Label, ...], notes: tuple[str, ...], fix: str) -> Diagnostic:
    return Diagnostic("P412", Severity.WARNING, message, primary, marks, notes, Fix(fix))
