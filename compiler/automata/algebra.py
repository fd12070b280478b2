"""Boolean algebra of automata, explored lazily, and the questions the analyses ask: witnesses, inclusion, conflicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import explore
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import DEFAULT_LIMIT, StateLimit

States = tuple[int, ...]


def common(dfas: Sequence[Dfa]) -> tuple[Dfa, ...]:
    """The automata over their joint alphabet."""
    if not dfas:
        return ()
    joint, _ = Alphabet.join([dfa.alphabet for dfa in dfas])
    return tuple(dfa.over(joint) for dfa in dfas)


def product(dfas: Sequence[Dfa], accept: Callable[[tuple[bool, ...]], bool], limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton whose verdict is `accept` of the verdicts of all `dfas`.

    Only reachable combinations of states are built. Raises StateLimit past `limit` of them, ValueError for no automata.
    """
    aligned = _aligned(dfas)

    def step(states: States, label: int) -> States:
        return tuple(dfa.delta[state][label] for dfa, state in zip(aligned, states, strict=True))

    order, delta = explore(tuple(dfa.start for dfa in aligned), step, aligned[0].alphabet.size, limit)
    verdicts = (
        accept(tuple(dfa.accept[state] for dfa, state in zip(aligned, states, strict=True))) for states in order
    )
    return Dfa(aligned[0].alphabet, delta, 0, tuple(verdicts)).minimise()


def _aligned(dfas: Sequence[Dfa]) -> tuple[Dfa, ...]:
    if not dfas:
        raise ValueError("a combination needs at least one automaton")
    return common(dfas)


def intersect(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that all accept.

    Raises StateLimit past `limit` states, ValueError for no automata.
    """
    aligned = _aligned(dfas)

    def hopeful(states: States) -> States | None:
        hopeless = any(dfa.distance[state] is None for dfa, state in zip(aligned, states, strict=True))
        return None if hopeless else states

    def step(states: States | None, label: int) -> States | None:
        if states is None:
            return None
        return hopeful(tuple(dfa.delta[state][label] for dfa, state in zip(aligned, states, strict=True)))

    order, delta = explore(hopeful(tuple(dfa.start for dfa in aligned)), step, aligned[0].alphabet.size, limit)
    accept = tuple(
        states is not None and all(dfa.accept[state] for dfa, state in zip(aligned, states, strict=True))
        for states in order
    )
    return Dfa(aligned[0].alphabet, delta, 0, accept).minimise()


def union(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that any accepts.

    Raises StateLimit past `limit` states, ValueError for no automata.
    """
    return intersect([dfa.complement() for dfa in dfas], limit).complement()


def difference(dfa: Dfa, other: Dfa, limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that `dfa` accepts and `other` does not. Raises StateLimit past `limit`."""
    return intersect([dfa, other.complement()], limit)


def shortest_witness(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> str | None:
    """A shortest text, in characters, that all automata accept, of readable characters where there is a choice.

    None means that there is none: that is a proof. The search is best-first, with the largest of the automata's own
    distances to acceptance as its bound, so a rule that asks for many words does not make it look at everything
    shorter. Raises StateLimit when it has met more than `limit` combinations of states.
    """
    return _search(dfas, limit, lambda length, distances: (length + max(distances), -length))


def any_witness(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> str | None:
    """A text that all automata accept, not always a shortest one; None is a proof that there is none.

    Goes for the combination that looks nearest to acceptance, so it finds texts for large sets of rules where
    `shortest_witness` gives up. Raises StateLimit when it has met more than `limit` combinations of states.
    """
    return _search(dfas, limit, lambda length, distances: (sum(distances), length))


def _search(dfas: Sequence[Dfa], limit: int, priority: Callable[[int, tuple[int, ...]], tuple[int, int]]) -> str | None:
    """Searches the combinations of states in the order of `priority(characters read, distances to acceptance)`."""
    if not dfas:
        return ""
    aligned = common(dfas)
    chars = aligned[0].alphabet.representatives
    readable = sorted(range(len(chars)), key=lambda label: _readability(chars[label]))
    rows = [[tuple(row[label] for label in readable) for row in dfa.delta] for dfa in aligned]
    start = tuple(dfa.start for dfa in aligned)
    before: dict[States, tuple[States, str] | None] = {start: None}
    depth = {start: 0}
    closed: set[States] = set()
    distances = _distances(aligned, start)
    waiting = [] if distances is None else [(priority(0, distances), 0, start)]
    pushed = 0
    while waiting:
        _, _, states = heappop(waiting)
        if states in closed:
            continue
        closed.add(states)
        if all(dfa.accept[state] for dfa, state in zip(aligned, states, strict=True)):
            return _spell(before, states)
        length = depth[states] + 1
        successors = list(zip(*(table[state] for table, state in zip(rows, states, strict=True)), strict=True))
        for target in dict.fromkeys(successors):
            if target in closed or depth.get(target, length + 1) <= length:
                continue
            distances = _distances(aligned, target)
            if distances is None:
                continue
            depth[target] = length
            before[target] = states, chars[readable[successors.index(target)]]
            pushed += 1
            heappush(waiting, (priority(length, distances), pushed, target))
            if len(depth) > limit:
                raise StateLimit(limit)
    return None


def _distances(dfas: Sequence[Dfa], states: States) -> tuple[int, ...] | None:
    """Each automaton's distance to acceptance from its state; None when one of them can never accept."""
    found = []
    for dfa, state in zip(dfas, states, strict=True):
        distance = dfa.distance[state]
        if distance is None:
            return None
        found.append(distance)
    return tuple(found)


def _spell(before: dict[States, tuple[States, str] | None], states: States) -> str:
    chars = []
    step = before[states]
    while step is not None:
        states, char = step
        chars.append(char)
        step = before[states]
    return "".join(reversed(chars))


def _readability(char: str) -> tuple[int, str]:
    """A sort key: lower-case ASCII letters, other letters, digits, printable punctuation, space, everything else."""
    if char.isascii() and char.islower():
        kind = 0
    elif char.isalnum():
        kind = 1 if char.isalpha() else 2
    elif char == " ":
        kind = 4
    else:
        kind = 3 if char.isprintable() else 5
    return kind, char


def is_empty(dfa: Dfa) -> bool:
    """Whether the automaton accepts no text at all."""
    return dfa.distance[dfa.start] is None


def includes(larger: Dfa, smaller: Dfa, limit: int = DEFAULT_LIMIT) -> bool:
    """Whether `larger` accepts every text that `smaller` accepts. Raises StateLimit past `limit` combinations."""
    return any_witness([smaller, larger.complement()], limit) is None


def equivalent(one: Dfa, other: Dfa, limit: int = DEFAULT_LIMIT) -> bool:
    """Whether both accept the same texts. Raises StateLimit past `limit` combinations."""
    return includes(one, other, limit) and includes(other, one, limit)


def minimal_conflict(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> tuple[int, ...] | None:
    """Indices of a set of automata that no text satisfies together, while it satisfies every smaller part of the set.

    None means that some text satisfies them all. Raises StateLimit when that question takes more than `limit`
    combinations of states. Where leaving one out is too large to decide, that one stays in: the set is then still a
    conflict, but perhaps not a minimal one.
    """
    if any_witness(dfas, limit) is not None:
        return None
    kept = list(range(len(dfas)))
    for candidate in range(len(dfas)):
        rest = [index for index in kept if index != candidate]
        try:
            if any_witness([dfas[index] for index in rest], limit) is None:
                kept = rest
        except StateLimit:
            continue
    return tuple(kept)
