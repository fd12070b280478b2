"""`may` and `need not`: what they lift.

A permission lifts the rules that say the opposite in the same words, at its own level or below, where its condition
holds. Lifting is written into the condition of the lifted rule, so that later stages know nothing about permissions.
A permission that lifts nothing, or that would lift a rule above its authority, is an error: the author would believe
that something is allowed which is not.
"""

from __future__ import annotations

from dataclasses import replace

from bylaw.spec.errors import Label
from bylaw.spec.expression import BooleanConstant, Extent, conjunction, negate, same
from bylaw.spec.regulator import Regulator
from bylaw.spec.scope import Messages
from bylaw.spec.source import Span


def lift(regulators: tuple[Regulator, ...], levels: tuple[str, ...], messages: Messages) -> tuple[Regulator, ...]:
    """The obligations that remain, each under a condition that leaves out what is permitted."""
    rank = {level: position for position, level in enumerate(levels)}
    remaining = {r.id: r for r in regulators if r.modality not in ("may", "need not")}
    for permission in regulators:
        if permission.modality not in ("may", "need not"):
            continue
        opposed = [r for r in remaining.values() if _opposes(permission, r)]
        if not opposed:
            messages.error(
                "P302",
                f"this permission lifts nothing: no rule says the opposite of `{permission.rule}` in the same words",
                _span(permission.extent),
                notes=("`may X` lifts `must not X` and `should not X`; `need not X` lifts `must X` and `should X`",),
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
                continue
            lifted = BooleanConstant(False) if permission.condition is None else negate(permission.condition)
            parts = (lifted,) if target.condition is None else (target.condition, lifted)
            remaining[target.id] = replace(target, condition=conjunction(parts))
    return tuple(remaining.values())


def _opposes(permission: Regulator, rule: Regulator) -> bool:
    if permission.obligation is None or rule.obligation is None or rule.modality == "prefer":
        return False
    if permission.modality == "may":
        return rule.modality in ("must not", "should not") and same(negate(rule.obligation), permission.obligation)
    return rule.modality in ("must", "should") and same(rule.obligation, permission.obligation)


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
