"""How each two sentences of a policy stand to each other, before stronger rules beat weaker ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bylaw.compiler.contradiction import Contradiction, Open, contradiction
from bylaw.compiler.defeat import settle
from bylaw.compiler.demands import Demand
from bylaw.compiler.lower import lower
from bylaw.compiler.outrank_messages import shortest
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs._conditions import shown
from bylaw.compiler.satisfy import NotDecided, can_meet, situation_meeting
from bylaw.compiler.witnesses import Witnesses
from bylaw.spec.logic import conjunction
from bylaw.spec.regulator import RegulatorSet

Relation = Literal["apart", "contradict", "same", "implies", "implied", "free", "open"]
"""`apart`: never in force together. `contradict`: no text obeys both. `same`: each implies the other. `implies`:
whatever obeys the first obeys the second, and `implied` the other way round. `free`: none of these. `open`: not
decided."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences, by their ids in the order of the file.

    `winner` is the one at the stronger level where they contradict each other, and `where` a situation in which both
    apply, if they do not always. `witness` is a text that obeys both,
    where there is one; `proof` and `why` say what proves the relation, or why it was not decided.
    """

    first: str
    second: str
    relation: Relation
    winner: str | None = None
    witness: str | None = None
    proof: str | None = None
    why: str | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """(id, level) of the sentences that proofs about answers speak of, the ids of the others, and all pairs."""

    sentences: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    pairs: tuple[Pair, ...]


def sentences_of(policy: RegulatorSet) -> tuple[tuple[Demand, ...], tuple[RewardTerm, ...]]:
    """(what the hard and soft sentences demand of an answer, those that depend on more than the answer)."""
    program = lower(policy, settle(policy))
    demands = [Demand.of(term) for term in program.terms if term.kind in ("hard", "soft")]
    about_answers = tuple(each for each in demands if each.reads_only_the_answer and _is_ever_in_force(each))
    return about_answers, tuple(each.term for each in demands if not each.reads_only_the_answer)


def _is_ever_in_force(demand: Demand) -> bool:
    return not demand.is_dead and (not demand.context or can_meet(conjunction(demand.context), None) is not False)


def matrix(
    policy: RegulatorSet, witnesses: Witnesses, chosen: Sequence[str] = (), is_shown: bool = True
) -> Iterator[Pair | Matrix]:
    """Each pair as it is decided, then the whole matrix. `chosen` rules only, each with all others, where given.

    With `is_shown`, shortest texts are looked for; otherwise any.
    """
    demands, others = sentences_of(policy)
    rank = {level: place for place, level in enumerate(policy.levels)}
    pairs = []
    for number, first in enumerate(demands):
        for second in demands[number + 1 :]:
            if chosen and not {first.term.rule, second.term.rule} & set(chosen):
                continue
            pair = _pair(first, second, rank, witnesses, is_shown)
            pairs.append(pair)
            yield pair
    names = tuple((each.term.id, each.term.level) for each in demands)
    yield Matrix(names, tuple(term.id for term in others), tuple(pairs))


def _where(first: Demand, second: Demand) -> str | None:
    """A situation in which both are in force; empty where one always is with the other, None where there is none."""
    if first.is_in_force_with(second) or second.is_in_force_with(first):
        return ""
    try:
        situation = situation_meeting(conjunction((*first.context, *second.context)))
    except NotDecided:
        return "both conditions hold, if they ever do"
    return None if situation is None else shown(situation)


def _pair(first: Demand, second: Demand, rank: dict[str, int], witnesses: Witnesses, is_shown: bool) -> Pair:
    names = (first.term.id, second.term.id)
    if not first.may_meet(second):
        return Pair(*names, "apart", proof="their conditions exclude each other")
    together = contradiction([first, second], witnesses)
    if isinstance(together, Open):
        return Pair(*names, "open", why="; ".join(together.why))
    if isinstance(together, Contradiction):
        where = _where(first, second)
        if where is None:
            return Pair(*names, "apart", proof="their conditions exclude each other")
        difference = rank[first.term.level] - rank[second.term.level]
        winner = None if difference == 0 else names[0] if difference < 0 else names[1]
        return Pair(*names, "contradict", winner, proof=together.proof, where=where or None)
    text = shortest([first, second], witnesses) if is_shown else None
    if text is None:
        text = witnesses.known_to_obey([first.key, second.key])
    forward = contradiction([first, second.broken()], witnesses)
    backward = contradiction([second, first.broken()], witnesses)
    proofs = [each.proof for each in (forward, backward) if isinstance(each, Contradiction)]
    if len(proofs) == 2:
        return Pair(*names, "same", witness=text, proof=proofs[0])
    if proofs:
        relation: Relation = "implies" if isinstance(forward, Contradiction) else "implied"
        return Pair(*names, relation, witness=text, proof=proofs[0])
    open_ = [reason for each in (forward, backward) if isinstance(each, Open) for reason in each.why]
    if open_:
        return Pair(*names, "free", witness=text, why=f"whether one implies the other: {open_[0]}")
    return Pair(*names, "free", witness=text)
