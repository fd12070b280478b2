"""Hard rules of one level under different conditions that contradict each other where both conditions hold.

Rules that are certain to be in force together are held against each other whenever a policy is compiled
(compiler/outrank.py). Here it takes a situation that nobody may have thought of, so it is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bylaw.compiler.contradiction import Contradiction, Open, contradiction
from bylaw.compiler.demands import Demand
from bylaw.compiler.outrank_messages import MOST_NAMED, conflict
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.spec.errors import Diagnostic
from bylaw.spec.logic import conjunction, reads_events

CODES: tuple[str, ...] = ()
"""P401 is found without this analysis, too."""


def find(view: PolicyView) -> Iterator[Finding]:
    """P401 for pairs that can meet; and how many rules proofs do not speak of."""
    hard = [Demand.of(term) for term in view.program.terms if term.kind == "hard"]
    alive = [demand for demand in hard if not demand.is_dead]
    by_level: dict[str, list[Demand]] = {}
    for demand in alive:
        if demand.reads_only_the_answer:
            by_level.setdefault(demand.term.level, []).append(demand)
    for members in by_level.values():
        yield from _find_in(view, members)
    left_out = [each for each in alive if not each.reads_only_the_answer and not reads_events(each.obeyed)]
    if left_out and len(alive) > 1:
        names = " and ".join(f"`{each.term.id}`" for each in left_out[:MOST_NAMED])
        yield Undecided(
            f"whether {names} can be obeyed with other rules", "depends on more than the answer", len(left_out)
        )


def _find_in(view: PolicyView, members: Sequence[Demand]) -> Iterator[Finding]:
    for number, first in enumerate(members):
        found: list[Diagnostic] = []
        for second in members[number + 1 :]:
            if view.witnesses.are_known_together(first.key, second.key) or not first.may_meet(second):
                continue
            if first.is_in_force_with(second) or second.is_in_force_with(first):
                continue
            if view.is_late:
                yield Undecided(f"whether `{first.term.id}` clashes with others where both apply", "cap on time")
                return
            for each in _where(view, first, second):
                if isinstance(each, Undecided):
                    yield each
                else:
                    found.append(each)
        if found:
            more = f"so it is with {len(found) - 1} more rule{'s' if len(found) > 2 else ''}"
            yield found[0] if len(found) == 1 else replace(found[0], notes=(*found[0].notes, more))


def _where(view: PolicyView, first: Demand, second: Demand) -> Iterator[Finding]:
    """The finding, where the rules contradict each other and some situation meets both conditions."""
    from bylaw.compiler.proofs._conditions import shown
    from bylaw.compiler.satisfy import NotDecided, situation_meeting

    found = contradiction([first, second], view.witnesses)
    names = f"`{first.term.id}` and `{second.term.id}`"
    if isinstance(found, Open):
        yield Undecided(f"whether {names} clash where both apply", "; ".join(found.why))
    if not isinstance(found, Contradiction) or len(found.members) < 2:
        return
    try:
        situation = situation_meeting(conjunction((*first.context, *second.context)))
    except NotDecided as error:
        yield Undecided(f"whether {names} are ever in force together", error.reason)
        return
    if situation is not None:
        yield conflict([first, second], found.proof, view.witnesses, situation=f"where {shown(situation)}")
