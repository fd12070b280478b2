"""Hopcroft's partition refinement, shared by automata that accept and automata that carry values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from heapq import heappop, heappush

Table = tuple[tuple[int, ...], ...]
"""Transitions of a complete automaton: `table[state][class]` is the next state."""


class StateLimit(Exception):
    """A construction would need more states than its cap: the question is not analysable, which is no answer to it."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"not analysable: more than {limit:,} states")
        self.limit = limit


DEFAULT_LIMIT = 20_000


def reachable(delta: Table, start: int) -> list[int]:
    """The states that can be reached from `start`, in breadth-first order."""
    order, seen = [start], {start}
    for state in order:
        for target in delta[state]:
            if target not in seen:
                seen.add(target)
                order.append(target)
    return order


def distances(delta: Table, goals: Sequence[bool]) -> list[int | None]:
    """For each state, the fewest characters that lead to a goal state; None where no goal can be reached."""
    sources: list[set[int]] = [set() for _ in delta]
    for state, row in enumerate(delta):
        for target in row:
            sources[target].add(state)
    found: list[int | None] = [0 if goal else None for goal in goals]
    order = [state for state, goal in enumerate(goals) if goal]
    for state in order:
        beyond = (found[state] or 0) + 1
        for source in sources[state]:
            if found[source] is None:
                found[source] = beyond
                order.append(source)
    return found


def cheapest(delta: Table, goals: Sequence[bool], costs: Sequence[int | None]) -> list[int | None]:
    """For each state, what it costs to reach a goal, with `costs[class]` for a character; None where none is reached.

    Characters without a cost are not used. Dijkstra's algorithm over the moves turned round.
    """
    priced = sorted(((cost, label) for label, cost in enumerate(costs) if cost is not None), reverse=True)
    falling = [cost for cost, _ in priced]
    sources: list[list[tuple[int, int]]] = [[] for _ in delta]
    for state, row in enumerate(delta):
        # The last entry for a target is the cheapest way to it.
        for target, cost in dict(zip([row[label] for _, label in priced], falling, strict=True)).items():
            sources[target].append((state, cost))
    found: list[int | None] = [None] * len(delta)
    waiting = [(0, state) for state, goal in enumerate(goals) if goal]
    while waiting:
        spent, state = heappop(waiting)
        if found[state] is None:
            found[state] = spent
            for source, cost in sources[state]:
                if found[source] is None:
                    heappush(waiting, (spent + cost, source))
    return found


def coarsest(delta: Table, labels: Sequence[Hashable]) -> list[int]:
    """The block of each state in the coarsest partition that respects `labels` and that `delta` maps into itself.

    Hopcroft's algorithm, O(states * classes * log states); equal columns of `delta` are read once.
    """
    incoming = _incoming(delta)
    by_label: dict[Hashable, set[int]] = {}
    for state, label in enumerate(labels):
        by_label.setdefault(label, set()).add(state)
    blocks = list(by_label.values())
    block_of = [0] * len(delta)
    for number, block in enumerate(blocks):
        for state in block:
            block_of[state] = number
    largest = max(range(len(blocks)), key=lambda number: len(blocks[number]))
    pending = [number for number in range(len(blocks)) if number != largest]
    waiting = set(pending)
    while pending:
        number = pending.pop()
        waiting.discard(number)
        for sources in _sources(incoming, blocks[number]):
            for split in _split(blocks, block_of, sources):
                if split not in waiting:
                    waiting.add(split)
                    pending.append(split)
    return block_of


def _incoming(delta: Table) -> list[dict[int, list[int]]]:
    """For each state, and each distinct column of `delta` by number, the states that step into it."""
    incoming: list[dict[int, list[int]]] = [{} for _ in delta]
    for number, column in enumerate(dict.fromkeys(zip(*delta, strict=True))):
        for state, target in enumerate(column):
            known = incoming[target]
            if number in known:
                known[number].append(state)
            else:
                known[number] = [state]
    return incoming


def _sources(incoming: list[dict[int, list[int]]], splitter: set[int]) -> list[list[int]]:
    """For each column, the states that step into the splitter, where there are any."""
    if len(splitter) == 1:
        return list(incoming[next(iter(splitter))].values())
    found: dict[int, list[int]] = {}
    for target in splitter:
        for number, sources in incoming[target].items():
            found.setdefault(number, []).extend(sources)
    return list(found.values())


def _split(blocks: list[set[int]], block_of: list[int], sources: list[int]) -> list[int]:
    """Splits every block by whether its states are among `sources`; returns the numbers of the new, smaller halves."""
    touched: dict[int, set[int]] = {}
    for state in sources:
        number = block_of[state]
        if number in touched:
            touched[number].add(state)
        elif len(blocks[number]) > 1:
            touched[number] = {state}
    added = []
    for number, members in touched.items():
        if len(members) == len(blocks[number]):
            continue
        blocks[number] -= members
        if len(members) > len(blocks[number]):
            blocks[number], members = members, blocks[number]
        for state in members:
            block_of[state] = len(blocks)
        added.append(len(blocks))
        blocks.append(members)
    return added


def quotient_order(delta: Table, start: int, block_of: Sequence[int]) -> tuple[list[int], list[int]]:
    """(a state to stand for each block, new number of each state), with blocks numbered breadth-first from `start`.

    The numbering depends on the quotient automaton alone, so equal automata get equal tables.
    """
    numbers = {block_of[start]: 0}
    standing = [start]
    for state in standing:
        for target in delta[state]:
            if block_of[target] not in numbers:
                numbers[block_of[target]] = len(standing)
                standing.append(target)
    return standing, [numbers.get(block, -1) for block in block_of]
