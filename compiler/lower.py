"""Lowering: RegulatorSet -> RewardProgram."""

from __future__ import annotations

from dataclasses import replace

from bylaw.compiler.defeat import Settled, waived
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec.expression import BooleanExpression, Compare, NumberConstant, Or
from bylaw.spec.logic import negate
from bylaw.spec.regulator import Regulator, RegulatorSet


def lower(policy: RegulatorSet, settled: Settled) -> RewardProgram:
    """One term for each regulator that remains, in the order of the file."""
    terms = tuple(
        replace(waived(_term(each), settled.waivers.get(each.id, ())), eased=settled.eased.get(each.id, ()))
        for each in settled.regulators
    )
    return RewardProgram(policy.policy, policy.version, policy.levels, terms)


def _term(regulator: Regulator) -> RewardTerm:
    action = regulator.on_violation
    frame = {
        "id": regulator.id,
        "rule": regulator.rule,
        "level": regulator.level,
        "extent": regulator.extent,
        "title": regulator.title,
        "because": regulator.because,
        "condition": regulator.condition,
        "sources": regulator.sources,
        "action": None if action is None else action.action,
        "action_message": None if action is None else action.message,
    }
    match regulator.modality:
        case "must" | "must not":
            return RewardTerm(kind="hard", holds=regulator.obligation, **frame)  # type: ignore[arg-type]
        case "should" | "should not":
            return RewardTerm(kind="soft", holds=regulator.obligation, weight=regulator.weight, **frame)  # type: ignore[arg-type]
        case "prefer":
            return RewardTerm(kind="graded", value=regulator.value, weight=regulator.weight, **frame)  # type: ignore[arg-type]
        case "limit":
            return _limit(regulator, frame)
    raise ValueError(f"permissions are resolved before lowering: {regulator.id!r}")


def _limit(regulator: Regulator, frame: dict[str, object]) -> RewardTerm:
    """A limit at 0 % or 100 %, or of an average count at 0, has no finite multiplier: it is a hard rule."""
    if regulator.is_hard_limit:
        holds = _always(regulator)
        if regulator.among is not None:
            holds = Or((negate(regulator.among), holds))
        return RewardTerm(kind="hard", holds=holds, **frame)  # type: ignore[arg-type]
    return RewardTerm(
        kind="budget",
        holds=regulator.event,
        value=regulator.value,
        sense=regulator.sense,
        bound=regulator.bound,
        confidence=regulator.confidence,
        suite=regulator.suite,
        among=regulator.among,
        each_prompt=regulator.each_prompt,
        price=regulator.price,
        **frame,  # type: ignore[arg-type]
    )


def _always(regulator: Regulator) -> BooleanExpression:
    """What every answer that a hard limit is about has to do."""
    if regulator.event is not None:
        return regulator.event if regulator.bound else negate(regulator.event)
    assert regulator.value is not None
    return Compare("<=", regulator.value, NumberConstant(0.0), regulator.extent)
