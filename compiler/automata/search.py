"""Best-first search for a text that several automata accept, over combinations of their states made when met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from operator import itemgetter

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.readable import Joint

States = tuple[int, ...]
Priority = Callable[[int, States], tuple[int, ...]]
"""From the cost of what has been read, and the least cost of what each automaton still needs, to a sort key."""


class Rows:
    """The next states of several automata for all joint classes, looked up once for each of their states."""

    def __init__(self, dfas: Sequence[Dfa], maps: Sequence[tuple[int, ...]]) -> None:
        self._tables = [dfa.delta for dfa in dfas]
        self._pick = [_picker(labels) for labels in maps]
        self._known: list[dict[int, States]] = [{} for _ in dfas]

    def after(self, states: States) -> list[States]:
        """The combinations of states after one more character, for each joint class."""
        rows = []
        for table, pick, known, state in zip(self._tables, self._pick, self._known, states, strict=True):
            row = known.get(state)
            if row is None:
                row = known[state] = pick(table[state])
            rows.append(row)
        return list(zip(*rows, strict=True))


def _picker(labels: tuple[int, ...]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    return itemgetter(*labels) if len(labels) > 1 else lambda row: (row[labels[0]],)


def rows_of(dfas: Sequence[Dfa]) -> tuple[Alphabet, Rows]:
    """(the joint alphabet, the next states over it)."""
    joint, maps = Alphabet.join([dfa.alphabet for dfa in dfas])
    return joint, Rows(dfas, maps)


def find_text(dfas: Sequence[Dfa], joint: Joint, limit: int, priority: Priority) -> str | None:
    """The text at the end of the first path to acceptance, in the order of `priority`; None where there is none.

    It has no other characters than those of `joint`. Raises StateLimit when it has met more than `limit` combinations
    of states.
    """
    start = tuple(dfa.start for dfa in dfas)
    lefts = [dfa.left(costs) for dfa, costs in zip(dfas, joint.least, strict=True)]
    if any(lowest[state] is None for lowest, state in zip(lefts, start, strict=True)):
        return None
    rows = Rows(dfas, joint.maps)
    before: dict[States, tuple[States, int] | None] = {start: None}
    spent = {start: 0}
    closed: set[States] = set()
    waiting: list[tuple[tuple[int, ...], int, States]] = [((), 0, start)]
    pushed = 0
    while waiting:
        _, _, states = heappop(waiting)
        if states in closed:
            continue
        closed.add(states)
        if all(dfa.accept[state] for dfa, state in zip(dfas, states, strict=True)):
            return _spelled(dfas, rows, joint, before, states)
        successors = rows.after(states)
        for target in dict.fromkeys(successors):
            label = successors.index(target)
            cost = spent[states] + joint.costs[label]
            if target in closed or spent.get(target, cost + 1) <= cost:
                continue
            left = [lowest[state] for lowest, state in zip(lefts, target, strict=True)]
            if None in left:
                continue
            spent[target] = cost
            before[target] = states, label
            pushed += 1
            heappush(waiting, (priority(cost, tuple(left)), pushed, target))  # type: ignore[arg-type]
            if len(spent) > limit:
                raise StateLimit(limit)
    return None


def _spelled(
    dfas: Sequence[Dfa], rows: Rows, joint: Joint, before: dict[States, tuple[States, int] | None], states: States
) -> str:
    """The text that leads to these states, and not from or to a space where another character does as well."""
    chars: list[str] = []
    step = before[states]
    while step is not None:
        successors = rows.after(step[0])
        if not chars:  # the last character may lead to acceptance in other states
            possible = [all(dfa.accept[s] for dfa, s in zip(dfas, target, strict=True)) for target in successors]
            chars.append(_solid(joint, step[1], possible))
        elif before[step[0]] is None:
            chars.append(_solid(joint, step[1], [target == successors[step[1]] for target in successors]))
        else:
            chars.append(joint.chars[step[1]])
        step = before[step[0]]
    return "".join(reversed(chars))


def _solid(joint: Joint, chosen: int, possible: Sequence[bool]) -> str:
    """The character of the first possible class with one that costs no more than the chosen one and is no space."""
    for label, char in enumerate(joint.ends):
        if possible[label] and not char.isspace() and joint.costs[label] <= joint.costs[chosen]:
            return char
    return joint.chars[chosen]
