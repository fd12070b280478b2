"""Judgements that do not go together, and those that no weights of a policy can express.

Contradictions and circles are found among the answers themselves, prompt by prompt: they are there whatever the rules.
What the rules cannot express shows in the features: answers that look the same to every rule, and answers chosen
although every rule that tells the two apart speaks for the other one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.compiler.weights.conflicts import conflicts
from bylaw.compiler.weights.cycles import judged_both_ways, shortest_cycles
from bylaw.runtime.judgements.comparisons import Comparisons
from bylaw.runtime.judgements.features import Posed
from bylaw.runtime.judgements.record import Conflict
from bylaw.spec.expression import BooleanFact, Fact, NumberFact
from bylaw.spec.logic import walk

MOST_ORDERINGS = 20_000
"""Distinct orderings of feature vectors; among more, sets that cannot be expressed together are not looked for."""
_Places = dict[tuple[int, int], list[tuple[str, float]]]
"""Judgements by (better, worse): where each stands, and its weight."""


def conflicts_of(program: RewardProgram, comparisons: Comparisons, posed: Posed) -> tuple[Conflict, ...]:
    """All conflicts: contradictions, circles, then what cannot be expressed, in the order of the judgements."""
    return (*disagreements(comparisons, _facts_read(program)), *inexpressible(posed), *inexpressible_together(posed))


def disagreements(comparisons: Comparisons, facts: Collection[str] = ()) -> tuple[Conflict, ...]:
    """Pairs of answers that are judged both ways (or as equal and as not), and shortest circles of better and worse.

    Two answers are the same when their conversations are, and these facts of theirs.
    """
    numbers: dict[Hashable, int] = {}
    nodes = [
        numbers.setdefault((trace.messages, tuple(trace.facts.get(name) for name in facts)), len(numbers))
        for trace in comparisons.answers
    ]
    ahead: _Places = {}
    ties: _Places = {}
    for pair in comparisons.pairs:
        key = nodes[pair.better], nodes[pair.worse]
        found = ties if pair.tie else ahead
        found.setdefault((min(key), max(key)) if pair.tie else key, []).append((pair.place, pair.weight))
    made: list[Conflict] = []
    both = judged_both_ways(ahead, ties)
    for edge in both:
        against = ahead.get(edge[::-1], []) if edge[0] != edge[1] else []
        made.append(_conflict("contradiction", [*ahead[edge], *against, *ties.get((min(edge), max(edge)), [])]))
    contradicted = {way for edge in both for way in (edge, edge[::-1])}
    rest = [edge for edge in ahead if edge not in contradicted]
    for circle, _ in shortest_cycles(rest, through_first=True):
        steps = zip(circle, (*circle[1:], circle[0]), strict=True)
        made.append(_conflict("cycle", [place for step in steps for place in ahead[step]]))
    return tuple(made)


def _facts_read(program: RewardProgram) -> tuple[str, ...]:
    """The facts that the rules ask for."""
    said = (part for term in program.terms for part in (term.condition, term.holds, term.value) if part is not None)
    parts = (part for each in said for part in walk(each))
    return tuple(sorted({part.path for part in parts if isinstance(part, (Fact, NumberFact, BooleanFact))}))


def _conflict(kind: str, places: list[tuple[str, float]], rules: tuple[str, ...] = ()) -> Conflict:
    return Conflict(kind, tuple(dict.fromkeys(place for place, _ in places)), rules, sum(w for _, w in places))


def inexpressible(posed: Posed) -> tuple[Conflict, ...]:
    """Judgements that no weights from 0 on can get right, put together where the rules see the same."""
    problem = posed.problem
    if problem is None:
        return ()
    different = problem.differences != 0.0
    wrong = ~problem.tie & (problem.differences <= 0.0).all(axis=1)
    grouped: dict[tuple[str, tuple[str, ...]], list[tuple[str, float]]] = {}
    for row in np.flatnonzero(wrong).tolist():
        rules = tuple(problem.names[column] for column in np.flatnonzero(different[row]).tolist())
        kind = "opposed" if rules else "equal"
        grouped.setdefault((kind, rules), []).append((posed.places[row], float(problem.count[row])))
    return tuple(_conflict(kind, places, rules) for (kind, rules), places in grouped.items())


def inexpressible_together(posed: Posed) -> tuple[Conflict, ...]:
    """Judgements of which each alone is expressible, but not all of them.

    Answers that look the same to every rule are judged both ways or in a circle (`mixed`); or their order asks for
    weights that do not exist (`together`): each of these sets is minimal.
    """
    problem = posed.problem
    if problem is None or problem.better is None or problem.worse is None:
        return ()
    strict = np.flatnonzero(~problem.tie)
    by_kinds: dict[tuple[int, int], list[int]] = {}
    for row in strict.tolist():
        by_kinds.setdefault((int(problem.better[row]), int(problem.worse[row])), []).append(row)
    if len(by_kinds) > MOST_ORDERINGS:
        return ()
    found = conflicts(problem)

    def made(kind: str, rows: list[int]) -> Conflict:
        changed = (problem.differences[rows] != 0.0).any(axis=0)
        rules = tuple(name for name, is_changed in zip(problem.names, changed.tolist(), strict=True) if is_changed)
        return _conflict(kind, [(posed.places[row], float(problem.count[row])) for row in sorted(rows)], rules)

    mixed = [
        made("mixed", [*by_kinds[each.first, each.second], *by_kinds[each.second, each.first]])
        for each in found.contradictions
        if each.first_better and each.second_better
    ]
    for cycle in found.cycles:
        steps = zip(cycle.path, (*cycle.path[1:], cycle.path[0]), strict=True)
        mixed.append(made("mixed", [row for step in steps for row in by_kinds[step]]))
    together = []
    for each in found.inexpressible:
        if len(each.pairs) > 1:
            wanted = [problem.differences[by_kinds[pair][0]] for pair in each.pairs]
            same = [(problem.differences[strict] == difference).all(axis=1) for difference in wanted]
            together.append(made("together", strict[np.any(same, axis=0)].tolist()))
    return (*mixed, *together)
