"""Hard rules of one level under different conditions that contradict each other where both conditions hold.

Rules that are certain to be in force together are held against each other whenever a policy is compiled
(compiler/outrank.py). Here it takes a situation that nobody may have thought of, so it is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bylaw.compiler.contradiction import Contradiction, contradiction
from bylaw.compiler.demands import Demand
from bylaw.compiler.outrank_messages import conflict
from bylaw.compiler.proofs._conditions import shown
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.spec.logic import conjunction

CODES: tuple[str, ...] = ()
"""P401 is found without this analysis, too."""


def find(view: PolicyView) -> Iterator[Finding]:
    """P401 for pairs that can meet."""
    hard = [Demand.of(term) for term in view.program.terms if term.kind == "hard"]
    by_level: dict[str, list[Demand]] = {}
    for demand in hard:
        if demand.reads_only_the_answer and not demand.is_dead:
            by_level.setdefault(demand.term.level, []).append(demand)
    for members in by_level.values():
        yield from _find_in(view, members)


def _find_in(view: PolicyView, members: Sequence[Demand]) -> Iterator[Finding]:
    for number, first in enumerate(members):
        for second in members[number + 1 :]:
            if view.witnesses.are_known_together(first.key, second.key) or not first.may_meet(second):
                continue
            if first.is_in_force_with(second) or second.is_in_force_with(first):
                continue
            found = contradiction([first, second], view.witnesses)
            if isinstance(found, Contradiction) and len(found.members) == 2:
                yield from _where(view, first, second, found.proof)


def _where(view: PolicyView, first: Demand, second: Demand, proof: str) -> Iterator[Finding]:
    """The finding, where some situation meets both conditions."""
    from bylaw.compiler.satisfy import NotDecided, situation_meeting

    try:
        situation = situation_meeting(conjunction((*first.context, *second.context)))
    except NotDecided as error:
        yield Undecided(f"whether `{first.term.id}` and `{second.term.id}` are ever in force together", error.reason)
        return
    if situation is not None:
        yield conflict([first, second], proof, view.witnesses, situation=f"where {shown(situation)}")
