"""The base model as the policy sees it: the law of the next token class, given the state and the stretch of the text.

Three levels, each smoothed towards the one before it: the unconditional law (Witten and Bell 1991, so that every
regular token has mass), the law in a state, the law in a state and a stretch of the response. A level with counts N and
prior P says (N(class) + κ·P(class)) / (N + κ), the mean of a Dirichlet posterior (MacKay and Peto 1995). Each κ is the
one under which the base samples themselves are likeliest when every event is predicted from all others (leave-one-out),
so a condition that does not help fades away. Errors of the summary cost variance, never
bias: whoever proposes with a twist weighs by p0·e^R/q.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log

import numpy as np

from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary
from bylaw.runtime.twist.chain import Chain, build_chain, grouped_log_sums, tally
from bylaw.runtime.twist.counting import END, Events
from bylaw.runtime.twist.table import Proxy, boundary_states

LEAST = 4.0
"""The least smoothing, in events. The samples cannot tell what the events that they lack are worth: a model that always
says the same has its best likelihood without any smoothing, and then what it says once in a thousand responses would
have no look-ahead and the largest weight (tests/bench/decoding/bench_proxy.txt)."""
_COARSE = tuple(2.0**power for power in range(2, 21, 2))
"""Amounts of smoothing that are tried first; the best one is refined by half octaves."""


@dataclass(frozen=True, eq=False)
class MarkovLaw:
    """Weights of the entries of a chain: `state` [E] for all stretches, and what stretches change, in nats.

    `seen[s]`: (entries, log Σ count·e^{reward} of their events in stretch s). `visits[s]` [rows]: events in stretch s.
    """

    chain: Chain
    state: FloatArray
    seen: Mapping[int, tuple[IntArray, FloatArray]]
    visits: Mapping[int, FloatArray]
    proxy: Proxy

    def weights(self, stretch: int) -> FloatArray:
        """[E] log weights in a stretch of the response, by its number."""
        smoothing = self.proxy.position_smoothing
        if smoothing == inf or stretch not in self.seen:
            return self.state
        found = self.state + log(smoothing)
        entries, sums = self.seen[stretch]
        found[entries] = np.logaddexp(found[entries], sums)
        return found - np.log(self.visits[stretch] + smoothing)[self.chain.row]


def unconditional(vocabulary: Vocabulary, events: Events) -> FloatArray:
    """[V + 1] probability of each token, the end of text last; 0 for tokens that no response can hold."""
    seen, possible = _seen(vocabulary, events), _possible(vocabulary)
    kinds = max(events.kinds, 1)
    return np.where(possible, (seen + kinds / possible.sum()) / (seen.sum() + kinds), 0.0)


def _seen(vocabulary: Vocabulary, events: Events) -> FloatArray:
    return np.append(np.where(vocabulary.regular, events.tokens, 0.0), events.ends)


def _possible(vocabulary: Vocabulary) -> FloatArray:
    return np.append(vocabulary.regular, len(vocabulary.eos_ids) > 0)


def fit_law(
    automaton: TokenAutomaton,
    vocabulary: Vocabulary,
    blocks: Mapping[int, Block],
    events: Events,
    smoothing: float | None = None,
) -> MarkovLaw:
    """The smoothed law of `events`. A given `smoothing` is that of the states; positions are then not told apart."""
    law = unconditional(vocabulary, events)
    regular = vocabulary.regular
    by_class = {
        u: tally(block.class_of[regular], weights=law[:-1][regular], minlength=block.next_state.shape[1])
        for u, block in blocks.items()
    }
    with np.errstate(divide="ignore"):
        chain = build_chain(
            automaton, blocks, {u: np.log(mass) for u, mass in by_class.items()}, float(np.log(law[-1]))
        )
    prior = _priors(automaton, by_class, float(law[-1]), events)
    seen = _seen(vocabulary, events)
    size, kinds = float(seen.sum()), max(events.kinds, 1)
    # an event leaves the unconditional law too when it is predicted from the others
    others = (prior * (size + kinds) - events.own) / max(size + kinds - 1.0, 1.0)
    proxy, state_smoothing = _choose(events, others, smoothing)
    entry, log_paid = _entries(automaton, blocks, chain, events)
    counted = entry >= 0
    terms = np.log(events.count) + log_paid
    state = chain.log_weight + log(state_smoothing)
    entries, sums = grouped_log_sums(entry[counted], terms[counted])
    state[entries] = np.logaddexp(state[entries], sums)
    rows = len(chain.first)
    visits = tally(events.column, weights=events.count, minlength=rows)
    state -= np.log(visits + state_smoothing)[chain.row]
    apart: dict[int, tuple[IntArray, FloatArray]] = {}
    visited: dict[int, FloatArray] = {}
    for stretch in [] if proxy.position_smoothing == inf else np.unique(events.stretch).tolist():
        here = events.stretch == stretch
        apart[stretch] = grouped_log_sums(entry[counted & here], terms[counted & here])
        visited[stretch] = tally(events.column[here], weights=events.count[here], minlength=rows)
    return MarkovLaw(chain, state, apart, visited, proxy)


def _priors(automaton: TokenAutomaton, by_class: Mapping[int, FloatArray], end: float, events: Events) -> FloatArray:
    """[n] the unconditional probability of what happened in each kind of event."""
    prior = np.full(len(events.label), end)
    u = (boundary_states(automaton) // automaton.size)[events.column]
    for number, mass in by_class.items():
        at = (u == number) & (events.label != END)
        prior[at] = mass[events.label[at]]
    return prior


def _entries(
    automaton: TokenAutomaton, blocks: Mapping[int, Block], chain: Chain, events: Events
) -> tuple[IntArray, FloatArray]:
    """([n] the entry of each kind of event, −1 for what the rules forbid; [n] what it pays, nats)."""
    boundary = boundary_states(automaton)
    target = np.full(len(events.label), chain.end, dtype=np.int64)
    paid = automaton.final(boundary[events.column])
    u, rows = automaton.split(boundary[events.column])
    for number, block in blocks.items():
        at = (u == number) & (events.label != END)
        target[at] = block.next_state[rows[at], events.label[at]]
        paid[at] = block.reward[rows[at], events.label[at]]
    entry = np.where(target >= 0, chain.entry(events.column, np.maximum(target, 0)), -1)
    return entry, paid


def _choose(events: Events, others: FloatArray, smoothing: float | None) -> tuple[Proxy, float]:
    """(what was chosen, the smoothing of the states); `others` [n]: the prior of each kind of event without itself."""
    if len(events.count) == 0:
        chosen = 1.0 if smoothing is None else smoothing
        return Proxy(events.samples, 0, chosen, inf, 0.0), chosen
    kinds, place = np.unique(np.stack([events.column, events.label]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    count = tally(place, weights=events.count)
    own = tally(place, weights=events.count * events.own) / count
    prior = np.zeros(len(count))
    prior[place] = others
    total = tally(kinds[0], weights=count)[kinds[0]]
    number = max(round(float(events.count.sum())), 1)
    if smoothing is not None:
        loss = -leave_one_out(count, total, prior, smoothing, own)
        return Proxy(events.samples, number, smoothing, inf, loss / number / log(2.0)), smoothing
    chosen, _ = _best(count, total, prior, own)
    in_state = ((count - own + chosen * prior) / (total - 1.0 + chosen))[place]
    visits = np.unique(np.stack([events.column, events.stretch]), axis=1, return_inverse=True)[1].reshape(-1)
    here = tally(visits, weights=events.count)[visits]
    position, likelihood = _best(events.count, here, in_state, events.own)
    apart_is_worse = float(events.count @ np.log(in_state)) >= likelihood
    if apart_is_worse:
        position, likelihood = inf, float(events.count @ np.log(in_state))
    return Proxy(events.samples, number, chosen, position, -likelihood / number / log(2.0)), chosen


def leave_one_out(
    count: FloatArray, total: FloatArray, prior: FloatArray, smoothing: float, own: FloatArray | float = 1.0
) -> float:
    """log likelihood in nats of all events, each predicted from the others.

    [n] kinds of events: how often, how many events there are under their condition, the prior of the kind, and what an
    event that has a part in the kind gives to it in the mean (1 where every event is of one kind).
    """
    return float(count @ np.log((count - own + smoothing * prior) / (total - 1.0 + smoothing)))


def _best(count: FloatArray, total: FloatArray, prior: FloatArray, own: FloatArray) -> tuple[float, float]:
    """(the smoothing of the greatest leave-one-out likelihood, that likelihood in nats)."""
    found = {smoothing: leave_one_out(count, total, prior, smoothing, own) for smoothing in _COARSE}
    best = max(found, key=found.__getitem__)
    for step in (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5):
        smoothing = max(best * 2.0**step, LEAST)
        found[smoothing] = leave_one_out(count, total, prior, smoothing, own)
    best = max(found, key=found.__getitem__)
    return best, found[best]
