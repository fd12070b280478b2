"""Boolean algebra of automata, explored lazily, and the questions the analyses ask: witnesses, inclusion, conflicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import explore_rows
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import DEFAULT_LIMIT, StateLimit
from bylaw.compiler.automata.readable import FOREIGN, all_classes, familiar, joined
from bylaw.compiler.automata.search import Rows, States, find_text, rows_of


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
    alphabet, rows = _rows(dfas)
    order, delta = explore_rows(tuple(dfa.start for dfa in dfas), rows.after, limit)
    verdicts = (accept(tuple(dfa.accept[state] for dfa, state in zip(dfas, states, strict=True))) for states in order)
    return Dfa(alphabet, delta, 0, tuple(verdicts)).minimise()


def _rows(dfas: Sequence[Dfa]) -> tuple[Alphabet, Rows]:
    if not dfas:
        raise ValueError("a combination needs at least one automaton")
    return rows_of(dfas)


def intersect(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that all accept.

    Raises StateLimit past `limit` states, ValueError for no automata.
    """
    alphabet, rows = _rows(dfas)
    distances = [dfa.distance for dfa in dfas]

    def hopeful(states: States) -> States | None:
        hopeless = any(distance[state] is None for distance, state in zip(distances, states, strict=True))
        return None if hopeless else states

    def row(states: States | None) -> list[States | None]:
        if states is None:
            return [None] * alphabet.size
        targets = rows.after(states)
        kept = {target: hopeful(target) for target in dict.fromkeys(targets)}
        return [kept[target] for target in targets]

    order, delta = explore_rows(hopeful(tuple(dfa.start for dfa in dfas)), row, limit)
    accept = tuple(
        states is not None and all(dfa.accept[state] for dfa, state in zip(dfas, states, strict=True))
        for states in order
    )
    return Dfa(alphabet, delta, 0, accept).minimise()


def number_between(dfas: Sequence[Dfa], least: int, most: int | None, limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that at least `least` of the automata accept, and at most `most` (None: all).

    Raises StateLimit past `limit` states, ValueError for no automata.
    """
    alphabet, rows = _rows(dfas)
    top = len(dfas) if most is None else most
    accepted = [dfa.distance for dfa in dfas]
    refused = [dfa.complement().distance for dfa in dfas]

    def settled(states: States) -> States | bool:
        """Whether the number is right, where nothing that follows can change that."""
        low = sum(distance[state] is None for distance, state in zip(refused, states, strict=True))
        high = len(dfas) - sum(distance[state] is None for distance, state in zip(accepted, states, strict=True))
        if high < least or low > top:
            return False
        return True if low >= least and high <= top else states

    def row(states: States | bool) -> list[States | bool]:
        if isinstance(states, bool):
            return [states] * alphabet.size
        targets = rows.after(states)
        kept = {target: settled(target) for target in dict.fromkeys(targets)}
        return [kept[target] for target in targets]

    order, delta = explore_rows(settled(tuple(dfa.start for dfa in dfas)), row, limit)
    accept = tuple(
        states
        if isinstance(states, bool)
        else least <= sum(dfa.accept[state] for dfa, state in zip(dfas, states, strict=True)) <= top
        for states in order
    )
    return Dfa(alphabet, delta, 0, accept).minimise()


def union(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that any accepts.

    Raises StateLimit past `limit` states, ValueError for no automata.
    """
    return intersect([dfa.complement() for dfa in dfas], limit).complement()


def difference(dfa: Dfa, other: Dfa, limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that `dfa` accepts and `other` does not. Raises StateLimit past `limit`."""
    return intersect([dfa, other.complement()], limit)


def shortest_witness(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT, letters: str = "") -> str | None:
    """A shortest text that all automata accept, in characters, made of readable characters.

    None means that there is none: that is a proof. Printed ASCII characters, line breaks and the characters of
    `letters` are the author's alphabet. Other characters are used only where no text does without, and then as few as
    possible; last of all those that do not show and those that matching reads as others (`\\u33b1`, which reads `ns`).
    Of the texts with the fewest of them it is a shortest. Where there is a choice of characters, those of `letters`
    come first, in their order, then ASCII letters, other letters, digits, other printed characters and spaces.

    The search is best-first, with the largest of what the automata still need, each for itself, as its bound, so a rule
    that asks for many words does not make it look at everything shorter. Raises StateLimit when it has met more than
    `limit` combinations of states.
    """
    if not dfas:
        return ""
    alphabets = [dfa.alphabet for dfa in dfas]
    found = find_text(dfas, familiar(alphabets, letters), limit, _shortest)
    if found is not None or find_text(dfas, all_classes(alphabets), limit, _nearest) is None:
        return found
    return find_text(dfas, joined(alphabets, letters), limit, _shortest)


def any_witness(dfas: Sequence[Dfa], limit: int = DEFAULT_LIMIT, letters: str = "") -> str | None:
    """A text that all automata accept, not always a shortest one; None is a proof that there is none.

    Goes for the combination that looks nearest to acceptance, so it finds texts for large sets of rules where
    `shortest_witness` gives up. Characters are chosen as there, unless only other ones lead to a text within `limit`.
    Raises StateLimit when it has met more than `limit` combinations of states.
    """
    if not dfas:
        return ""
    alphabets = [dfa.alphabet for dfa in dfas]
    found = None
    with suppress(StateLimit):
        found = find_text(dfas, familiar(alphabets, letters), limit, _nearest)
    if found is None:
        found = find_text(dfas, all_classes(alphabets), limit, _nearest)
        if found is not None:
            with suppress(StateLimit):
                found = find_text(dfas, joined(alphabets, letters), limit, _nearest) or found
    return found


def _shortest(cost: int, left: Sequence[int]) -> tuple[int, ...]:
    return cost + max(left), -cost


def _nearest(cost: int, left: Sequence[int]) -> tuple[int, ...]:
    """Foreign characters last: their number is what is left of the cost above FOREIGN."""
    return max(cost, *left) // FOREIGN, sum(left), cost


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
