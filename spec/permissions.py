"""`may` and `need not`: what they lift.

A permission lifts the rules that say the opposite in the same words, at its own level or below, where its condition
holds. Lifting is written into the condition of the lifted rule (or into the part of a rule that it lifts), so that
later stages know nothing about permissions. A permission that lifts nothing, or that would lift a rule above its
authority, is an error: the author would believe that something is allowed which is not.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from bylaw.spec.errors import Label
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    Extent,
    Or,
    conjunction,
    conjuncts,
    meaning,
    negate,
)
from bylaw.spec.regulator import Regulator
from bylaw.spec.scope import Messages
from bylaw.spec.source import Span

PERMISSIONS = ("may", "need not")
OBLIGATIONS = ("must", "must not", "should", "should not")


def lift(regulators: tuple[Regulator, ...], levels: tuple[str, ...], messages: Messages) -> tuple[Regulator, ...]:
    """The obligations that remain, each under a condition that leaves out what is permitted."""
    rank = {level: position for position, level in enumerate(levels)}
    remaining = {r.id: r for r in regulators if r.modality not in PERMISSIONS}
    for permission in regulators:
        if permission.modality not in PERMISSIONS:
            continue
        opposed = [r for r in remaining.values() if _lifted_parts(permission, r)]
        if not opposed:
            messages.error(
                "P302",
                f"this permission lifts nothing: no rule says the opposite of `{permission.rule}` in the same words",
                _span(permission.extent),
                notes=("`may X` lifts rules that forbid X; `need not X` lifts rules that ask for X",),
            )
        for target in opposed:
            if rank.get(target.level, 0) < rank.get(permission.level, 0):
                messages.error(
                    "P301",
                    f"`{permission.level}` has no authority to lift `{target.rule}`",
                    _span(permission.extent),
                    f"permission given at level `{permission.level}`",
                    secondary=(Label(_span(target.extent), f"the rule stands at level `{target.level}`"),),
                    notes=(f"chain of command: {' > '.join(levels)}",),
                )
            else:
                remaining[target.id] = _without(target, _lifted_parts(permission, target), permission.condition)
    return tuple(remaining.values())


def _lifted_parts(permission: Regulator, rule: Regulator) -> frozenset[Hashable]:
    """The parts of an obligation that a permission lifts: `must not A or B` has two, not A and not B."""
    if permission.obligation is None or rule.modality not in OBLIGATIONS:
        return frozenset()
    granted = negate(permission.obligation) if permission.modality == "may" else permission.obligation
    asked = {meaning(part) for part in conjuncts(rule.obligation)}
    return frozenset(meaning(part) for part in conjuncts(granted)) & asked


def _without(rule: Regulator, lifted: frozenset[Hashable], where: BooleanExpression | None) -> Regulator:
    """The rule with some of its parts lifted where a condition holds (None: everywhere)."""
    parts = conjuncts(rule.obligation)
    if all(meaning(part) in lifted for part in parts):
        silent = BooleanConstant(False) if where is None else negate(where)
        return replace(rule, condition=conjunction((*conjuncts(rule.condition), silent)))
    kept: list[BooleanExpression] = []
    for part in parts:
        if meaning(part) not in lifted:
            kept.append(part)
        elif where is not None:
            kept.append(Or((where, part)))
    return replace(rule, obligation=conjunction(tuple(kept)))


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
