"""What to know about a rule beside its figures: it changes nothing, it was never broken, it has reached its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bylaw.compiler.law.interactions import redundant_budgets
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.prices.law import Measured, base_law, broken, events, is_share, room
from bylaw.runtime.prices.solve import Solved


def remarks(
    solved: Solved, base: Sequence[Measured | None], ceilings: Mapping[str, float]
) -> tuple[tuple[str, ...], ...]:
    """[T] of each term, from its rates [T] without any rule. `ceilings`: see `price_table`."""
    above = _dominated(solved)
    redundant = {}
    if solved.solution is not None:
        redundant = {solved.columns[each.index]: each.ceiling for each in redundant_budgets(solved.solution)}
    found: list[tuple[str, ...]] = []
    for index, term in enumerate(solved.law.terms):
        rate = base[index]
        if rate is None:
            found.append(("is about none of the responses",))
            continue
        said = _never_seen(term, rate, ceilings.get(term.id, rate.high))
        if index in above:  # what it forbids is gone already
            said.append(f"dominated: every response that breaks it breaks `{above[index]}` as well")
        if index in redundant:
            said.append(_redundant(solved, index, rate, redundant[index]))
        elif solved.status(index) == "saturated":
            said.append("at its highest price: its bound gives way")
        if term.each_prompt and index in solved.columns:
            own = -solved.law.strength[solved.law.scores.applies[:, index], index]
            said.append(
                f"each prompt has its own multiplier, {own.min():.3g} to {own.max():.3g} nats: slack is of the worst"
            )
        found.append(tuple(said))
    return tuple(found)


def _never_seen(term: RewardTerm, rate: Measured, ceiling: float) -> list[str]:
    """Only what would break the rule counts: a limit of at least so much is missed by what is never seen."""
    if is_share(term) and term.sense in (None, "at most") and rate.value == 0.0:
        return [f"vacuous: never seen without rules (at most {100 * ceiling:.2g}% with 95% confidence)"]
    if not is_share(term) and rate.low == rate.high:
        return ["vacuous: its quantity never varies"]
    return []


def _redundant(solved: Solved, index: int, rate: Measured, ceiling: float) -> str:
    left = room(base_law(solved.law.scores, solved.law.terms), index, rate)
    why = "without any rule" if left is not None and left >= 0 else "because of the other rules"
    # A limit on what another one limits as well has no multiplier of its own, so none can be ruled out.
    chance = f"; within its error a multiplier up to {ceiling:.2g} nats is possible"
    return f"redundant: holds {why}{chance if 0 < ceiling < np.inf else ''}"


def _dominated(solved: Solved) -> dict[int, str]:
    """By column of a rule that a hard rule makes idle: the id of that one. Of two equal ones the first stays."""
    law = solved.law
    forbidden, happened = broken(law.scores, law.terms), events(law.scores, law.terms)
    ruled = [i for i, term in enumerate(law.terms) if term.kind in ("hard", "soft") and law.active[i]]
    found: dict[int, str] = {}
    for index in ruled:
        own = happened[:, index] > 0
        for other in ruled:
            if other == index or law.terms[other].kind != "hard" or not own.any() or np.any(own & ~forbidden[:, other]):
                continue
            is_same = law.terms[index].kind == "hard" and np.array_equal(own, forbidden[:, other])
            if not is_same or other < index:
                found[index] = law.terms[other].id
                break
    return found
