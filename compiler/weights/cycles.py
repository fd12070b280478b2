"""Cycles and contradictions of judgements, as a graph whose edges (better, worse) join numbered answers or classes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

import numpy as np

Edge = tuple[int, int]


def judged_both_ways(edges: Iterable[Edge], ties: Collection[Edge]) -> list[Edge]:
    """The edges whose pair was judged in more than one way: in both orders, or in one order and, by ``ties``, as equal.

    Each pair once, as its first edge has it, in the order of ``edges``. An edge from a node to itself is one of them.
    """
    directed = dict.fromkeys(edges)
    found: dict[Edge, None] = {}
    for edge in directed:
        reverse = edge[::-1]
        if (reverse in directed or edge in ties or reverse in ties) and reverse not in found:
            found[edge] = None
    return list(found)


def shortest_cycles(
    edges: Iterable[Edge], *, through_first: bool = False
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(a shortest cycle of three or more nodes, all nodes ascending) of each strongly connected component that has one.

    Every node of a cycle has an edge to the next, the last to the first, which is the smallest; components come in the
    order of their smallest nodes. Pairs judged both ways are no cycle, but a longer one may pass along them.

    Args:
        edges: (better, worse), nodes numbered from 0; of equally short cycles, earlier edges decide.
        through_first: take a shortest cycle through the smallest node of the component instead, in linear time.

    Raises:
        ValueError: ``through_first`` and a pair is judged both ways, whose cycle of two would hide longer ones.
    """
    distinct = list(dict.fromkeys(edges))
    if through_first and judged_both_ways(distinct, ()):
        raise ValueError("a pair is judged both ways: set contradictions aside first")
    groups = components(distinct)
    knot = {node: number for number, group in enumerate(groups) for node in group}
    following: dict[int, list[int]] = {}
    for better, worse in distinct:
        if better != worse and knot[better] == knot[worse]:
            following.setdefault(better, []).append(worse)
    found = []
    for group in groups:
        if len(group) > 2:
            whole = len(group) + 1
            path = _path(following, group[0], group[0], whole) if through_first else _shortest(following, group)
            if path is not None:
                found.append((path[:-1] if through_first else path, group))
    return found


def components(edges: Iterable[Edge]) -> list[tuple[int, ...]]:
    """The strongly connected components of the nodes that have edges, each ascending, by their smallest nodes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    size = int(pairs.max(initial=-1)) + 1
    graph = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, labels = connected_components(graph, directed=True, connection="strong")
    found: dict[int, list[int]] = {}
    for node in np.unique(pairs).tolist():
        found.setdefault(int(labels[node]), []).append(node)
    return [tuple(group) for group in found.values()]


def _shortest(following: Mapping[int, list[int]], group: tuple[int, ...]) -> tuple[int, ...] | None:
    """A shortest cycle of three or more nodes within a component; None if all its cycles are of two.

    The way back of each edge may not be that edge's own reverse.
    """
    best: tuple[int, ...] | None = None
    for better in group:
        for worse in following[better]:
            path = _path(following, worse, better, len(best) - 1 if best else len(group))
            if path is not None:
                best = (better, *path[:-1])
            if best is not None and len(best) == 3:
                return _rotated(best)
    return None if best is None else _rotated(best)


def _path(following: Mapping[int, list[int]], start: int, goal: int, within: int) -> tuple[int, ...] | None:
    """(start, …, goal) with the fewest steps, two or more, and at most ``within`` − 1; None if there is none."""
    before: dict[int, int] = {start: start}
    queue = deque([(start, 0)])
    while queue:
        here, steps = queue.popleft()
        if steps + 1 >= within:
            return None
        for there in following[here]:
            if there == goal and here != start:
                path = [goal, here]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return tuple(reversed(path))
            if there not in before and there != goal:
                before[there] = here
                queue.append((there, steps + 1))
    return None


def _rotated(path: tuple[int, ...]) -> tuple[int, ...]:
    first = path.index(min(path))
    return path[first:] + path[:first]
