"""What judgements contradict, among themselves and against what weights of these features can say.

Three layers, each found after the one before is set aside, so that nothing is reported twice:

1. A pair judged in both orders, or both as equal and as different; responses judged different whose features are equal.
2. Cycles A over B over C over A: strongly connected components of the strict judgements between feature classes.
3. Orderings that are consistent in themselves but that no weights can express. By Gordan's theorem either some w in the
   allowed cone has d·w > 0 for all pairs, or some λ ≥ 0, λ ≠ 0 has Σ λ d in the polar cone (≤ 0 for weights ≥ 0). A
   vertex of the polyhedron of such λ has a small support (Gleeson and Ryan 1990), which deletion makes minimal.

Judged ties take part in the first layer only: with a margin a tie is a band, which scores may differ within.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.weights.constraints import constrain
from bylaw.compiler.weights.cycles import components, judged_both_ways, shortest_cycles
from bylaw.compiler.weights.problem import BoolArray, FloatArray, IntArray, PairProblem, distinct_rows

_SUPPORT = 1e-9
_PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True)
class Contradiction:
    """Two feature classes (rows of ``classes``) that were judged in more than one way; first < second.

    first == second: responses with the same features that were judged different (counted once, as ``first_better``).
    """

    first: int
    second: int
    first_better: float
    second_better: float
    equal: float


@dataclass(frozen=True)
class Cycle:
    """A strongly connected component of the strict judgements with a cycle of three or more classes.

    Attributes:
        path: a shortest such cycle: every class was judged better than the next, the last better than the first.
        counts: how many judgements each step of the path has.
        members: all classes of the component, ascending; breaking the path may leave other cycles among them.
    """

    path: tuple[int, ...]
    counts: tuple[float, ...]
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Inexpressible:
    """A minimal set of orderings that no allowed weights give: without any one of them, some weights give the others.

    Attributes:
        pairs: (better class, worse class) of each ordering; multipliers: λ > 0 of each, summing to 1.
        counts: how many judgements each has.
        combination: [K] Σ λ·difference: no allowed weights make it positive (≤ 0 everywhere for weights ≥ 0).
    """

    pairs: tuple[tuple[int, int], ...]
    multipliers: tuple[float, ...]
    counts: tuple[float, ...]
    combination: FloatArray


@dataclass(frozen=True, eq=False)
class Conflicts:
    """All that was found. Indices are rows of the problem's ``classes``.

    Attributes:
        contradictions: ascending. cycles: one a component, the shortest first.
        inexpressible: sets without a common ordering; there may be more that share orderings with these.
        judgements: how many judgements there are.
    """

    contradictions: tuple[Contradiction, ...]
    cycles: tuple[Cycle, ...]
    inexpressible: tuple[Inexpressible, ...]
    judgements: float

    @property
    def nothing(self) -> bool:
        """Whether nothing was found: some allowed weights then put every strict judgement in its order."""
        return not (self.contradictions or self.cycles or self.inexpressible)


def conflicts(problem: PairProblem, *, nonnegative: bool = True, monotone: Sequence[tuple[int, int]] = ()) -> Conflicts:
    """Contradictions, cycles and minimal inexpressible sets of the judgements.

    Args:
        nonnegative: whether weights are ≥ 0 (as of soft rules), otherwise of any sign.
        monotone: (i, j): weight i ≥ weight j.

    Raises:
        ValueError: the problem does not know its feature classes, or monotone names no weight.
        RuntimeError: a linear programme was not decided.
    """
    if problem.classes is None or problem.better is None or problem.worse is None:
        raise ValueError(
            "classes of the problem are not known: build it with pairs_from_features or pairs_from_order, since "
            "contradictions and cycles are about feature vectors, not differences"
        )
    strict = ~problem.tie
    edges = _edges(problem.better[strict], problem.worse[strict], problem.count[strict])
    ties = _edges(problem.better[problem.tie], problem.worse[problem.tie], problem.count[problem.tie])
    knot = {node: number for number, nodes in enumerate(components(edges)) for node in nodes}
    consistent = {pair: count for pair, count in edges.items() if knot[pair[0]] != knot[pair[1]]}
    cone = _cone(problem.names, nonnegative, monotone)
    return Conflicts(
        contradictions=_contradictions(edges, ties),
        cycles=_cycles(edges),
        inexpressible=_inexpressible(consistent, problem.classes, cone),
        judgements=problem.judgements,
    )


_Edges = dict[tuple[int, int], float]


def _edges(better: IntArray, worse: IntArray, count: FloatArray) -> _Edges:
    """Judgements by (better, worse) class, ascending."""
    result: _Edges = {}
    for pair, number in sorted(zip(zip(better.tolist(), worse.tolist(), strict=True), count.tolist(), strict=True)):
        result[pair] = result.get(pair, 0.0) + number
    return result


def _contradictions(edges: _Edges, ties: _Edges) -> tuple[Contradiction, ...]:
    found = []
    for first, second in sorted((min(edge), max(edge)) for edge in judged_both_ways(edges, ties)):
        backward = edges.get((second, first), 0.0) if first != second else 0.0
        equal = sum(ties.get(pair, 0.0) for pair in {(first, second), (second, first)})
        found.append(Contradiction(first, second, edges.get((first, second), 0.0), backward, equal))
    return tuple(found)


def _cycles(edges: _Edges) -> tuple[Cycle, ...]:
    found = []
    for path, members in shortest_cycles(edges):
        steps = zip(path, path[1:] + path[:1], strict=True)
        found.append(Cycle(path, tuple(edges[pair] for pair in steps), members))
    return tuple(sorted(found, key=lambda cycle: (len(cycle.path), cycle.path)))


def _cone(names: tuple[str, ...], nonnegative: bool, monotone: Sequence[tuple[int, int]]) -> FloatArray:
    """[J, K] rows g with g·w ≥ 0 for allowed weights."""
    constrain(names, reference=None, lower=-np.inf, upper=np.inf, monotone=monotone)
    unit = np.eye(len(names))
    order = [unit[over] - unit[under] for over, under in monotone if over != under]
    return np.vstack([unit if nonnegative else unit[:0], np.array(order).reshape(-1, len(names))])


def _inexpressible(edges: _Edges, classes: FloatArray, cone: FloatArray) -> tuple[Inexpressible, ...]:
    """Disjoint minimal sets until the remaining orderings can all be given."""
    if not edges:
        return ()
    pairs = np.array(list(edges), dtype=np.int64)
    differences = classes[pairs[:, 0]] - classes[pairs[:, 1]]
    first, kind = distinct_rows(differences)
    left = np.ones(first.size, dtype=bool)
    found = []
    while left.any():
        multipliers = _farkas(differences[first], left, cone)
        if multipliers is None:
            break
        multipliers = _minimal(differences[first], multipliers, cone)
        used = np.flatnonzero(multipliers)
        left[used] = False
        chosen = [tuple(pairs[first[index]].tolist()) for index in used]
        share = multipliers[used] / multipliers[used].sum()
        found.append(
            Inexpressible(
                pairs=tuple((int(better), int(worse)) for better, worse in chosen),
                multipliers=tuple(share.tolist()),
                counts=tuple(
                    sum(number for number, same in zip(edges.values(), kind == index, strict=True) if same)
                    for index in used
                ),
                combination=share @ differences[first[used]],
            )
        )
    return tuple(found)


def _minimal(differences: FloatArray, multipliers: FloatArray, cone: FloatArray) -> FloatArray:
    """Multipliers of a set from which none can be left out.

    A vertex is minimal in orderings and sides of the cone together; dropping orderings one by one makes it so in
    orderings alone.
    """
    kept = multipliers
    for index in np.flatnonzero(multipliers):
        if kept[index] == 0.0:
            continue
        rest = kept > 0.0
        rest[index] = False
        smaller = _farkas(differences, rest, cone) if rest.any() else None
        kept = kept if smaller is None else smaller
    return kept


def _farkas(differences: FloatArray, left: BoolArray, cone: FloatArray) -> FloatArray | None:
    """[U] λ ≥ 0 with Σ λ = 1 and Dᵀλ + Gᵀν = 0, ν ≥ 0, at a vertex; None when weights exist for all of ``left``."""
    from scipy.optimize import linprog

    active = np.flatnonzero(left)
    scale = np.abs(differences[active]).max(axis=1)
    scaled = differences[active] / np.where(scale > 0.0, scale, 1.0)[:, None]
    equations = np.hstack([scaled.T, cone.T])
    whole = np.concatenate([np.ones(active.size), np.zeros(cone.shape[0])])
    result = linprog(
        np.zeros(whole.size),
        A_eq=np.vstack([equations, whole]),
        b_eq=np.concatenate([np.zeros(differences.shape[1]), [1.0]]),
        bounds=(0.0, None),
        method="highs-ds",
        options=_PRECISE,
    )
    if result.status == 2:
        return None
    if result.status != 0:
        raise RuntimeError(f"whether weights can express the orderings was not decided: {result.message}")
    multipliers = np.zeros(left.size)
    multipliers[active] = np.asarray(result.x[: active.size]) / np.where(scale > 0.0, scale, 1.0)
    multipliers[multipliers <= _SUPPORT * multipliers.max()] = 0.0
    normalised: FloatArray = multipliers / multipliers.sum()
    return normalised
