"""Other bounds, other weights, rules left out: the law before and after, from responses that are scored already.

A question is text as people type it: `few_refusals=2%`, `short_answers weight 3`. Each has the same answer as editing
the policy, scoring the same responses again and solving again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bylaw.compiler.law.numerics import BoolArray
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.calibration.problem import ESS_FLOOR
from bylaw.runtime.prices.errors import BadQuestion
from bylaw.runtime.prices.law import Measured, Scores, is_share, room
from bylaw.runtime.prices.shares import divided, is_long
from bylaw.runtime.prices.solve import Solved, amount, solve

_WEIGHT = re.compile(r"\s*(?P<name>\S+)\s+weight\s+(?P<number>\S+)\s*")
_BOUND = re.compile(r"\s*(?P<name>[^\s=]+)\s*=\s*(?P<number>[^\s%]+)\s*(?P<percent>%?)\s*")
LARGEST = 1e15
FORMS = "`RULE=2%` for another bound, or `RULE weight 3` for another weight"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would be different. `value` is the new bound (a share between 0 and 1, or a quantity) or weight
    in nats; `is_percent` says that it was given in %."""

    kind: Literal["bound", "weight", "without"]
    name: str
    value: float = 0.0
    is_percent: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """What one term comes to under one law: `rate` (None where it is about no response), its weight or multiplier in
    nats with the interval of a multiplier, its part of the divergence, and for a limit its bound and what came of it.
    """

    rate: Measured | None
    strength: float | None
    strength_low: float | None
    strength_high: float | None
    kl: float
    kl_standard_error: float
    bound: float | None
    slack: float | None
    status: str


@dataclass(frozen=True, slots=True)
class WhatIfRow:
    """One term before and after."""

    term: str
    rule: str
    title: str | None
    kind: str
    sense: str | None
    is_share: bool
    is_changed: bool
    before: Side
    after: Side


@dataclass(frozen=True, slots=True)
class Totals:
    """One law as a whole: its divergence from the base model in nats, and how many responses stand behind it."""

    kl: Measured
    ess: float
    smallest_ess: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer. `method` says how the divergence was divided."""

    changes: tuple[str, ...]
    rows: tuple[WhatIfRow, ...]
    before: Totals
    after: Totals
    method: str
    samples: int
    prompts: int


def parse_change(text: str) -> Change:
    """Reads `RULE=2%` or `RULE weight 3`. Raises BadQuestion."""
    for kind, pattern in (("weight", _WEIGHT), ("bound", _BOUND)):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        number = _number(match["number"], text)
        if kind == "weight":
            return Change("weight", match["name"], number)
        is_percent = bool(match["percent"])
        return Change("bound", match["name"], number / 100 if is_percent else number, is_percent)
    raise BadQuestion(f"`{text}` is not a change; write {FORMS}")


def changed(terms: tuple[RewardTerm, ...], changes: Sequence[Change]) -> tuple[tuple[RewardTerm, ...], BoolArray]:
    """The terms with their new bounds and weights, and which of them [T] are still in the law. Raises BadQuestion."""
    result, active = list(terms), np.ones(len(terms), dtype=np.bool_)
    touched: dict[int, Change] = {}
    for change in changes:
        for index in _meant(terms, change):
            if index in touched:
                raise BadQuestion(f"`{terms[index].id}` is changed twice; give one change for each rule")
            touched[index] = change
            if change.kind == "without":
                active[index] = False
            elif change.kind == "weight":
                result[index] = _reweighted(terms[index], change.value)
            else:
                result[index] = _rebounded(terms[index], change)
    return tuple(result), active


def what_if(
    scores: Scores,
    terms: tuple[RewardTerm, ...],
    changes: Sequence[Change],
    *,
    before: Solved | None = None,
    ess_floor: float = ESS_FLOOR,
) -> WhatIf:
    """Solves for the law before (unless it is given) and after the changes.

    Raises BadQuestion for changes that make no sense, Impossible with the limits that cannot hold together, and
    Unanswerable where the responses are worth fewer than `ess_floor` independent ones.
    """
    if not changes:
        raise BadQuestion(f"nothing is changed; write {FORMS}, or leave a rule out")
    new, active = changed(terms, changes)
    old = solve(scores, terms, ess_floor=ess_floor) if before is None else before
    solved = solve(scores, new, active, ess_floor)
    along_path = is_long(old.law) or is_long(solved.law)  # one way of dividing for both, or they cannot be compared
    (sides, total, method), (others, other_total, _) = (_sides(each, along_path) for each in (old, solved))
    rows = tuple(
        WhatIfRow(
            term=term.id,
            rule=term.rule,
            title=term.title,
            kind=term.kind,
            sense=None if term.sense is None else str(term.sense),
            is_share=is_share(term),
            is_changed=term is not new[index] or not active[index],
            before=sides[index],
            after=others[index],
        )
        for index, term in enumerate(terms)
    )
    said = tuple(sentence for change in changes for sentence in _said(terms, change))
    return WhatIf(said, rows, total, other_total, method, scores.drawn, len(scores.prompts))


# ------------------------------------------------------------------------------------------------------------ parts
def _number(text: str, whole: str) -> float:
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        raise BadQuestion(f"`{text}` in `{whole}` is not a number; write {FORMS}") from None
    if not math.isfinite(number):
        raise BadQuestion(f"`{text}` in `{whole}` is not a finite number")
    if abs(number) >= LARGEST:
        raise BadQuestion(f"`{text}` in `{whole}` is too large: numbers of a policy have at most 15 digits")
    return number


def find_terms(terms: Sequence[RewardTerm], name: str) -> list[int]:
    """The columns of the term or of all terms of the rule called `name`. Raises BadQuestion with the nearest name."""
    exact = [index for index, term in enumerate(terms) if term.id == name]
    found = exact or [index for index, term in enumerate(terms) if term.rule == name]
    if not found:
        from bylaw.spec import catalog

        known = tuple(sorted({term.id for term in terms} | {term.rule for term in terms}))
        nearest = catalog.nearest(name, known)
        raise BadQuestion(f"there is no rule called `{name}`" + (f"; did you mean `{nearest}`?" if nearest else ""))
    return found


def _meant(terms: Sequence[RewardTerm], change: Change) -> list[int]:
    """Which terms a change is about: all of a rule that is left out, else the one that has a bound or a weight."""
    found = find_terms(terms, change.name)
    if change.kind == "without":
        return found
    kinds = ("budget",) if change.kind == "bound" else ("soft", "graded")
    fitting = [index for index in found if terms[index].kind in kinds]
    ids = tuple(terms[index].id for index in (fitting or found))
    if len(fitting) == 1:
        return fitting
    if fitting:
        names = ", ".join(f"`{name}`" for name in ids)
        raise BadQuestion(f"`{change.name}` has {len(fitting)} parts with a {change.kind}: name one of {names}", ids)
    what = "limit, so it has no bound" if change.kind == "bound" else "`should` or `prefer`, so it has no weight"
    raise BadQuestion(f"`{change.name}` is no {what}", ids)


def _reweighted(term: RewardTerm, weight: float) -> RewardTerm:
    if weight < 0:
        raise BadQuestion(f"the weight of `{term.id}` is negative ({weight:g}); weights are above 0", (term.id,))
    if weight == 0:
        raise BadQuestion(f"a weight of 0 does nothing; to leave `{term.id}` out, use --without {term.id}", (term.id,))
    return replace(term, weight=math.copysign(weight, term.weight or 1.0))


def _rebounded(term: RewardTerm, change: Change) -> RewardTerm:
    """A limit with another bound. At 0 % or 100 % no multiplier is large enough: the limit becomes a hard rule."""
    bound = change.value
    if not is_share(term):
        if change.is_percent:
            raise BadQuestion(f"`{term.id}` limits a quantity; give a number without %", (term.id,))
        return replace(term, bound=bound)
    if not 0 <= bound <= 1:
        side = "above 100 %" if bound > 1 else "below 0 %"
        hint = "" if change.is_percent or bound < 0 else f"; did you mean `{term.id}={bound:g}%`?"
        raise BadQuestion(f"a bound of {100 * bound:g}% is {side}, and `{term.id}` limits a share{hint}", (term.id,))
    sense = str(term.sense)
    if (bound == 0 and sense != "at least") or (bound == 1 and sense != "at most"):
        return replace(term, kind="hard", bound=bound)
    return replace(term, bound=bound)


def _sides(solved: Solved, along_path: bool) -> tuple[list[Side], Totals, str]:
    law = solved.law
    shares, rates, moments = divided(law, along_path), law.rates(), law.moments
    sides = []
    for index, term in enumerate(law.terms):
        on = bool(law.active[index])
        is_limit = on and term.kind == "budget"
        multiplier = solved.multiplier(index) if is_limit else None
        weight = term.weight if on else None
        sides.append(
            Side(
                rate=rates[index],
                strength=multiplier.value if multiplier else weight,
                strength_low=multiplier.low if multiplier else None,
                strength_high=multiplier.high if multiplier else None,
                kl=float(shares.parts[index]),
                kl_standard_error=float(shares.errors[index]),
                bound=term.bound if on else None,
                slack=room(law, index, rates[index]) if on else None,
                status=_status(solved, index, term),
            )
        )
    return sides, Totals(shares.total, moments.ess, float(moments.prompt_ess.min())), shares.method


def _status(solved: Solved, index: int, term: RewardTerm) -> str:
    if not solved.law.active[index]:
        return "left out"
    if term.kind == "hard":
        return "must hold"
    return solved.status(index) or ("is about no response" if term.kind == "budget" else "weighed")


def _said(terms: Sequence[RewardTerm], change: Change) -> list[str]:
    """The change in words, with what was there."""
    said = []
    for index in _meant(terms, change):
        term = terms[index]
        if change.kind == "without":
            said.append(f"without `{term.id}`")
        elif change.kind == "weight":
            said.append(f"`{term.id}` weight {change.value:g} instead of {abs(term.weight or 0.0):g}")
        else:
            new, old = amount(term, change.value), amount(term, float(term.bound or 0.0))
            said.append(f"`{term.id}` {term.sense} {new} instead of {old}")
    return said
