"""Backward over the tokens left: shortest ways to a legal end, and log V̂ under the law of the proxy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist.chain import Chain
from bylaw.runtime.twist.inside import Inside
from bylaw.runtime.twist.proxy import MarkovLaw
from bylaw.runtime.twist.table import StateArray, boundary_states

Progress = Callable[[int, int], None]
"""(done, total)."""

FAR = 2**30
"""More tokens than any response has."""


def nearest_ends(automaton: TokenAutomaton, chain: Chain, beyond: int = FAR) -> StateArray:
    """[S + 1] the fewest tokens from each composite state to a legal end; `beyond` where there is none that near.

    Only the places of the chain's entries are used. Shortest paths by relaxation (Bellman 1958): boundaries first until
    nothing changes, then the insides of characters, and again. Most rules are settled by whole characters, so two
    rounds do.
    """
    boundary = boundary_states(automaton)
    nearest = np.full(automaton.state_count + 1, beyond, dtype=np.int32)
    nearest[boundary[np.isfinite(automaton.final(boundary))]] = 0
    exits = _inner_exits(automaton, chain.column)
    after = {labels: automaton.after(labels) for labels in {labels for ways in exits.values() for labels, _ in ways}}
    size = automaton.size
    settled = False
    while not settled:
        while True:
            closer = np.minimum(nearest[boundary], 1 + np.minimum.reduceat(nearest[chain.column], chain.first))
            if np.array_equal(closer, nearest[boundary]):
                break
            nearest[boundary] = closer
        settled = True
        # the builder numbers a state after those it leads to, so ascending order settles a character in one pass
        for u in sorted(exits):
            own = nearest[u * size : (u + 1) * size]
            before = own.copy()
            for labels, target in exits[u]:
                np.minimum(own, 1 + nearest[target * size : (target + 1) * size][after[labels]], out=own)
            settled = settled and np.array_equal(own, before)
    return nearest


def _inner_exits(automaton: TokenAutomaton, targets: IntArray) -> dict[int, tuple[tuple[tuple[int, ...], int], ...]]:
    """`TokenAutomaton.exits` of every transducer state inside a character that can be met from `targets`."""
    exits: dict[int, tuple[tuple[tuple[int, ...], int], ...]] = {}
    waiting = {int(u) for u in np.unique(targets[targets < automaton.state_count] // automaton.size)}
    while waiting:
        u = waiting.pop()
        if 0 < u < automaton.utf8.size and u not in exits:
            exits[u] = automaton.exits(u)
            waiting.update(target for _, target in exits[u])
    return exits


def backward(
    automaton: TokenAutomaton,
    law: MarkovLaw,
    stretch_of: IntArray,
    inside: Inside,
    max_tokens: int,
    progress: Progress | None = None,
) -> FloatArray:
    """[max_tokens + 1, columns] log V̂ in nats at boundary states s: V̂(0, s) = e^{final(s)}, and with ℓ tokens left
    V̂(ℓ, s) = P̂(end | s, place) e^{final(s)} + Σ_c P̂(c | s, place) e^{r} V̂(ℓ − 1, next).

    `stretch_of` [max_tokens + 1] is the stretch of the place that has max_tokens − ℓ tokens behind it.
    """
    boundary = boundary_states(automaton)
    chain = law.chain
    log_value = np.full((max_tokens + 1, len(boundary) + 1), -np.inf)
    log_value[0, :-1] = automaton.final(boundary)
    targets, column = np.unique(chain.column, return_inverse=True)
    column = column.reshape(-1)
    ahead = np.zeros(len(targets))  # its last entry stands for the end of text: value 1, paid by the entry's own weight
    whole = np.isin(targets, boundary)
    within = ~whole & (targets < automaton.state_count)
    cells = inside.locate(targets[within])
    read = np.searchsorted(boundary, targets[whole])
    weights, stretch = law.state, -1
    for left in range(1, max_tokens + 1):
        if stretch != stretch_of[max_tokens - left]:
            stretch = int(stretch_of[max_tokens - left])
            weights = law.weights(stretch)
        ahead[whole] = log_value[left - 1, read]
        ahead[within] = inside.values(log_value, left - 1, cells)
        log_value[left, :-1] = chain.apply(weights, ahead[column])
        if progress is not None:
            progress(left, max_tokens)
    return log_value
